//! Shared images and links to a version: what strangers see, and what they never see.

use serde_json::json;

use crate::{
    browser::{Browser, location},
    support::Server,
};

#[tokio::test]
async fn a_share_shows_nothing_that_its_maker_did_not_share() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    let (maker, stranger) = (Browser::new(&server).await, Browser::new(&server).await);
    let image = maker.image("my <secret> garden").await;
    let own = maker.open("/api/v1/history").await.json()["images"][0]["hash"].as_str().unwrap().to_owned();
    let (id, _) = image.split_once('/').unwrap();
    let address = format!("/api/v1/generations/{id}/images/0/share");
    // Nothing before.
    for path in
        [format!("/p/{own}"), format!("/p/{own}/image.png"), "/p/x".to_owned(), format!("/p/{own}/qr.svg")]
    {
        assert_eq!(stranger.open(&path).await.status, 404, "{path}");
    }
    assert_eq!(stranger.json("PUT", &address, &json!({})).await.status, 404);

    let share = maker.json("PUT", &address, &json!({})).await.json();
    let page = share["page"].as_str().unwrap().to_owned();
    let shown = stranger.open(&page).await;
    assert_eq!(shown.status, 200);
    let api = stranger.open(&format!("/api/v1/shared/{}", share["hash"].as_str().unwrap())).await;
    for text in [shown.text(), api.text()] {
        for private in ["secret", "garden", own.as_str(), id] {
            assert!(!text.contains(private), "{private}: {text}");
        }
    }
    let text = shown.text();
    let picture = format!("{page}/image.png");
    assert!(text.contains(&format!("property=\"og:image\" content=\"http://localhost{picture}\"")), "{text}");
    assert!(text.contains("property=\"og:title\"") && text.contains("Make your own from this"), "{text}");
    let file = stranger.open(&picture).await;
    assert_eq!(file.header("content-type"), "image/png");
    assert!(!file.text().contains("secret"));
    let code = stranger.open(&format!("{page}/qr.svg")).await;
    assert_eq!(code.header("content-type"), "image/svg+xml");
    assert_eq!(crate::qr::read(&code.text()), format!("http://localhost{page}"));

    // With its recipe: the same address, and the prompt.
    let again = maker.json("PUT", &address, &json!({ "recipe": true })).await.json();
    assert_eq!(again["page"], json!(page));
    let text = stranger.open(&page).await.text();
    assert!(text.contains("my &lt;secret&gt; garden") && text.contains("href=\"/?prompt=my"), "{text}");
    assert!(!text.contains(&own) && !text.contains(id), "{text}");

    assert_eq!(stranger.json("DELETE", &address, &json!({})).await.status, 404);
    assert_eq!(maker.json("DELETE", &address, &json!({})).await.status, 204);
    assert_eq!(stranger.open(&page).await.status, 404);
    assert_eq!(stranger.open(&picture).await.status, 404);
}

#[tokio::test]
async fn the_forms_share_and_report() {
    let server = Server::start().await;
    let maker = Browser::new(&server).await;
    let image = maker.image("a chair").await;
    let card = format!("/history/{image}");
    let shared = maker.form(&card, &[("action", "share"), ("recipe", "on")]).await;
    assert_eq!(location(&shared), card);
    let text = maker.open(&card).await.text();
    let at = text.find("http://localhost/p/").unwrap();
    let page = text[at + "http://localhost".len()..].split('"').next().unwrap().to_owned();
    assert!(maker.open(&page).await.text().contains("a chair"));
    let stranger = Browser::new(&server).await;
    let reported = stranger.form(&page, &[("reason", "not a chair")]).await;
    assert_eq!(location(&reported), page);
    assert_eq!(server.get("/admin/api/flags").await.json()[0]["reason"], "not a chair");
    maker.form(&card, &[("action", "unshare")]).await;
    assert_eq!(maker.open(&page).await.status, 404);
    assert_eq!(stranger.form(&page, &[("reason", "again")]).await.status, 404);
}

#[tokio::test]
async fn a_link_to_a_version_needs_only_a_prompt() {
    let server = Server::start().await;
    for version in 1..=3 {
        server.adapter("adire", version).await;
    }
    let body = json!({ "reason": "good", "force": true }).to_string();
    let promoted = server.post("/admin/api/adapters/adire@v2/promote", &body).await;
    assert_eq!(promoted.status, 200, "{}", promoted.text());
    let archived = server.post("/admin/api/adapters/adire@v1/archive", r#"{"reason": "old"}"#).await;
    assert_eq!(archived.status, 200, "{}", archived.text());
    let hidden = server.request("PATCH", "/admin/api/adapters/adire@v3", r#"{"hidden": true}"#).await;
    assert_eq!(hidden.status, 200, "{}", hidden.text());

    let stranger = Browser::new(&server).await;
    let page = stranger.open("/try/adire@production").await;
    assert_eq!(page.status, 200);
    let text = page.text();
    assert!(text.contains("adire@v2") && !text.contains("v1") && !text.contains("v3"), "{text}");
    for name in ["adire@v1", "adire@v3", "kente", "adire@champion", "..%2F..", "adire@v2@v2"] {
        let missing = stranger.open(&format!("/try/{name}")).await;
        assert_eq!(missing.status, 404, "{name}");
        assert_eq!(stranger.open(&format!("/try/{name}/qr.svg")).await.status, 404, "{name}");
        assert_eq!(stranger.form(&format!("/try/{name}"), &[("prompt", "x")]).await.status, 404, "{name}");
    }
    let code = stranger.open("/try/adire/qr.svg").await;
    assert_eq!(crate::qr::read(&code.text()), "http://localhost/try/adire");
    // The trigger word is added where it is missing.
    for (typed, made) in [
        ("a chair", "a chair, in some style"),
        ("a chair In Some Style", "a chair In Some Style"),
        ("", "in some style"),
    ] {
        let sent = stranger.form("/try/adire@production", &[("prompt", typed)]).await;
        let id = location(&sent).strip_prefix("/?generation=").unwrap().to_owned();
        let generation = server.finished(&id).await;
        assert_eq!(generation["spec"]["prompt"], json!(made));
        assert_eq!(generation["spec"]["adapters"][0]["name"], "adire@v2");
    }
}
