//! A visitor's images: search, ratings, reports and zip files, by the API and by plain forms.

use serde_json::json;

use crate::{
    browser::{Browser, location},
    support::Server,
};

#[tokio::test]
async fn a_history_is_searched_rated_and_zipped_by_the_api() {
    let server = Server::start().await;
    let (maker, other) = (Browser::new(&server).await, Browser::new(&server).await);
    let stars = maker.image("white stars").await;
    maker.image("red moons").await;
    let found = maker.open("/api/v1/history?q=star").await.json();
    assert_eq!(found["images"].as_array().unwrap().len(), 1);
    assert_eq!(found["images"][0]["recipe"]["spec"]["prompt"], "white stars");
    assert_eq!(found["images"][0]["rating"], json!({ "starred": false }));
    let first = maker.open("/api/v1/history?limit=1").await.json();
    let next = first["next"].as_i64().unwrap();
    let second = maker.open(&format!("/api/v1/history?limit=1&before={next}")).await.json();
    assert_eq!(second["images"][0]["recipe"]["spec"]["prompt"], "white stars");
    assert!(second.get("next").is_none());
    assert_eq!(other.open("/api/v1/history").await.json(), json!({ "images": [] }));
    assert_eq!(server.get("/api/v1/history").await.json(), json!({ "images": [] }));
    for (query, status) in
        [("seed=x", 422), ("from=now", 422), ("limit=0", 422), ("limit=x", 400), ("sort=up", 400)]
    {
        let answer = maker.open(&format!("/api/v1/history?{query}")).await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {}", answer.text());
        answer.problem();
    }

    let (id, _) = stars.split_once('/').unwrap();
    let address = format!("/api/v1/generations/{id}/images/0/rating");
    let rated = maker.json("PUT", &address, &json!({ "starred": true, "thumb": "up" })).await;
    assert_eq!(rated.json()["rating"], json!({ "starred": true, "thumb": "up" }));
    assert_eq!(maker.open(&address).await.json(), json!({ "starred": true, "thumb": "up" }));
    assert_eq!(other.open(&address).await.status, 404);
    assert_eq!(other.json("PUT", &address, &json!({ "starred": true })).await.status, 404);
    assert_eq!(maker.json("PUT", &address, &json!({ "thumb": "sideways" })).await.status, 422);
    assert_eq!(maker.json("PUT", "/api/v1/generations/x/images/0/rating", &json!({})).await.status, 400);
    let starred = maker.open("/api/v1/history?starred=true").await.json();
    assert_eq!(starred["images"].as_array().unwrap().len(), 1);

    let selection = json!({ "images": [{ "generation": id, "index": 0 }] });
    let zip = maker.json("POST", "/api/v1/history/zip", &selection).await;
    assert_eq!(zip.header("content-type"), "application/zip");
    assert!(zip.body.starts_with(b"PK"), "{}", zip.status);
    assert_eq!(other.json("POST", "/api/v1/history/zip", &selection).await.status, 404);
    assert_eq!(maker.json("POST", "/api/v1/history/zip", &json!({ "images": [] })).await.status, 422);
}

#[tokio::test]
async fn the_page_works_with_forms_alone() {
    let server = Server::start().await;
    let maker = Browser::new(&server).await;
    assert!(maker.open("/history").await.text().contains("No images yet."));
    let stars = maker.image("white <stars>").await;
    let moons = maker.image("red moons").await;
    let page = maker.open("/history?q=stars").await;
    assert_eq!(page.status, 200);
    assert!(
        page.text().contains("white &lt;stars&gt;") && !page.text().contains("red moons"),
        "{}",
        page.text()
    );
    let wrong = maker.open("/history?seed=seven&q=x").await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("got “seven”") && wrong.text().contains("value=\"x\""), "{}", wrong.text());

    // Back to where one was.
    let starred = maker.form("/history", &[("star", &stars), ("back", "q=white")]).await;
    assert_eq!(location(&starred), "/history?q=white");
    let star = maker.open("/history?starred=true").await.text();
    assert!(star.contains("Remove star") && !star.contains("red moons"), "{star}");
    let nothing = maker.form("/history", &[("action", "delete")]).await;
    assert_eq!(location(&nothing), "/history");
    assert!(nothing.header("set-cookie").contains("Select+at+least+one"), "{}", nothing.header("set-cookie"));
    for outside in ["//evil.example", "a\r\nSet-Cookie: x=y", "a#b"] {
        let answer = maker.form("/history", &[("star", &stars), ("back", outside)]).await;
        assert!(location(&answer).starts_with("/history"), "{outside}");
    }

    let zip = maker.form("/history/zip", &[("image", &stars), ("image", &moons)]).await;
    assert_eq!(zip.header("content-disposition"), "attachment; filename=\"adire-images.zip\"");
    let ask = maker.form("/history", &[("image", &stars), ("image", &moons), ("action", "delete")]).await;
    assert!(ask.text().contains("Delete 2 images?") && ask.text().contains("delete-now"), "{}", ask.text());
    assert_eq!(maker.open("/api/v1/history").await.json()["images"].as_array().unwrap().len(), 2);
    let gone = maker.form("/history", &[("image", &stars), ("action", "delete-now")]).await;
    assert!(gone.header("set-cookie").contains("1+image+deleted."), "{}", gone.header("set-cookie"));
    assert_eq!(maker.open("/api/v1/history").await.json()["images"].as_array().unwrap().len(), 1);
    assert_eq!(maker.form("/history", &[("image", "x"), ("action", "star")]).await.status, 422);
    assert_eq!(maker.form("/history", &[("image", &moons), ("action", "paint")]).await.status, 422);
    // Another visitor's image can be neither seen nor deleted.
    let other = Browser::new(&server).await;
    let form = [("image", moons.as_str()), ("action", "delete-now")];
    other.form("/history", &form).await;
    assert_eq!(maker.open("/api/v1/history").await.json()["images"].as_array().unwrap().len(), 1);
    assert_eq!(other.open(&format!("/history/{moons}")).await.status, 404);
}

