//! Blind votes over HTTP: the admin's forms and API, and the voters' page.

use axum::http::StatusCode;
use serde_json::json;

use crate::{
    browser::{Browser, location},
    support::Server,
};

/// A finished evaluation of `adire@v2` against `adire@v1`.
async fn evaluated(server: &Server) -> String {
    server.adapter("adire", 1).await;
    server.adapter("adire", 2).await;
    let suite = "name = 'x'\nseeds = [1]\nprompts = ['blue thing, {trigger}', 'red thing, {trigger}']\n";
    let body = json!({ "version": "adire@v2", "against": "adire@v1", "suite": suite });
    let answer = server.post("/admin/api/evaluations", &body.to_string()).await;
    assert!(answer.status.is_success(), "{}", answer.text());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    // The stream ends with the evaluation.
    server.get(&format!("/admin/api/evaluations/{id}/events")).await;
    id
}

#[tokio::test]
async fn friends_vote_on_pairs_without_names() {
    let server = Server::start().await;
    let id = evaluated(&server).await;
    let admin = Browser::new(&server).await;
    assert!(admin.open(&format!("/admin/evaluations/{id}")).await.text().contains("Ask people"));
    let created = admin.form("/admin/comparisons", &[("action", "create"), ("evaluation", &id)]).await;
    assert!(location(&created).starts_with("/admin/comparisons#"));
    let listed = server.get("/admin/api/comparisons").await.json();
    let page = listed[0]["page"].as_str().unwrap().to_owned();
    let text = admin.open("/admin/comparisons").await.text();
    assert!(
        text.contains(&format!("http://localhost{page}")) && text.contains("adire@v2 against adire@v1"),
        "{text}"
    );

    let friend = Browser::new(&server).await;
    let shown = friend.open(&page).await;
    assert_eq!(shown.header("cache-control"), "no-store");
    let text = shown.text();
    assert!(text.contains("Which image is better?") && text.contains(" thing”"), "{text}");
    for private in ["adire@", "v1", "v2", "in some style", "/api/v1/images"] {
        assert!(!text.contains(private), "{private}: {text}");
    }
    let at = text.find("name=\"pair\" value=\"").unwrap() + "name=\"pair\" value=\"".len();
    let pair = text[at..].split('"').next().unwrap().to_owned();
    let left = friend.open(&format!("{page}/{pair}/left")).await;
    let right = friend.open(&format!("{page}/{pair}/right")).await;
    assert!(left.header("content-type") == "image/png" && left.body != right.body);
    assert_eq!(left.header("cache-control"), "no-store");
    for path in
        [format!("{page}/9/left"), format!("{page}/x/left"), format!("{page}/0/up"), "/vote/x".to_owned()]
    {
        assert_eq!(friend.open(&path).await.status, 404, "{path}");
    }
    let code = friend.open(&format!("{page}/qr.svg")).await;
    assert_eq!(crate::qr::read(&code.text()), format!("http://localhost{page}"));

    let voted = friend.form(&page, &[("pair", &pair), ("choice", "left")]).await;
    assert_eq!(location(&voted), page);
    friend.form(&page, &[("pair", &pair), ("choice", "right")]).await;
    assert_eq!(friend.form(&page, &[("pair", &pair), ("choice", "both")]).await.status, 422);
    assert_eq!(friend.form(&page, &[("pair", "9"), ("choice", "left")]).await.status, 404);
    let record = server.get("/admin/api/comparisons").await.json()[0].clone();
    assert_eq!(record["better"].as_u64().unwrap() + record["worse"].as_u64().unwrap(), 1, "{record}");
    assert!(friend.open(&page).await.text().contains("1 vote of yours"));

    let comparison = record["id"].as_str().unwrap();
    let closed = server.request("DELETE", &format!("/admin/api/comparisons/{comparison}"), "").await;
    assert_eq!(closed.status, StatusCode::OK);
    assert!(friend.open(&page).await.text().contains("The votes are counted."));
    assert_eq!(server.request("DELETE", "/admin/api/comparisons/x", "").await.status, 404);
    assert_eq!(server.post("/admin/api/comparisons", r#"{"evaluation": "x"}"#).await.status, 404);
}
