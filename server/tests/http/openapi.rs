//! The description of the API holds what the API does.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::Value;

use crate::support::Server;

#[tokio::test]
async fn every_route_is_described_and_every_description_is_a_route() {
    let server = Server::start().await;
    let document = server.get("/api/v1/openapi.json").await;
    assert_eq!(document.header("content-type"), "application/json");
    let document = document.json();
    let described: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
        })
        // Admin endpoints have tests of their own.
        .filter(|route| !route.contains(" /admin/"))
        .collect();
    let expected = [
        "delete /api/v1/generations/{id}",
        "delete /api/v1/generations/{id}/images",
        "delete /api/v1/generations/{id}/images/{index}",
        "delete /api/v1/history",
        "get /api/v1/adapters",
        "get /api/v1/adapters/{name}",
        "get /api/v1/adapters/{name}/file",
        "get /api/v1/embeddings",
        "get /api/v1/generations/{id}",
        "get /api/v1/generations/{id}/events",
        "get /api/v1/images/{file}",
        "get /api/v1/model",
        "get /api/v1/openapi.json",
        "get /api/v1/queue",
        "post /api/v1/generations",
        "post /api/v1/recipe",
        "post /api/v1/tokens",
        "post /api/v1/uploads",
    ];
    assert_eq!(described, expected.map(str::to_owned).into());

    // Documented methods answer; any other method of the path is a 405 that lists them.
    for path in document["paths"].as_object().unwrap().keys() {
        let address = path
            .replace("{id}", "0199c0de-0000-7000-8000-000000000000")
            .replace("{file}", "x.png")
            .replace("{index}", "0");
        let address = address.replace("{name}", "adire@v1");
        let request = Request::builder().method(Method::TRACE).uri(&address).body(Body::empty()).unwrap();
        let answer = server.send(request).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        for method in document["paths"][path].as_object().unwrap().keys() {
            let allowed = answer.header("allow").to_ascii_lowercase();
            assert!(allowed.split(',').any(|allowed| allowed.trim() == method), "{path}: {allowed}");
        }
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_error_is_a_problem() {
    let server = Server::start().await;
    let document = server.get("/api/v1/openapi.json").await.json();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 10, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let is_error = status.starts_with(['4', '5']);
                let problem = response.pointer("/content/application~1problem+json/schema/$ref");
                let is_problem = problem.is_some_and(|name| name == "#/components/schemas/Problem");
                assert_eq!(is_error, is_problem, "{method} {path} {status}");
            }
        }
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            references.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| collect(value, references));
        }
        Value::Array(array) => array.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
