//! Alerts from outside: settings, mutes and the page.

use axum::http::{Request, StatusCode};
use serde_json::json;

use crate::support::{Answer, Server};

const API: &str = "/admin/api/alerts";
const PAGE: &str = "/admin/monitoring/alerts";
const RULE: &str = "webhook = \"https://example.org/hook?key=secret\"\n[[rule]]\nname = \"failures\"\nmeasure = \"failed_share\"\nabove = 0.5\nmin_count = 1\n";

async fn set(server: &Server, toml: &str) -> Answer {
    server.request("PUT", API, &json!({ "toml": toml }).to_string()).await
}

async fn post(server: &Server, form: &str) -> Answer {
    let request = Request::post(PAGE).header("content-type", "application/x-www-form-urlencoded");
    server.send(request.body(form.to_owned().into()).unwrap()).await
}

#[tokio::test]
async fn rules_are_set_muted_and_shown_with_what_they_found() {
    let server = Server::start().await;
    let page = server.get(PAGE).await.text();
    assert!(page.contains("# [[rule]]"), "{page}");
    let set = set(&server, RULE).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text());
    assert_eq!(set.json()["rules"][0]["min_count"], 1);
    let id = server.submit(r#"{"prompt": "fail!"}"#).await;
    server.finished(&id).await;
    server.studio.look_at_alerts().await.unwrap();
    let found = server.get(API).await.json();
    assert_eq!(found["rules"][0]["firing"], true);
    assert_eq!(found["alerts"][0]["generations"], json!([id]));
    assert_eq!(found["alerts"][0]["deliveries"][0]["state"], "waiting");
    let page = server.get(PAGE).await.text();
    for words in
        ["1 alert is open.", "Firing", "Failed generations: 100.0% of 1", &format!("generation={id}")]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    let muted = post(&server, "action=mute&rule=failures&hours=8").await;
    assert_eq!((muted.status, muted.header("location")), (StatusCode::SEE_OTHER, PAGE));
    assert!(server.get(API).await.json()["rules"][0]["muted_until"].as_i64().is_some());
    assert!(server.get(PAGE).await.text().contains("Unmute: failures"));
    assert_eq!(post(&server, "action=unmute&rule=failures").await.status, StatusCode::SEE_OTHER);
    assert_eq!(post(&server, "action=test").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn what_is_wrong_is_said_and_kept_in_the_form() {
    let server = Server::start().await;
    let refused = set(&server, "[[rule]]\nname = \"a\"").await;
    assert_eq!(
        (refused.status, &refused.problem()["errors"][0]["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("toml"))
    );
    let form = "action=save&toml=webhook+%3D+%22ftp%3A%2F%2Fa%22";
    let refused = post(&server, form).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = refused.text();
    assert!(page.contains("webhook must be an address") && page.contains("ftp://a"), "{page}");
    assert_eq!(post(&server, "action=test").await.status, StatusCode::CONFLICT);
    assert_eq!(post(&server, "action=mute&rule=a&hours=1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(post(&server, "action=mute&rule=a&hours=2").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(post(&server, "action=dance").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let mute = server.request("PUT", &format!("{API}/a/mute"), r#"{"until": 1}"#).await;
    assert_eq!(mute.status, StatusCode::NOT_FOUND);
    set(&server, RULE).await;
    let mute = server.request("PUT", &format!("{API}/failures/mute"), r#"{"until": 1}"#).await;
    assert_eq!(mute.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", mute.text());
}