#[tokio::test]
async fn an_image_is_rated_and_reported_by_forms_and_the_admin_decides() {
    let server = Server::start().await;
    let maker = Browser::new(&server).await;
    let image = maker.image("a smudged chair").await;
    let address = format!("/history/{image}");
    assert!(maker.open(&address).await.text().contains("a smudged chair"));
    for (pair, expected) in [
        (("star", "on"), json!({ "starred": true })),
        (("thumb", "up"), json!({ "starred": true, "thumb": "up" })),
        (("thumb", "down"), json!({ "starred": true, "thumb": "down" })),
        (("thumb", "none"), json!({ "starred": true })),
        (("star", "off"), json!({ "starred": false })),
    ] {
        let answer = maker.form(&address, &[("action", "rate"), pair]).await;
        assert_eq!(location(&answer), address);
        assert_eq!(maker.open("/api/v1/history").await.json()["images"][0]["rating"], expected, "{pair:?}");
    }
    let from_the_studio = [("action", "rate"), ("star", "on"), ("back", "studio")];
    let (generation, index) = image.split_once('/').unwrap();
    let answer = maker.form(&address, &from_the_studio).await;
    assert_eq!(location(&answer), format!("/?generation={generation}&image={index}"));
    assert!(maker.open(location(&answer)).await.text().contains(r#"aria-pressed="true""#));
    let empty = maker.form(&address, &[("action", "flag"), ("reason", "")]).await;
    assert!(empty.header("set-cookie").contains("1+to+300+characters"), "{}", empty.header("set-cookie"));
    let sent = maker.form(&address, &[("action", "flag"), ("reason", "<b>smudge</b>")]).await;
    assert!(sent.header("set-cookie").contains("Reported"), "{}", sent.header("set-cookie"));

    let flags = server.get("/admin/api/flags").await.json();
    let id = flags[0]["id"].as_str().unwrap();
    assert_eq!(flags[0]["prompt"], "a smudged chair");
    assert!(maker.open("/admin/images").await.text().contains("1 report"));
    assert!(maker.open("/admin/flags").await.text().contains("“&lt;b&gt;smudge&lt;/b&gt;”"));
    let added = maker.form("/admin/flags", &[("action", "add"), ("id", id)]).await;
    assert_eq!(location(&added), "/admin/flags?done=add");
    assert!(maker.open("/admin/suite").await.text().contains("a smudged chair"));
    assert_eq!(maker.form("/admin/flags", &[("action", "dismiss"), ("id", id)]).await.status, 404);
    assert_eq!(server.request("DELETE", "/admin/api/flags/x", "").await.status, 404);

    let wrong = maker.form("/admin/suite", &[("action", "save"), ("suite", "seeds = 1")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("The suite is not valid"), "{}", wrong.text());
    assert_eq!(maker.form("/admin/suite", &[("action", "save"), ("suite", " ")]).await.status, 422);
    let restored = maker.form("/admin/suite", &[("action", "built-in")]).await;
    assert_eq!(location(&restored), "/admin/suite?done=built-in");
    let toml = server.get("/admin/api/suite").await.json()["toml"].as_str().unwrap().to_owned();
    assert!(!toml.contains("smudged"), "{toml}");
    let put = server.request("PUT", "/admin/api/suite", &json!({ "toml": toml }).to_string()).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(server.request("PUT", "/admin/api/suite", r#"{"toml": "x"}"#).await.status, 422);
}
