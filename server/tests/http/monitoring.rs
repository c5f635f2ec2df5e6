//! Monitoring from outside: the page, its API, and `/metrics`.

use std::{collections::BTreeMap, net::SocketAddr};

use adire_server::AccessSettings;
use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode},
};

use crate::support::{Answer, Server};

/// Every sample of a text: name with labels, and value.
pub(crate) fn samples(text: &str) -> BTreeMap<String, f64> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

pub(crate) async fn busy() -> Server {
    let settings = AccessSettings { open_admin: true, open_metrics: true, ..AccessSettings::default() };
    let server = Server::behind(std::time::Duration::ZERO, 32, settings).await;
    server.adapter("adire", 1).await;
    for request in [
        r#"{"prompt": "moons", "adapters": [{"name": "adire@v1"}], "count": 2}"#,
        r#"{"prompt": "moons"}"#,
        r#"{"prompt": "fail! <b>now</b>"}"#,
    ] {
        let id = server.submit(request).await;
        server.finished(&id).await;
    }
    server
}

#[tokio::test]
async fn metrics_equal_the_figures_of_the_page() {
    let server = busy().await;
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    let found = samples(&text);
    // The admin's browser gets the same under its own address.
    let linked = server.get("/admin/monitoring").await.text();
    assert!(linked.contains("href=\"/admin/metrics\""), "{linked}");
    let shown = server.get("/admin/metrics").await;
    for header in ["content-type", "cache-control"] {
        assert_eq!(shown.header(header), answer.header(header), "{header}");
    }
    let names = |samples: &BTreeMap<String, f64>| samples.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&samples(&shown.text())), names(&found));
    let figures = server.get("/admin/api/monitoring?period=all").await.json();
    let sum = |name: &str, label: &str| -> f64 {
        let wanted =
            found.iter().filter(|(key, _)| key.split('{').next() == Some(name) && key.contains(label));
        wanted.map(|(_, value)| value).sum()
    };
    let total = &figures["total"];
    for (name, label, expected) in [
        ("adire_generations_total", "", &total["generations"]),
        ("adire_generations_total", "outcome=\"done\"", &total["done"]),
        ("adire_generations_total", "outcome=\"failed\"", &total["failed"]),
        ("adire_generation_failures_total", "cause=\"other\"", &total["failed"]),
        ("adire_images_total", "", &total["images"]),
        ("adire_images_total", "version=\"adire@v1\"", &figures["versions"][1]["images"]),
        ("adire_adapter_switches_total", "", &total["switches"]),
        ("adire_generation_seconds_count", "", &total["seconds"]["count"]),
        ("adire_generation_wait_seconds_count", "", &total["wait"]["count"]),
        ("adire_generation_seconds_bucket", "le=\"+Inf\"", &total["done"]),
    ] {
        assert_eq!(Some(sum(name, label)), expected.as_f64(), "{name} {label}: {text}");
    }
    let resident = found["process_resident_memory_bytes"];
    assert!(resident > 1e6, "{resident}");
    assert_eq!(found["adire_queue_length"], 0.0);
    // Each family has one type, and each sample belongs to one.
    let kinds: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
    assert_eq!(kinds.len(), text.lines().filter(|line| line.starts_with("# HELP ")).count());
    assert!(!text.contains("moons"), "prompts are for the page only");

    // One more image, and the counters have grown.
    let id = server.submit(r#"{"prompt": "moons"}"#).await;
    server.finished(&id).await;
    let later = samples(&server.get("/metrics").await.text());
    let name = "adire_generations_total{version=\"none\",outcome=\"done\"}";
    assert_eq!(later[name], found[name] + 1.0);
}

#[tokio::test]
async fn metrics_are_for_admins_tokens_and_where_allowed_this_machine() {
    let token = "0123456789abcdef";
    let open = |open_metrics| AccessSettings {
        open_metrics,
        metrics_token: Some(token.to_owned()),
        ..AccessSettings::default()
    };
    let ask = async |server: &Server, from: [u8; 4], headers: &[(&str, &str)]| -> Answer {
        let mut request = Request::get("/metrics");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.extension(ConnectInfo(SocketAddr::from((from, 40_000))));
        server.send(request.body(Body::empty()).unwrap()).await
    };
    const HERE: [u8; 4] = [127, 0, 0, 1];
    const AWAY: [u8; 4] = [192, 0, 2, 1];
    let bearer = format!("Bearer {token}");
    for (is_open, from, headers, status) in [
        (false, HERE, &[][..], 401),
        (true, HERE, &[], 200),
        (true, AWAY, &[], 401),
        (true, HERE, &[("x-forwarded-for", "192.0.2.7")], 401),
        (true, HERE, &[("host", "evil.example")], 401),
        (false, AWAY, &[("authorization", &*bearer)], 200),
        (false, AWAY, &[("authorization", "Bearer 0123456789abcdeX")], 401),
        (false, AWAY, &[("authorization", "Bearer ")], 401),
        (false, AWAY, &[("authorization", token)], 401),
    ] {
        let server = Server::behind(std::time::Duration::ZERO, 4, open(is_open)).await;
        let answer = ask(&server, from, headers).await;
        assert_eq!(answer.status.as_u16(), status, "{is_open} {from:?} {headers:?}: {}", answer.text());
        if status == 401 {
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            assert!(answer.problem()["detail"].as_str().unwrap().contains("ADIRE_METRICS_TOKEN"));
        }
    }
    // Under `/admin` only the session counts, not the token of Prometheus.
    let server = Server::behind(std::time::Duration::ZERO, 4, open(true)).await;
    let away = ConnectInfo(SocketAddr::from((AWAY, 40_000)));
    let request = Request::get("/admin/metrics").header("authorization", &bearer).extension(away);
    let answer = server.send(request.body(Body::empty()).unwrap()).await;
    assert!(answer.status.is_client_error() && !answer.text().contains("adire_"), "{}", answer.text());
    // A server without a token takes none, an empty one neither.
    let server = Server::behind(std::time::Duration::ZERO, 4, AccessSettings::default()).await;
    assert_eq!(ask(&server, HERE, &[("authorization", "Bearer ")]).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_page_shows_the_figures_and_takes_old_addresses() {
    let server = busy().await;
    let page = server.get("/admin/monitoring?period=7d").await;
    assert_eq!(page.status, StatusCode::OK);
    let page = page.text();
    for words in
        ["last 7 days", "2 failed", "Common prompts", "fail! &lt;b&gt;now", "adire@v1", "Server process"]
    {
        let words = words.replace("2 failed", "1 failed, 0 cancelled");
        assert!(page.contains(&words), "{words}: {page}");
    }
    let one = server.get("/admin/monitoring?version=adire@v1").await.text();
    assert!(one.contains("Generations with adire@v1, last 24 hours."), "{one}");
    for odd in ["period=soon", "version=nothing", "x=y"] {
        assert_eq!(server.get(&format!("/admin/monitoring?{odd}")).await.status, StatusCode::OK, "{odd}");
    }
    let answer = server.get("/admin/api/monitoring?period=soon").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.problem()["status"], 400);
}
