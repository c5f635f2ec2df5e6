//! Who may see and do what under `/admin`.

use std::{net::SocketAddr, time::Duration};

use adire_server::{Access, AccessSettings, AdminAuth, AppState, Front, Site, Starting};
use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request, StatusCode, header},
};

use futures::StreamExt;
use tower::ServiceExt;

use crate::support::{Answer, PATIENCE, Server};

const PASSWORD: &str = "four words of mine";
const HTML: (&str, &str) = ("accept", "text/html");
const HERE: [u8; 4] = [127, 0, 0, 1];
const ELSEWHERE: [u8; 4] = [192, 0, 2, 7];

/// Every kind of address there is under `/admin`, and some that there are not.
const CLOSED: [(&str, &str); 37] = [
    ("GET", "/admin"),
    ("GET", "/admin/"),
    ("GET", "/admin/nothing/here"),
    ("GET", "/admin/datasets"),
    ("POST", "/admin/datasets"),
    ("GET", "/admin/datasets/x"),
    ("POST", "/admin/datasets/x"),
    ("POST", "/admin/datasets/x/files"),
    ("GET", "/admin/training"),
    ("POST", "/admin/training"),
    ("GET", "/admin/training/new"),
    ("GET", "/admin/training/compare"),
    ("POST", "/admin/training/settings"),
    ("GET", "/admin/training/x"),
    ("POST", "/admin/training/x"),
    ("GET", "/admin/training/x/live"),
    ("POST", "/admin/sign-out"),
    ("GET", "/admin/api/datasets"),
    ("POST", "/admin/api/datasets"),
    ("GET", "/admin/api/nothing"),
    ("DELETE", "/admin/api/anything"),
    ("GET", "/admin/sign-in/further"),
    ("GET", "/admin/queue"),
    ("POST", "/admin/queue"),
    ("GET", "/admin/images"),
    ("POST", "/admin/images"),
    ("GET", "/admin/versions"),
    ("POST", "/admin/versions"),
    ("GET", "/admin/api/adapters/x/ledger"),
    ("GET", "/admin/api/adapters/x/production"),
    ("POST", "/admin/api/adapters/x@v1/promote"),
    ("POST", "/admin/api/adapters/x/rollback"),
    ("PUT", "/admin/api/adapters/x/aliases/y"),
    ("GET", "/admin/api/queue"),
    ("POST", "/admin/api/queue/cancel"),
    ("GET", "/admin/api/images"),
    ("DELETE", "/admin/api/visitors/x"),
];

async fn ask(
    server: &Server,
    method: &str,
    path: &str,
    peer: Option<[u8; 4]>,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::from(body.to_owned())).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from((peer.unwrap_or(ELSEWHERE), 40_000))));
    server.send(request).await
}

/// A server with default settings.
async fn closed() -> Server {
    Server::behind(Duration::ZERO, 32, AccessSettings::default()).await
}

async fn with_operator() -> Server {
    let server = closed().await;
    set_password(&server, PASSWORD).await;
    server
}

async fn set_password(server: &Server, password: &'static str) {
    let data = server.folder.path().join("data");
    tokio::task::spawn_blocking(move || AdminAuth::set_password(&data, password)).await.unwrap().unwrap();
}

/// Signs in and returns what a browser sends as `Cookie`.
async fn signed_in(server: &Server) -> String {
    let body = format!("password={}", PASSWORD.replace(' ', "+"));
    let answer = ask(server, "POST", "/admin/sign-in", Some(ELSEWHERE), &[HTML], &body).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::SEE_OTHER, "/admin"),
        "{}",
        answer.text()
    );
    cookie(&answer)
}

fn cookie(answer: &Answer) -> String {
    let given = answer.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap());
    let pair =
        given.filter_map(|value| value.split(';').next()).find(|pair| pair.starts_with("adire_operator="));
    pair.expect("a session's cookie").to_owned()
}

/// Everything that an answer gives, as a browser sends it back.
fn all_cookies(answer: &Answer) -> Vec<String> {
    let given = answer.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap());
    given.filter_map(|value| value.split(';').next()).map(str::to_owned).collect()
}

