//! Stages, aliases and the ledger over HTTP.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};

use crate::support::{Answer, Server};

async fn send(server: &Server, method: &str, path: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(format!("/admin/api/adapters/{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    server.send(request).await
}

async fn post(server: &Server, path: &str, body: Value) -> Answer {
    send(server, "POST", path, &body).await
}

async fn with_versions(count: u32) -> Server {
    let server = Server::start().await;
    for version in 1..=count {
        server.adapter("adire", version).await;
    }
    server
}

async fn promote(server: &Server, version: u32) -> Value {
    let body = json!({ "reason": "better", "force": true });
    post(server, &format!("adire@v{version}/promote"), body).await.json()
}

#[tokio::test]
async fn a_version_is_promoted_rolled_back_and_found_by_its_alias() {
    let server = with_versions(2).await;
    let unforced = post(&server, "adire@v1/promote", json!({ "reason": "first" })).await;
    assert_eq!(unforced.status, StatusCode::CONFLICT);
    assert!(unforced.problem()["detail"].as_str().unwrap().contains("adire@v1 has no verdict"));
    let first = promote(&server, 1).await;
    assert_eq!(
        (&first["number"], &first["who"], &first["action"]),
        (&json!(1), &json!("admin"), &json!("promote"))
    );
    assert_eq!((&first["to_version"], &first["smoke"]["result"]), (&json!(1), &json!("first")));
    promote(&server, 2).await;

    let listed = server.get("/api/v1/adapters").await.json();
    assert_eq!((&listed[0]["stage"], &listed[0]["aliases"]), (&json!("production"), &json!(["production"])));
    assert_eq!((&listed[1]["stage"], &listed[1]["aliases"]), (&json!("archived"), &Value::Null));
    assert_eq!(server.get("/api/v1/adapters/adire@production").await.json()["version"], json!(2));

    let back = post(&server, "adire/rollback", json!({ "reason": "smudges" })).await.json();
    assert_eq!((&back["from_version"], &back["to_version"]), (&json!(2), &json!(1)));
    assert_eq!(back["smoke"]["result"], json!("equal"));
    let image = server.get(back["smoke"]["url"].as_str().unwrap()).await;
    assert_eq!((image.status, image.header("content-type")), (StatusCode::OK, "image/png"));
    let page = server.get("/adapters/adire@production").await.text();
    assert!(page.contains("adire@v1 · Adire") && page.contains("v1 · production"), "{page}");

    // The request names the alias, the record the version.
    let id = server.submit(r#"{"prompt": "moons", "adapters": [{"name": "adire@production"}]}"#).await;
    let record = server.finished(&id).await;
    assert_eq!(record["spec"]["adapters"][0]["name"], json!("adire@v1"));
    assert_eq!(
        post(&server, "adire/rollback", json!({ "reason": "again" })).await.status,
        StatusCode::CONFLICT
    );
}

#[tokio::test]
async fn stages_change_with_a_reason() {
    let server = with_versions(2).await;
    promote(&server, 1).await;
    let reason = json!({ "reason": "blurred" });
    for (path, stage) in [("reject", "rejected"), ("reopen", "candidate"), ("archive", "archived")] {
        let made = post(&server, &format!("adire@v2/{path}"), reason.clone()).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text());
        let shown = server.get("/api/v1/adapters/adire@v2").await.json();
        assert_eq!(shown["stage"], json!(stage));
    }
    for (path, body, status) in [
        ("adire@v1/reject", reason.clone(), StatusCode::CONFLICT),
        ("adire@v2/archive", reason.clone(), StatusCode::CONFLICT),
        ("adire@v2/reject", json!({ "reason": "" }), StatusCode::UNPROCESSABLE_ENTITY),
        ("adire@v2/reject", json!({}), StatusCode::UNPROCESSABLE_ENTITY),
        ("adire/reject", reason.clone(), StatusCode::UNPROCESSABLE_ENTITY),
        ("adire@v9/reject", reason.clone(), StatusCode::NOT_FOUND),
        ("kente/rollback", reason.clone(), StatusCode::NOT_FOUND),
        ("adire@v1/rollback", reason, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let answer = post(&server, path, body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        answer.problem();
    }
    // The version in production is neither hidden nor deleted.
    for (method, body) in [("PATCH", json!({ "hidden": true })), ("DELETE", json!({}))] {
        let refused = send(&server, method, "adire@v1", &body).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{method}");
        assert!(refused.problem()["detail"].as_str().unwrap().contains("roll back first"));
    }
}

#[tokio::test]
async fn free_aliases_are_put_and_deleted() {
    let server = with_versions(2).await;
    let put = async |alias: &str, version| {
        send(&server, "PUT", &format!("adire/aliases/{alias}"), &json!({ "version": version })).await
    };
    let set = put("stable", 1).await.json();
    assert_eq!(
        (&set["action"], &set["alias"], &set["to_version"]),
        (&json!("set_alias"), &json!("stable"), &json!(1))
    );
    assert_eq!(put("stable", 2).await.json()["from_version"], json!(1));
    assert_eq!(server.get("/api/v1/adapters/adire@stable").await.json()["version"], json!(2));
    for (alias, version, status) in [
        ("stable", 2, StatusCode::CONFLICT),
        ("production", 1, StatusCode::CONFLICT),
        ("stable", 9, StatusCode::NOT_FOUND),
        ("v2", 1, StatusCode::UNPROCESSABLE_ENTITY),
        ("..%2fx", 1, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(put(alias, version).await.status, status, "{alias}");
    }
    let delete =
        async |alias: &str| send(&server, "DELETE", &format!("adire/aliases/{alias}"), &json!({})).await;
    assert_eq!(delete("stable").await.status, StatusCode::OK);
    assert_eq!(delete("stable").await.status, StatusCode::NOT_FOUND);
    assert_eq!(delete("production").await.status, StatusCode::CONFLICT);
    assert_eq!(server.get("/api/v1/adapters/adire@stable").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_ledger_says_what_was_in_production_when() {
    let server = with_versions(2).await;
    assert_eq!(server.get("/admin/api/adapters/adire/ledger").await.json()["entries"], json!([]));
    promote(&server, 1).await;
    let between = tokio::time::sleep(std::time::Duration::from_millis(20));
    between.await;
    let at = humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    promote(&server, 2).await;

    let ledger = server.get("/admin/api/adapters/adire/ledger").await.json();
    assert_eq!(ledger["check"]["moves"], json!(2));
    assert_eq!(ledger["check"]["fault"], Value::Null);
    assert_eq!((&ledger["production"], &ledger["way_back"]), (&json!(2), &json!([1])));
    assert_eq!(ledger["entries"][1]["previous_digest"], ledger["entries"][0]["digest"]);
    assert_eq!(ledger["check"]["digest"], ledger["entries"][1]["digest"]);

    let production =
        async |query: &str| server.get(&format!("/admin/api/adapters/adire/production{query}")).await;
    assert_eq!(production("").await.json()["version"], json!("adire@v2"));
    let then = production(&format!("?at={at}")).await.json();
    assert_eq!((&then["version"], &then["entry"]["number"]), (&json!("adire@v1"), &json!(1)));
    let before = production("?at=2026-10-03T12:00:00Z").await.json();
    assert_eq!((&before["version"], &before["at"]), (&Value::Null, &json!(1_791_028_800_000_i64)));
    for query in ["?at=yesterday", "?at=2026-10-03", "?at="] {
        let refused = production(query).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert!(refused.problem()["detail"].as_str().unwrap().contains("2026-10-03T12:00:00Z"));
    }
    assert_eq!(production("?when=now").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(server.get("/admin/api/adapters/kente/ledger").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_versions_page_is_its_biography() {
    let server = with_versions(2).await;
    let page = async |path: &str| server.get(&format!("/admin/versions{path}")).await;
    let html = page("/adire@v1").await.text();
    assert!(html.contains("Not evaluated yet.") && !html.contains("Newest images"), "{html}");
    assert!(page("").await.text().contains("<th scope=\"col\">Verdict</th>"));
    let id = server.submit(r#"{"prompt": "white moons", "adapters": [{"name": "adire@v1"}]}"#).await;
    server.finished(&id).await;
    promote(&server, 1).await;

    // An alias is as good a name.
    let html = page("/adire@production").await;
    assert_eq!(html.status, StatusCode::OK);
    let html = html.text();
    let place = |words: &str| html.find(words).unwrap_or_else(|| panic!("{words}: {html}"));
    let order = ["Newest images", "id=\"verdict-title\"", "id=\"lineage\"", "id=\"ledger-title\""];
    assert!(order.windows(2).all(|two| place(two[0]) < place(two[1])), "{html}");
    assert!(html.contains("alt=\"white moons\""), "{html}");
    assert_eq!(page("/adire@best").await.status, StatusCode::NOT_FOUND);

    // What was in production at a time has an address.
    let now = page("/adire@v1?at=2099-01-01T12:00").await.text();
    assert!(now.contains("At 2099-01-01 12:00:00 UTC") && now.contains("href=\"#ledger-1\""), "{now}");
    let before = page("/adire@v2?at=2020-01-01T12:00:00Z").await.text();
    assert!(before.contains("nothing was in production."), "{before}");
    let wrong = page("/adire@v2?at=noon").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().contains("is not a time in UTC"), "{}", wrong.text());
}

#[tokio::test]
async fn an_alias_names_a_version_in_every_route_and_the_ledger_keeps_its_number() {
    let server = with_versions(2).await;
    let set = json!({ "version": 2 });
    assert_eq!(send(&server, "PUT", "adire/aliases/next", &set).await.status, StatusCode::OK);
    let body = json!({ "reason": "better", "force": true });
    let made = post(&server, "adire@next/promote", body.clone()).await.json();
    assert_eq!(made["to_version"], json!(2));
    let lineage = server.get("/admin/api/adapters/adire@production/lineage").await.json();
    assert_eq!(lineage["root"], json!("version:adire@v2"));
    let hide = send(&server, "PATCH", "adire@next", &json!({ "downloads": false })).await.json();
    assert_eq!((&hide["version"], &hide["downloads"]), (&json!(2), &json!(false)));
    assert_eq!(post(&server, "adire@none/promote", body).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_version_keeps_a_note() {
    let server = with_versions(1).await;
    let kept = send(&server, "PATCH", "adire@v1", &json!({ "note": "denser dots" })).await.json();
    assert_eq!((&kept["note"], &kept["hidden"]), (&json!("denser dots"), &json!(false)));
    let long = send(&server, "PATCH", "adire@v1", &json!({ "note": "é".repeat(2001) })).await;
    assert_eq!(long.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(long.problem()["errors"][0]["field"], json!("note"));
    assert!(server.get("/admin/versions/adire@v1").await.text().contains("denser dots"));
    let form = Request::post("/admin/versions/adire@v1")
        .header(header::ACCEPT, "text/html")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from("action=note&note=fewer+smudges"))
        .unwrap();
    assert_eq!(server.send(form).await.status, StatusCode::SEE_OTHER);
    assert!(server.get("/admin/versions/adire@v1").await.text().contains("fewer smudges"));
    let public = server.get("/api/v1/adapters/adire@v1").await.text();
    assert!(!public.contains("fewer smudges"), "visitors do not see it: {public}");
}
