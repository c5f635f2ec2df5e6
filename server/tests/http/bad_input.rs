//! Invalid input gets a status and a message, and the server keeps running.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};

use crate::support::Server;

const GENERATIONS: &str = "/api/v1/generations";

/// Bodies of `POST /api/v1/generations`, each with a name.
fn bodies() -> Vec<(&'static str, String)> {
    let long = "x".repeat(10_000);
    let with = |rest: &str| format!(r#"{{"prompt": "moons", {rest}}}"#);
    vec![
        ("seed -2", with(r#""seed": -2"#)),
        ("seed beyond 64 bits", with(r#""seed": 99999999999999999999"#)),
        ("no prompt", r#"{"steps": 4}"#.to_owned()),
        ("10,000 characters", format!(r#"{{"prompt": "{long}"}}"#)),
        ("width 513", with(r#""width": 513"#)),
        ("steps 0", with(r#""steps": 0"#)),
        ("steps 1000000000", with(r#""steps": 1000000000"#)),
        ("steps 1e9", with(r#""steps": 1e9"#)),
        ("steps -1", with(r#""steps": -1"#)),
        ("guidance NaN", with(r#""guidance": NaN"#)),
        ("guidance 1e999", with(r#""guidance": 1e999"#)),
        ("guidance as text", with(r#""guidance": "high""#)),
        ("unknown sampler", with(r#""sampler": "magic""#)),
        ("too many steps for the sampler", with(r#""sampler": "LCM", "steps": 51"#)),
        ("unknown noise source", with(r#""rng": "dice""#)),
        ("unknown adapter", with(r#""adapters": [{"name": "adrie@v9"}]"#)),
        ("adapter that is a path", with(r#""adapters": [{"name": "../../etc/passwd"}]"#)),
        ("strength 1e9", with(r#""adapters": [{"name": "adire@v1", "strength": 1e9}]"#)),
        ("strength as text", with(r#""adapters": [{"name": "adire@v1", "strength": "much"}]"#)),
        ("unknown field", with(r#""stepps": 4"#)),
        ("twice the same field", with(r#""steps": 4, "steps": 5"#)),
        (
            "several at once",
            format!(r#"{{"prompt": "{long}", "width": 7, "steps": 0, "seed": 9007199254740991}}"#),
        ),
        ("no JSON", "prompt=moons".to_owned()),
        ("half a JSON", r#"{"prompt": "moo"#.to_owned()),
        ("nothing", String::new()),
        ("a list", "[]".to_owned()),
        (
            "a list of the right length",
            r#"["moons", "", 1, 4, 5.0, "ddim", "cpu", 64, 64, 1, []]"#.to_owned(),
        ),
        ("deeply nested", format!(r#"{{"prompt": {}"#, "[".repeat(5_000))),
    ]
}

#[tokio::test]
async fn each_bad_request_gets_a_status_and_a_sentence() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    let mut report = String::new();
    for (name, body) in bodies() {
        let problem = server.post(GENERATIONS, &body).await.problem();
        let status = problem["status"].as_u64().unwrap();
        assert!(status == 400 || status == 422, "{name}: {problem}");
        report.push_str(&format!("{name}\n  {status} {}\n", problem["detail"].as_str().unwrap()));
        for error in problem["errors"].as_array().into_iter().flatten() {
            report.push_str(&format!(
                "  - {}: {}\n",
                error["field"].as_str().unwrap(),
                error["message"].as_str().unwrap()
            ));
        }
    }
    insta::assert_snapshot!(report);
    assert_eq!(server.get("/api/v1/queue").await.json()["ahead"], 0, "nothing of it was queued");
    let id = server.submit(r#"{"prompt": "moons"}"#).await;
    assert_eq!(server.finished(&id).await["state"], "done");
}

#[tokio::test]
async fn the_problem_body_is_whole() {
    let server = Server::start().await;
    let answer = server.post(GENERATIONS, r#"{"prompt": "", "width": 7, "steps": 0}"#).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    insta::assert_json_snapshot!(answer.problem());
}

#[tokio::test]
async fn addresses_methods_and_bodies_that_do_not_fit() {
    let server = Server::start().await;
    let unknown = "/api/v1/generations/0199c0de-0000-7000-8000-000000000000";
    let json = "application/json";
    let big = "x".repeat(300_000);
    let image = format!("/api/v1/images/{}.png", "0".repeat(64));
    let cases = [
        (Method::GET, "/api/v1/nothing", "", ""),
        (Method::GET, "/api", "", ""),
        (Method::POST, "/api/fn/nothing", "application/x-www-form-urlencoded", "a=b"),
        (Method::GET, GENERATIONS, "", ""),
        (Method::PUT, unknown, json, "{}"),
        (Method::POST, GENERATIONS, "text/plain", "moons"),
        (Method::POST, GENERATIONS, "", "{}"),
        (Method::POST, GENERATIONS, json, big.as_str()),
        (Method::GET, unknown, "", ""),
        (Method::DELETE, unknown, "", ""),
        (Method::GET, "/api/v1/generations/not-an-id", "", ""),
        (Method::GET, "/api/v1/generations/%ff%fe", "", ""),
        (Method::GET, &image, "", ""),
        (Method::GET, "/api/v1/images/x.png", "", ""),
        (Method::POST, "/api/v1/recipe", "image/png", "no PNG"),
        (Method::POST, "/api/v1/recipe", "text/html", "<p>"),
        (Method::POST, "/nothing", "", ""),
    ];
    let mut report = String::new();
    for (method, address, media_type, body) in cases {
        let mut request = Request::builder().method(method.clone()).uri(address);
        if !media_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, media_type);
        }
        let answer = server.send(request.body(Body::from(body.to_owned())).unwrap()).await;
        let problem = answer.problem();
        let of = if media_type.is_empty() { String::new() } else { format!(" ({media_type})") };
        report.push_str(&format!(
            "{method} {address}{of}\n  {} {}\n",
            answer.status,
            problem["detail"].as_str().unwrap()
        ));
        if answer.status == StatusCode::METHOD_NOT_ALLOWED {
            report.push_str(&format!("  allow: {}\n", answer.header("allow")));
        }
    }
    insta::assert_snapshot!(report);
}

#[tokio::test]
async fn a_body_that_does_not_say_how_large_it_is_is_cut_too() {
    let server = Server::start().await;
    let chunks = futures::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(vec![b' '; 10_000])));
    let request = Request::post(GENERATIONS).header(header::CONTENT_TYPE, "application/json");
    let answer = server.send(request.body(Body::from_stream(chunks)).unwrap()).await;
    assert_eq!(answer.problem()["status"], 413);
}

#[tokio::test]
async fn a_panic_in_the_engine_fails_one_generation_only() {
    let server = Server::start().await;
    let id = server.submit(r#"{"prompt": "panic!"}"#).await;
    assert_eq!(server.finished(&id).await["state"], "failed");
    let id = server.submit(r#"{"prompt": "moons"}"#).await;
    assert_eq!(server.finished(&id).await["state"], "done");
}

/// A client's mistake is never the server's fault: alarms look at 5xx.
#[tokio::test]
async fn server_functions_say_400_to_what_cannot_be_read() {
    let server = Server::start().await;
    let form = "application/x-www-form-urlencoded";
    for path in ["history", "studio", "queue"] {
        for query in [
            "before=x",
            "before=",
            "",
            "before=99999999999999999999",
            "job=%ff",
            "before=1&before=2",
            "%00=%00",
        ] {
            let answer = server.get(&format!("/api/fn/{path}?{query}")).await;
            assert!(answer.status.as_u16() < 500, "{path}?{query}: {}", answer.status);
        }
    }
    assert_eq!(server.get("/api/fn/history?before=x").await.status, StatusCode::BAD_REQUEST);
    for path in ["generate", "cancel"] {
        for (kind, body) in [
            (form, &b"prompt=%ff%fe"[..]),
            (form, b"steps=x&count=-1&width=nan&guidance=1e999"),
            (form, b"adapters[0][name]=a&adapters[x]=b"),
            (form, b"adapters[99999999999][name]=a"),
            (form, b"\xff\xfe\0"),
            (form, b""),
            ("application/json", b"{}"),
            ("multipart/form-data; boundary=x", b"--x--"),
            ("", b"prompt=moons"),
        ] {
            let mut request = Request::post(format!("/api/fn/{path}"));
            if !kind.is_empty() {
                request = request.header("content-type", kind);
            }
            let answer = server.send(request.body(Body::from(body)).unwrap()).await;
            assert!(
                answer.status.as_u16() < 500,
                "{path} {kind} {body:?}: {} {}",
                answer.status,
                answer.text()
            );
        }
        // Without a length, so that only reading it shows that it is too much.
        let pieces = (0..300).map(|_| Ok::<_, std::io::Error>(vec![b'a'; 1024]));
        let request = Request::post(format!("/api/fn/{path}")).header("content-type", form);
        let body = Body::from_stream(futures::stream::iter(pieces));
        assert_eq!(
            server.send(request.body(body).unwrap()).await.status,
            StatusCode::PAYLOAD_TOO_LARGE,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_plain_form_leads_back_to_our_own_pages_only() {
    let server = Server::start().await;
    for (referer, ours) in [
        ("http://localhost/?post_error=form", true),
        ("https://evil.example/x", false),
        ("https://localhost@evil.example/x", false),
        ("https://localhost.evil.example/x", false),
        ("//evil.example/x", false),
        ("javascript:alert(1)", false),
    ] {
        let request = Request::get("/api/fn/queue").header("accept", "text/html").header("referer", referer);
        let answer = server.send(request.body(Body::empty()).unwrap()).await;
        let goal = answer.header("location");
        assert_eq!(goal == referer, ours, "{referer}: {} {goal}", answer.status);
        assert!(ours || goal == "/" || goal.is_empty(), "{referer}: {goal}");
    }
}
