//! The list of addresses and the description of the API hold what the server does.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use adire_protocol::{
    Limits, RENAMED, Renamed,
    fields::{FIELDS, Value},
};
use adire_server::{AccessSettings, Address, Who, addresses};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::Value as Json;

use crate::support::Server;

/// The list as a table, to be read: who may call what, and how much it may bring along.
#[test]
fn every_address_says_who_may_call_it_and_which_limit_applies() {
    let lines: Vec<String> = addresses().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn the_list_the_description_and_the_answers_agree() {
    let server = Server::start().await;
    let document = server.get("/api/v1/openapi.json").await;
    assert_eq!(document.header("content-type"), "application/json");
    let document = document.json();
    let described: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let listed = |address: &Address| {
        let Address { methods, path, .. } = address;
        methods.iter().map(|method| format!("{method} {path}")).collect::<Vec<_>>()
    };
    let all = addresses();
    let of_the_api: BTreeSet<String> =
        all.iter().filter(|address| address.described).flat_map(listed).collect();
    assert_eq!(of_the_api, described);

    // Listed methods answer; any other method of the path is a 405 that lists them.
    let mut methods = BTreeMap::<&str, BTreeSet<String>>::new();
    for address in all.iter().filter(|address| address.path != "/{file}") {
        methods.entry(&address.path).or_default().extend(address.methods.iter().cloned());
    }
    for (path, methods) in methods {
        let address = path
            .replace("{id}", "0199c0de-0000-7000-8000-000000000000")
            .replace("{file}", "x.png")
            .replace("{index}", "0");
        let address = address.replace("{name}", "adire@v1");
        let request = Request::builder().method(Method::TRACE).uri(&address).body(Body::empty()).unwrap();
        let answer = server.send(request).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed: BTreeSet<String> = answer
            .header("allow")
            .split(',')
            .map(|method| method.trim().to_owned())
            .filter(|method| !["HEAD", "OPTIONS"].contains(&method.as_str()))
            .collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

#[test]
fn addresses_below_admin_are_the_admins() {
    for Address { path, who, .. } in addresses() {
        let is_below = path == "/admin" || path.starts_with("/admin/");
        assert_eq!(is_below, matches!(who, Who::Admin | Who::SignIn), "{path}");
    }
}

#[tokio::test]
async fn nothing_of_the_admins_answers_without_signing_in() {
    let server = Server::behind(Duration::ZERO, 32, AccessSettings::default()).await;
    for Address { path, methods, who, .. } in addresses() {
        for method in methods.iter().filter(|_| who == Who::Admin) {
            let address = path.replace(['{', '}'], "");
            let request = Request::builder().method(method.as_str()).uri(address);
            let request = request.body(Body::empty()).unwrap();
            let answer = server.send(request).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
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

#[tokio::test]
async fn every_field_of_the_table_is_a_described_parameter() {
    let server = Server::start().await;
    let document = server.get("/api/v1/openapi.json").await.json();
    for field in &FIELDS {
        let (schema, key) = match field.name.strip_prefix("hires.") {
            Some(key) => ("HiresRequest", key),
            None => ("GenerationRequest", field.name),
        };
        let property = &document["components"]["schemas"][schema]["properties"][key];
        assert_eq!(property["description"], field.help.sentence(), "{}", field.name);
        let range = (field.range)(&Limits::default());
        if range.is_bounded() && field.name != "seed" {
            assert_eq!(property["maximum"].as_f64(), Some(range.max), "{}", field.name);
        }
        assert_eq!(field.fixed_default() == Value::None, property["default"].is_null(), "{}", field.name);
    }
}

#[tokio::test]
async fn old_names_of_renamed_keys_are_described_as_deprecated() {
    let server = Server::start().await;
    let document = server.get("/api/v1/openapi.json").await.json();
    for Renamed { schema, now, before } in &RENAMED {
        let properties = &document["components"]["schemas"][schema]["properties"];
        // An event's run stands in the schema of what it reports.
        assert!(!properties[now].is_null() || *schema == "TrainingEvent", "{schema}.{now}");
        assert!(properties[before]["deprecated"] == true || *schema == "TrainingEvent", "{schema}.{before}");
    }
}

fn collect(value: &Json, references: &mut Vec<String>) {
    match value {
        Json::Object(object) => {
            references.extend(object.get("$ref").and_then(Json::as_str).map(str::to_owned));
            object.values().for_each(|value| collect(value, references));
        }
        Json::Array(array) => array.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
