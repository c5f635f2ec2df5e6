//! Tokens of programs, and pages of other origins.

use std::{net::SocketAddr, time::Duration};

use adire_server::AccessSettings;
use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
};

use crate::support::{Answer, Server};

const GENERATIONS: &str = "/api/v1/generations";

impl Server {
    /// Creates a token on the admin's page and returns it.
    pub(crate) async fn token(&self, name: &str, scope: &str, limit: &str) -> String {
        let limit = limit.replace('/', "%2F");
        let form = format!("action=add&name={name}&scope={scope}&limit={limit}");
        let answer = self.form("/admin/tokens", &form).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let html = answer.text();
        let start = html.find("adire_").expect("the token is shown");
        html[start..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    }

    async fn form(&self, path: &str, form: &str) -> Answer {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(form.to_owned().into()).unwrap()).await
    }

    /// Posts JSON from elsewhere with headers.
    pub(crate) async fn post_as(&self, path: &str, json: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 40_000))));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(json.to_owned().into()).unwrap()).await
    }
}

#[tokio::test]
async fn a_token_is_shown_once_counts_and_is_revoked() {
    let server = Server::start().await;
    let token = server.token("chat", "generate", "").await;
    let page = server.get("/admin/tokens").await.text();
    assert!(page.contains("chat") && !page.contains(&token), "it is shown once");

    let bearer = format!("Bearer {token}");
    let authorised = [("authorization", bearer.as_str())];
    let answer = server.post_as(GENERATIONS, r#"{"prompt": "moons", "count": 3}"#, &authorised).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let listed = server.auth_tokens();
    assert_eq!((listed[0]["generations"].as_u64(), listed[0]["images"].as_u64()), (Some(1), Some(3)));

    // What was refused is not counted.
    let refused = server.post_as(GENERATIONS, r#"{"prompt": "moons", "steps": 0}"#, &authorised).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(server.auth_tokens()[0]["generations"], 1);

    let page = server.get("/admin/tokens").await.text();
    let id = page.split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let revoked = server.form("/admin/tokens", &format!("action=revoke&id={id}")).await;
    assert_eq!(revoked.status, StatusCode::SEE_OTHER);
    server.token("other", "generate", "").await;
    let answer = server.post_as(GENERATIONS, r#"{"prompt": "moons"}"#, &authorised).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.problem()["type"], "urn:adire:problem:unknown-token");
}

#[tokio::test]
async fn a_limit_is_a_429_that_says_when_to_come_back() {
    let server = Server::start().await;
    let token = server.token("chat", "generate", "2/day").await;
    let bearer = format!("Bearer {token}");
    let authorised = [("authorization", bearer.as_str())];
    let answer = server.post_as(GENERATIONS, r#"{"prompt": "moons", "count": 2}"#, &authorised).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let answer = server.post_as(GENERATIONS, r#"{"prompt": "moons"}"#, &authorised).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
    assert!(answer.problem()["detail"].as_str().unwrap().contains("2/day"));
}

#[tokio::test]
async fn only_a_token_of_scope_admin_opens_the_admins_api() {
    let server =
        Server::behind(Duration::ZERO, 32, AccessSettings { open_admin: true, ..Default::default() }).await;
    let (plain, admin) = (server.token("a", "generate", "").await, server.token("b", "admin", "").await);
    for (path, token, expected) in [
        ("/admin/api/queue", &admin, StatusCode::OK),
        ("/admin/api/queue", &plain, StatusCode::FORBIDDEN),
        // Pages are for people.
        ("/admin/queue", &admin, StatusCode::FORBIDDEN),
    ] {
        let request = Request::get(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 40_000))));
        assert_eq!(server.send(request.body(Body::empty()).unwrap()).await.status, expected, "{path}");
    }
}

#[tokio::test]
async fn credentials_mean_nothing_until_there_is_a_token() {
    let server = Server::start().await;
    let body = r#"{"prompt": "moons"}"#;
    let any = [("authorization", "Bearer sk-anything")];
    assert_eq!(server.post_as(GENERATIONS, body, &any).await.status, StatusCode::ACCEPTED);
    server.token("chat", "generate", "").await;
    assert_eq!(server.post_as(GENERATIONS, body, &any).await.status, StatusCode::UNAUTHORIZED);
    // Clients send empty ones where nothing was entered.
    for empty in ["", "Basic ", "Basic Og==", "Basic dW5kZWZpbmVkOnVuZGVmaW5lZA=="] {
        let answer = server.post_as("/sdapi/v1/txt2img", body, &[("authorization", empty)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{empty:?}: {}", answer.text());
    }
    // On pages, Basic credentials are a proxy's.
    let page = Request::get("/").header("accept", "text/html").header("authorization", "Basic YTpi");
    assert_eq!(server.send(page.body(Body::empty()).unwrap()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_form_with_a_wrong_name_or_limit_keeps_its_values() {
    let server = Server::start().await;
    for (form, sentence) in [
        ("action=add&name=a%2Fb&scope=generate", "A token"),
        ("action=add&name=a&scope=generate&limit=many", "for example 100/day"),
        ("action=add&name=a&scope=everything", "Expected generate or admin"),
    ] {
        let answer = server.form("/admin/tokens", form).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{form}");
        assert!(answer.text().contains(sentence), "{form}: {}", answer.text());
    }
    assert_eq!(server.form("/admin/tokens", "action=other").await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn pages_of_an_allowed_origin_call_the_apis_and_nothing_else() {
    let origin = "https://chat.example";
    let cors = vec![origin.to_owned()];
    let server =
        Server::behind(Duration::ZERO, 32, AccessSettings { cors, open_admin: true, ..Default::default() })
            .await;
    let body = r#"{"prompt": "moons"}"#;
    for (path, from, expected) in [
        ("/v1/images/generations", origin, StatusCode::OK),
        (GENERATIONS, origin, StatusCode::ACCEPTED),
        ("/v1/images/generations", "https://evil.example", StatusCode::FORBIDDEN),
        ("/admin/api/alerts/test", origin, StatusCode::FORBIDDEN),
        ("/generate", origin, StatusCode::FORBIDDEN),
    ] {
        let answer = server.post_as(path, body, &[("origin", from), ("sec-fetch-site", "cross-site")]).await;
        assert_eq!(answer.status, expected, "{path} {from}");
        let allowed = if expected == StatusCode::FORBIDDEN { "" } else { origin };
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{path} {from}");
    }
    let preflight = Request::options("/v1/images/generations")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization, content-type");
    let answer = server.send(preflight.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("access-control-allow-headers"), "authorization, content-type");

    // Without the option the header is absent.
    let closed = Server::start().await;
    let answer = closed.post_as("/v1/images/generations", body, &[("origin", origin)]).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (StatusCode::FORBIDDEN, ""));
}

impl Server {
    /// What the file of tokens and their use say, read as `adire admin tokens list --json` does.
    fn auth_tokens(&self) -> Vec<serde_json::Value> {
        adire_server::listed_tokens(&self.folder.path().join("data")).unwrap()
    }
}
