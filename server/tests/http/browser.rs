//! A browser without JavaScript, which keeps its visitor's cookie.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};

use crate::support::{Answer, Server};

/// A browser: it keeps the visitor's cookie.
pub(crate) struct Browser<'s> {
    server: &'s Server,
    cookie: String,
}

impl<'s> Browser<'s> {
    pub(crate) async fn new(server: &'s Server) -> Self {
        let page = Request::get("/").header(header::ACCEPT, "text/html");
        let answer = server.send(page.body(Body::empty()).unwrap()).await;
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        Self { server, cookie }
    }

    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    pub(crate) async fn send(&self, method: &str, path: &str, content_type: &str, body: String) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::COOKIE, &self.cookie)
            .header(header::ACCEPT, "text/html")
            .header(header::CONTENT_TYPE, content_type);
        self.server.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn open(&self, path: &str) -> Answer {
        self.send("GET", path, "text/plain", String::new()).await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(method, path, "application/json", body.to_string()).await
    }

    pub(crate) async fn form(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(pairs);
        self.send("POST", path, "application/x-www-form-urlencoded", body.finish()).await
    }

    /// Generates an image; `id/0`.
    pub(crate) async fn image(&self, prompt: &str) -> String {
        let answer = self.json("POST", "/api/v1/generations", &json!({ "prompt": prompt, "seed": 7 })).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        self.server.finished(&id).await;
        format!("{id}/0")
    }
}

/// Where a form leads.
pub(crate) fn location(answer: &Answer) -> &str {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    answer.header("location")
}
