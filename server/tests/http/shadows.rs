//! Shadow rendering from outside, on the fake backend.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{PATIENCE, Server};

const SHADOW: &str = "/admin/api/adapters/adire@v2/shadow";

/// Three versions, the first in production.
async fn ready() -> Server {
    let server = Server::start().await;
    for version in 1..=3 {
        server.adapter("adire", version).await;
    }
    let body = json!({ "reason": "first", "force": true }).to_string();
    let promoted = server.post("/admin/api/adapters/adire@v1/promote", &body).await;
    assert_eq!(promoted.status, StatusCode::OK, "{}", promoted.text());
    server
}

async fn produce(server: &Server) -> Value {
    let request = r#"{"prompt": "blue moons", "adapters": [{"name": "adire@production"}]}"#;
    let id = server.submit(request).await;
    server.finished(&id).await
}

async fn until(server: &Server, f: impl Fn(&Value) -> bool) -> Value {
    let waiting = async {
        loop {
            let record = server.get(SHADOW).await.json();
            if f(&record) {
                return record;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it comes to that")
}

#[tokio::test]
async fn a_shadow_is_switched_on_scores_pairs_and_is_switched_off() {
    let server = ready().await;
    assert_eq!(server.get(SHADOW).await.problem()["status"], 404);
    assert_eq!(server.request("DELETE", SHADOW, "").await.problem()["status"], 404);
    let record = server.request("PUT", SHADOW, "{}").await.json();
    assert_eq!((&record["every"], &record["max_pairs"]), (&json!(10), &json!(500)));
    assert_eq!((&record["on"], &record["champion"]), (&json!(true), &json!("adire@v1")));
    let changed = server.request("PUT", SHADOW, r#"{"every": 1, "max_pairs": 20}"#).await.json();
    assert_eq!((&changed["every"], &changed["max_pairs"]), (&json!(1), &json!(20)));
    assert_eq!(changed["started_at"], record["started_at"], "it is the same one");

    let made = produce(&server).await;
    let record = until(&server, |record| record["scored"] == 1).await;
    let pair = &record["pairs"][0];
    assert_eq!((&pair["prompt"], &pair["champion"]), (&json!("blue moons"), &made["images"][0]["url"]));
    let image = server.get(pair["challenger"].as_str().unwrap()).await;
    assert_eq!((image.status, image.header("content-type")), (StatusCode::OK, "image/png"));
    let measure = &record["measures"][0];
    assert_eq!((&measure["name"], &measure["outcome"]), (&json!("clip_score"), &json!("undecided")));
    // One pair proves nothing: e is 1 whatever it shows.
    assert!((measure["e"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{measure}");

    let page = server.get("/admin/versions/adire@v2").await.text();
    for words in ["1 of 20 pairs, from 1 production generation.", "Prompt adherence:", "Switch shadow off"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let page = server.get("/admin/versions/adire@v1").await.text();
    assert!(page.contains("renders generations of this version again."), "{page}");

    let ended = server.request("DELETE", SHADOW, "").await.json();
    assert_eq!((&ended["on"], &ended["reason"]), (&json!(false), &json!("It was switched off.")));
    assert_eq!(server.request("DELETE", SHADOW, "").await.status, StatusCode::CONFLICT);
    assert_eq!(server.get(SHADOW).await.json()["scored"], json!(1), "results stay");
}

#[tokio::test]
async fn what_is_wrong_with_a_shadow_is_said() {
    let server = ready().await;
    let put = async |id: &str, body: &str| {
        server.request("PUT", &format!("/admin/api/adapters/{id}/shadow"), body).await
    };
    for (id, body, status, words) in [
        ("adire@v1", "{}", 409, "is in production itself"),
        ("adire@v9", "{}", 404, "adire@v9"),
        ("adire", "{}", 422, "Name the version"),
        ("adire@v2", r#"{"every": 0}"#, 422, "Every must be 1 to 1000; got 0."),
        ("adire@v2", r#"{"every": -3}"#, 422, "every"),
        ("adire@v2", r#"{"k": 3}"#, 422, "unknown field"),
        ("adire@v2", "no json", 400, ""),
    ] {
        let answer = put(id, body).await;
        assert_eq!(answer.status.as_u16(), status, "{id} {body}: {}", answer.text());
        assert!(answer.problem().to_string().contains(words), "{}", answer.text());
    }
    put("adire@v3", "{}").await.json();
    let answer = put("adire@v2", "{}").await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.problem()["detail"].as_str().unwrap().starts_with("adire@v3 is in shadow already"));
}

#[tokio::test]
async fn the_switch_on_the_page_works_without_a_script() {
    let server = ready().await;
    let post = async |form: &str| {
        let request = axum::http::Request::post("/admin/versions/adire@v2")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned().into())
            .unwrap();
        server.send(request).await
    };
    let refused = post("action=shadow-on&every=often&max_pairs=5").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().contains("Every must be a whole number from 1 to 1000; got “often”."));
    let taken = post("action=shadow-on&every=3&max_pairs=5").await;
    assert_eq!((taken.status, taken.header("location")), (StatusCode::SEE_OTHER, "/admin/versions/adire@v2"));
    assert_eq!(server.get(SHADOW).await.json()["every"], json!(3));
    assert_eq!(post("action=shadow-off").await.status, StatusCode::SEE_OTHER);
    let again = post("action=shadow-off").await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(again.text().contains("The shadow of adire@v2 is not on."));
}