/// What the description of the API lists under `/admin`.
async fn described(server: &Server) -> Vec<(String, String)> {
    let document = server.get("/api/v1/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
    });
    let admin: Vec<_> = all.filter(|(_, path)| path.starts_with("/admin/")).collect();
    assert!(!admin.is_empty());
    admin
}

#[tokio::test]
async fn every_address_is_closed_without_a_session() {
    let server = with_operator().await;
    let described = described(&server).await;
    let described = described.iter().map(|(method, path)| (method.as_str(), path.as_str()));
    for (method, path) in CLOSED.into_iter().chain(described) {
        let path = path.replace(['{', '}'], "");
        let path = path.as_str();
        // A local request does not replace the password.
        for peer in [Some(ELSEWHERE), Some(HERE)] {
            let program = ask(&server, method, path, peer, &[("host", "localhost")], "").await;
            assert_eq!(program.problem()["type"], "urn:adire:problem:signed-out", "{method} {path}");
            assert_eq!(program.status, StatusCode::UNAUTHORIZED, "{method} {path}");
            let person = ask(&server, method, path, peer, &[HTML, ("host", "localhost")], "").await;
            assert_eq!(person.status, StatusCode::SEE_OTHER, "{method} {path}");
            assert!(person.header("location").starts_with("/admin/sign-in"), "{method} {path}");
        }
        let forged = ask(&server, method, path, None, &[("cookie", "adire_operator=abc")], "").await;
        assert_eq!(forged.status, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
}

#[tokio::test]
async fn every_address_is_closed_while_no_password_is_set() {
    // Being on the machine is nothing by itself: whatever a proxy or a forwarder passes on looks like that.
    for peer in [ELSEWHERE, HERE] {
        let server = closed().await;
        for (method, path) in CLOSED {
            no_password(&server, method, path, peer, &[("host", "localhost")]).await;
        }
    }
}

#[tokio::test]
async fn open_admin_is_for_this_machine_and_for_nothing_that_was_passed_on() {
    let server = Server::start().await;
    for (peer, headers) in [
        (ELSEWHERE, &[("host", "localhost")][..]),
        (HERE, &[("host", "adire.example")]),
        (HERE, &[("host", "localhost:4310.evil.example")]),
        (HERE, &[("host", "[::1].evil.example")]),
        (HERE, &[("host", "localhost"), ("x-forwarded-for", "192.0.2.1")]),
        (HERE, &[("host", "localhost"), ("forwarded", "for=192.0.2.1")]),
        (HERE, &[("host", "localhost"), ("cf-connecting-ip", "192.0.2.1")]),
        (HERE, &[("host", "localhost"), ("x-client-ip", "192.0.2.1")]),
        (HERE, &[("host", "localhost"), ("x-forwarded-server", "a")]),
    ] {
        for (method, path) in CLOSED {
            no_password(&server, method, path, peer, headers).await;
        }
    }
}

async fn no_password(server: &Server, method: &str, path: &str, peer: [u8; 4], headers: &[(&str, &str)]) {
    let program = ask(server, method, path, Some(peer), headers, "").await;
    let problem = program.problem();
    assert_eq!(problem["type"], "urn:adire:problem:no-operator", "{method} {path} {headers:?}");
    assert!(problem["detail"].as_str().unwrap().contains("adire admin set-password"), "{problem}");
    let person = ask(server, method, path, Some(peer), &[headers, &[HTML]].concat(), "").await;
    assert_eq!(person.status, StatusCode::FORBIDDEN, "{method} {path} {headers:?}");
    assert!(person.text().contains("adire admin set-password"), "{}", person.text());
}

#[tokio::test]
async fn the_printed_link_opens_the_pages_until_there_is_a_password() {
    let server = closed().await;
    let token = server.auth.link_token().unwrap();
    let link = format!("/admin/link?token={token}");
    for peer in [ELSEWHERE, HERE] {
        let answer = ask(&server, "GET", &link, Some(peer), &[HTML], "").await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/admin"));
        let page = ask(&server, "GET", "/admin", Some(peer), &[HTML, ("cookie", &cookie(&answer))], "").await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text().contains("No admin password is set") && page.text().contains("/admin/sign-out"));
    }
    // The page that says why it is closed takes the token, and a whole line with it.
    for body in [
        format!("token={token}"),
        format!("token=Admin+pages%3A+http%3A%2F%2Fx%2Fadmin%2Flink%3Ftoken%3D{token}"),
    ] {
        let answer = ask(&server, "POST", "/admin/link", None, &[HTML], &body).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{body}");
    }
    for wrong in
        ["/admin/link", "/admin/link?token=", "/admin/link?token=0000", "/admin/link?token=no+password"]
    {
        let answer = ask(&server, "GET", wrong, Some(HERE), &[HTML], "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{wrong}");
        assert!(!all_cookies(&answer).iter().any(|pair| pair.starts_with("adire_operator=")), "{wrong}");
        let program = ask(&server, "GET", wrong, Some(HERE), &[], "").await;
        assert_eq!(program.problem()["status"], 403, "{wrong}");
    }

    // Who is in sets a password without copying the token again, and every session by the link ends with it.
    let before = cookie(&ask(&server, "GET", &link, None, &[HTML], "").await);
    let form = ask(&server, "GET", "/admin/set-up", None, &[HTML, ("cookie", &before)], "").await;
    assert!(form.text().contains(&token), "{}", form.text());
    set_password(&server, PASSWORD).await;
    let kept = ask(&server, "GET", "/admin", None, &[("cookie", &before)], "").await;
    assert_eq!(kept.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&server, "GET", &link, None, &[HTML], "").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn open_admin_lets_this_machine_in() {
    let server = Server::start().await;
    for host in ["localhost:3000", "127.0.0.1:3000", "[::1]:3000"] {
        let answer = ask(&server, "GET", "/admin", Some(HERE), &[HTML, ("host", host)], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
        let text = answer.text();
        assert!(text.contains("No admin password is set") && !text.contains("/admin/sign-out"), "{text}");
    }
    set_password(&server, PASSWORD).await;
    let answer = ask(&server, "GET", "/admin", Some(HERE), &[HTML, ("host", "localhost:3000")], "").await;
    assert_eq!(answer.header("location"), "/admin/sign-in", "a password counts at once");
}

#[tokio::test]
async fn the_door_opens_every_described_address() {
    let server = with_operator().await;
    let cookie = signed_in(&server).await;
    for (method, path) in described(&server).await {
        let path = path.replace(['{', '}'], "");
        let answer = ask(&server, &method, &path, None, &[("cookie", &cookie)], "").await;
        assert!(![401, 403, 405].contains(&answer.status.as_u16()), "{method} {path}: {}", answer.text());
    }
}

#[tokio::test]
async fn without_an_operator_this_machine_may_come_in() {
    let server = Server::start().await;
    for host in ["localhost:3000", "127.0.0.1:3000", "[::1]:3000"] {
        let answer = ask(&server, "GET", "/admin", Some(HERE), &[HTML, ("host", host)], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
        let text = answer.text();
        assert!(text.contains("No admin password is set") && !text.contains("/admin/sign-out"), "{text}");
    }
    set_password(&server, PASSWORD).await;
    let answer = ask(&server, "GET", "/admin", Some(HERE), &[HTML, ("host", "localhost:3000")], "").await;
    assert_eq!(answer.header("location"), "/admin/sign-in", "a password counts at once");
}

#[tokio::test]
async fn a_session_begins_with_the_password_and_ends_with_signing_out() {
    let server = with_operator().await;
    let closed = ask(&server, "GET", "/admin/training?x=1", None, &[HTML], "").await;
    assert_eq!(closed.header("location"), "/admin/sign-in?next=/admin/training%3Fx%3D1");
    let page = ask(&server, "GET", closed.header("location"), None, &[HTML], "").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("value=\"/admin/training?x=1\""), "{}", page.text());

    let wrong = ask(&server, "POST", "/admin/sign-in", None, &[HTML], "password=not+this").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text().contains("Wrong password.") && !wrong.headers.contains_key("set-cookie"));

    let cookie = signed_in(&server).await;
    let open = ask(&server, "GET", "/admin", None, &[HTML, ("cookie", &cookie)], "").await;
    assert_eq!((open.status, open.header("cache-control")), (StatusCode::OK, "no-store"));
    let again = ask(&server, "GET", "/admin/sign-in", None, &[HTML, ("cookie", &cookie)], "").await;
    assert_eq!(again.header("location"), "/admin");
    let missing = ask(&server, "GET", "/admin/nothing", None, &[HTML, ("cookie", &cookie)], "").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);

    let out = ask(&server, "POST", "/admin/sign-out", None, &[HTML, ("cookie", &cookie)], "").await;
    assert_eq!(out.header("location"), "/admin/sign-in");
    assert!(
        out.headers.get_all("set-cookie").iter().all(|value| value.to_str().unwrap().contains("Max-Age=0"))
    );
    // The cookie itself is worth nothing any more, wherever it was copied to.
    let kept = ask(&server, "GET", "/admin", None, &[("cookie", &cookie)], "").await;
    assert_eq!(kept.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn another_password_ends_every_session() {
    let server = with_operator().await;
    let cookie = signed_in(&server).await;
    set_password(&server, "other words of mine").await;
    let answer = ask(&server, "GET", "/admin", None, &[("cookie", &cookie)], "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

/// A stream of a training that rests, after its first words.
async fn followed(server: &Server, cookie: &str, id: &str) -> axum::body::BodyDataStream {
    let request = Request::get(format!("/admin/api/training/{id}/events")).header("cookie", cookie);
    let mut request = request.header("host", "localhost").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from((ELSEWHERE, 40_000))));
    let response = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut stream = response.into_body().into_data_stream();
    assert!(stream.next().await.unwrap().is_ok());
    stream
}

#[tokio::test]
async fn an_open_stream_ends_with_its_session() {
    // A generation holds the model up, so that the run neither ends nor proceeds.
    let server = Server::behind(Duration::from_millis(50), 32, AccessSettings::default()).await;
    set_password(&server, PASSWORD).await;
    let dataset = crate::datasets::dataset_of(&server.studio, "cloth").await;
    server.submit(r#"{"prompt": "long", "steps": 100}"#).await;
    let request = serde_json::from_value(serde_json::json!({"name": "cloth", "dataset": dataset})).unwrap();
    let id = server.studio.train(request).await.unwrap().id;
    server.studio.pause_training(&id).await.unwrap();
    let rest = async |stream: axum::body::BodyDataStream| {
        tokio::time::timeout(PATIENCE, stream.count()).await.expect("it ends");
    };
    let (mine, other) = (signed_in(&server).await, signed_in(&server).await);
    let (ends, stays) = (followed(&server, &mine, &id).await, followed(&server, &other, &id).await);
    let out =
        ask(&server, "POST", "/admin/sign-out", Some(ELSEWHERE), &[HTML, ("cookie", mine.as_str())], "")
            .await;
    assert_eq!(out.status, StatusCode::SEE_OTHER);
    rest(ends).await;
    // The other session is as it was, until there is another password.
    drop(followed(&server, &other, &id).await);
    set_password(&server, "other words of mine").await;
    rest(stays).await;
}

#[tokio::test]
async fn a_session_outlives_a_restart_and_the_password_can_come_from_outside() {
    let server = with_operator().await;
    let cookie = signed_in(&server).await;
    let data = server.folder.path().join("data");
    let hash = std::fs::read_to_string(data.join("operator/password")).unwrap().trim().to_owned();
    let session = cookie.clone();
    let reopened = |given: Option<String>, data: std::path::PathBuf| {
        let auth = AdminAuth::open(&data, given).unwrap().into();
        let access = Access::open(&data, AccessSettings::default()).unwrap().into();
        let exports = data.join("exports");
        let front = Front {
            site: Site::default().into(),
            auth,
            access,
            exports,
            model: Default::default(),
            starting: Starting::default(),
        };
        let state = AppState::new(server.studio.clone(), front, server.shutdown.clone());
        adire_server::router(state).unwrap()
    };
    let asked = |router: axum::Router, cookie: String| async move {
        let request = Request::get("/admin").header("cookie", cookie).body(Body::empty()).unwrap();
        tower::ServiceExt::oneshot(router, request).await.unwrap().status()
    };
    assert_eq!(asked(reopened(None, data.clone()), session).await, StatusCode::OK);
    // The same hash from the environment is the same password; in another folder nobody is signed in.
    assert_eq!(asked(reopened(Some(hash.clone()), data.clone()), cookie.clone()).await, StatusCode::OK);
    let empty = server.folder.path().join("empty");
    assert_eq!(asked(reopened(Some(hash), empty), cookie).await, StatusCode::UNAUTHORIZED);
    assert!(AdminAuth::open(&data, Some("plain text".to_owned())).is_err());
}

#[tokio::test]
async fn guessing_is_slowed_down_and_locks_nobody_out() {
    let server = with_operator().await;
    let right = format!("password={}", PASSWORD.replace(' ', "+"));
    let first = ask(&server, "POST", "/admin/sign-in", Some(ELSEWHERE), &[HTML], &right).await;
    let device = all_cookies(&first).into_iter().find(|pair| pair.starts_with("adire_device=")).unwrap();
    for _ in 0..5 {
        let answer = ask(&server, "POST", "/admin/sign-in", Some(ELSEWHERE), &[], "password=guess").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    // Even the right one waits now.
    let answer = ask(&server, "POST", "/admin/sign-in", Some(ELSEWHERE), &[], &right).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let page = ask(&server, "POST", "/admin/sign-in", Some(ELSEWHERE), &[HTML], &right).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(page.text().contains("Too many attempts.") && !page.header("retry-after").is_empty());
    // A browser that signed in before does not wait for its neighbours; a forged device is nobody.
    let forged = "adire_device=device.0000";
    let answer = ask(&server, "POST", "/admin/sign-in", Some(ELSEWHERE), &[("cookie", forged)], &right).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    let known = [HTML, ("cookie", device.as_str())];
    let answer = ask(&server, "POST", "/admin/sign-in", Some(ELSEWHERE), &known, &right).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(all_cookies(&answer).contains(&device), "it stays the same device");

    // Neither does anybody at another address, however many guess from elsewhere.
    for last in 0..60 {
        let from = Some([203, 0, 113, last]);
        let answer = ask(&server, "POST", "/admin/sign-in", from, &[], "password=guess").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{last}");
    }
    let other = ask(&server, "POST", "/admin/sign-in", Some([198, 51, 100, 1]), &[HTML], &right).await;
    assert_eq!(other.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_visitor_has_attempts_of_its_own() {
    let trusted_proxies = vec!["192.0.2.7/32".parse().unwrap()];
    let settings = AccessSettings { trusted_proxies, ..AccessSettings::default() };
    let server = Server::behind(Duration::ZERO, 32, settings).await;
    set_password(&server, PASSWORD).await;
    let guess = async |from: &str| {
        ask(&server, "POST", "/admin/sign-in", None, &[("x-forwarded-for", from)], "password=guess")
            .await
            .status
    };
    for number in 0..5 {
        // What the client puts in front of what the proxy saw makes it nobody else.
        let status = guess(&format!("198.51.100.{number}, 203.0.113.1")).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(guess("198.51.100.77, 203.0.113.1").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(guess("203.0.113.2").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_printed_link_sets_the_password_once() {
    let server = closed().await;
    let token = server.auth.link_token().unwrap();
    let link = format!("/admin/set-up?token={token}");
    let page = ask(&server, "GET", &link, Some(ELSEWHERE), &[HTML], "").await;
    assert_eq!(page.status, StatusCode::OK, "from anywhere");
    let wrong = ask(&server, "GET", "/admin/set-up?token=0000", Some(ELSEWHERE), &[HTML], "").await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);

    let set = |token: String, password: &'static str, again: &'static str| {
        let body = format!("token={token}&password={password}&again={again}");
        let server = &server;
        async move { ask(server, "POST", "/admin/set-up", Some(ELSEWHERE), &[HTML], &body).await }
    };
    let guessed = set("0000".to_owned(), "four+words+of+mine", "four+words+of+mine").await;
    assert_eq!(guessed.status, StatusCode::FORBIDDEN);
    let differ = set(token.clone(), "four+words+of+mine", "five+words+of+mine").await;
    assert_eq!(differ.status, StatusCode::UNPROCESSABLE_ENTITY);
    let weak = set(token.clone(), "short", "short").await;
    assert_eq!(weak.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(weak.text().contains("at least 10 characters"), "{}", weak.text());

    let done = set(token.clone(), "four+words+of+mine", "four+words+of+mine").await;
    assert_eq!((done.status, done.header("location")), (StatusCode::SEE_OTHER, "/admin"));
    let open = ask(&server, "GET", "/admin", None, &[("cookie", &cookie(&done))], "").await;
    assert_eq!(open.status, StatusCode::OK);
    assert_eq!(server.auth.link_token(), None);
    assert_eq!(ask(&server, "GET", &link, None, &[HTML], "").await.status, StatusCode::FORBIDDEN);
    let second = set(token, "more+words+of+mine", "more+words+of+mine").await;
    assert_eq!(second.status, StatusCode::FORBIDDEN);
    signed_in(&server).await;
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_kept_is_for_the_server_alone() {
    use std::os::unix::fs::PermissionsExt;

    let server = with_operator().await;
    let cookie = signed_in(&server).await;
    let folder = server.folder.path().join("data/operator");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{entry:?}");
        let content = std::fs::read(entry.path()).unwrap();
        let content = String::from_utf8_lossy(&content);
        let token = cookie.trim_start_matches("adire_operator=");
        let token = &token[token.len() - 64..];
        assert!(!content.contains(PASSWORD) && !content.contains(token), "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["cookie.key", "password", "sessions.json"]);
}

#[tokio::test]
async fn other_sites_cannot_act_for_the_operator() {
    let server = with_operator().await;
    let cookie = signed_in(&server).await;
    for path in [
        "/admin/datasets",
        "/admin/training",
        "/admin/training/x",
        "/admin/sign-in",
        "/admin/sign-out",
        "/admin/api/datasets",
    ] {
        for from in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
        ] {
            let headers = [("cookie", cookie.as_str()), ("host", "adire.example"), from];
            let answer = ask(&server, "POST", path, None, &headers, "name=x").await;
            assert_eq!(answer.problem()["type"], "urn:adire:problem:cross-origin", "{path} {from:?}");
        }
    }
}

#[tokio::test]
async fn the_cookie_says_where_it_may_go() {
    let trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
    let server =
        Server::behind(Duration::ZERO, 32, AccessSettings { trusted_proxies, ..AccessSettings::default() })
            .await;
    set_password(&server, PASSWORD).await;
    let body = format!("password={}&next=https://evil.example/", PASSWORD.replace(' ', "+"));
    for (proto, secure) in [("http", false), ("https", true)] {
        let answer =
            ask(&server, "POST", "/admin/sign-in", None, &[HTML, ("x-forwarded-proto", proto)], &body).await;
        assert_eq!(answer.header("location"), "/admin", "nobody is led away");
        let mut given = answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
        let session = given.find(|value| value.starts_with("adire_operator=")).unwrap();
        for part in ["HttpOnly", "SameSite=Strict", "Path=/admin"] {
            assert!(session.contains(part), "{session}");
        }
        assert_eq!(session.contains("Secure"), secure, "{session}");
    }
}

#[tokio::test]
async fn visitors_pages_stay_open_and_show_the_way_only_to_operators() {
    for server in [Server::start().await, with_operator().await] {
        for path in ["/", "/adapters", "/api/v1/queue"] {
            let answer = ask(&server, "GET", path, Some(ELSEWHERE), &[HTML], "").await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
        }
    }
    let server = Server::start().await;
    let link = |text: String| {
        let tag = text.split("<a ").find(|tag| tag.contains("href=\"/admin\"")).map(str::to_owned);
        tag.expect("the link").split('>').next().unwrap().contains("hidden")
    };
    assert!(link(ask(&server, "GET", "/", None, &[HTML], "").await.text()));
    let operator = ask(&server, "GET", "/", None, &[HTML, ("cookie", "a=b; adire_admin_link=1")], "").await;
    assert!(!link(operator.text()));
}

#[tokio::test]
async fn a_damaged_password_file_opens_nothing() {
    let server = with_operator().await;
    let file = server.folder.path().join("data/operator/password");
    std::fs::write(&file, "damaged").unwrap();
    let answer = ask(&server, "GET", "/admin", Some(HERE), &[("host", "localhost")], "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let answer = ask(&server, "POST", "/admin/sign-in", None, &[], "password=damaged").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    // An unreadable file does not count as a missing password.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let answer = ask(&server, "GET", "/admin", Some(HERE), &[("host", "localhost")], "").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
}
