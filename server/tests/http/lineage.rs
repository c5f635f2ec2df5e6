//! Lineage over HTTP: the API and the pages.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};

use crate::support::{Answer, Server};

async fn open(server: &Server, path: &str) -> Answer {
    let request = Request::get(path).header(header::ACCEPT, "text/html");
    server.send(request.body(Body::empty()).unwrap()).await
}

/// The hash of an image made with `adire@v1`.
async fn image(server: &Server) -> String {
    let adapters = json!([{ "name": "adire@v1", "strength": 0.75 }]);
    let id = server.submit(&json!({ "prompt": "moons & <stars>", "adapters": adapters }).to_string()).await;
    server.finished(&id).await["images"][0]["hash"].as_str().unwrap().to_owned()
}

fn ids(lineage: &Value) -> Vec<&str> {
    lineage["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn versions_and_images_have_a_lineage() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    let hash = image(&server).await;
    let of_image = server.get(&format!("/admin/api/images/{hash}/lineage")).await.json();
    assert_eq!(of_image["root"], json!(format!("image:{hash}")));
    let used = of_image["edges"].as_array().unwrap().iter().find(|edge| edge["role"] == "adapter").unwrap();
    assert_eq!((&used["to"], &used["strength"]), (&json!("version:adire@v1"), &json!(0.75)));

    let of_version = server.get("/admin/api/adapters/adire@v1/lineage").await.json();
    assert_eq!(ids(&of_version), [format!("image:{hash}"), "version:adire@v1".to_owned()]);
    assert_eq!(of_version["nodes"][1]["state"], json!("candidate"));

    let missing = format!("/admin/api/images/{}/lineage", "0".repeat(64));
    for (path, status) in [
        (missing.as_str(), StatusCode::NOT_FOUND),
        ("/admin/api/images/x/lineage", StatusCode::NOT_FOUND),
        ("/admin/api/adapters/adire@v9/lineage", StatusCode::NOT_FOUND),
        ("/admin/api/adapters/kente@v1/lineage", StatusCode::NOT_FOUND),
        ("/admin/api/adapters/adire/lineage", StatusCode::UNPROCESSABLE_ENTITY),
        ("/admin/api/adapters/..%2Fx/lineage", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        answer.problem();
    }
}

#[tokio::test]
async fn the_pages_link_every_node() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    let hash = image(&server).await;
    let gallery = open(&server, "/admin/images").await.text();
    assert!(gallery.contains(&format!("href=\"/admin/images/{hash}\"")), "{gallery}");
    let page = open(&server, &format!("/admin/images/{hash}")).await;
    assert_eq!(page.status, StatusCode::OK);
    let page = page.text();
    assert!(page.contains("href=\"/admin/versions/adire@v1\""), "{page}");
    assert!(page.contains("Adapter, strength 0.75") && page.contains("moons &amp; &lt;stars&gt;"), "{page}");
    let version = open(&server, "/admin/versions/adire@v1").await.text();
    assert!(version.contains("made with adire@v1"), "{version}");
    assert!(version.contains(&format!("href=\"/admin/images/{hash}\"")), "{version}");
    let missing = open(&server, &format!("/admin/images/{}", "0".repeat(64))).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.text().contains("Page not found"));
}
