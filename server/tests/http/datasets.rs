//! Datasets from outside: forms with files, edits, thumbnails.

use std::io::Cursor;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};

use crate::support::{Answer, Server};

pub(crate) const DATASETS: &str = "/admin/api/datasets";

pub(crate) fn png(shade: u8) -> Vec<u8> {
    let image = RgbImage::from_fn(96, 64, |x, y| Rgb([x as u8, y as u8, shade]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A form with files, as browsers send it.
pub(crate) async fn bring(server: &Server, id: &str, files: &[(&str, Vec<u8>)]) -> Answer {
    let mut body = Vec::new();
    for (name, bytes) in files {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend([head.as_bytes(), bytes, b"\r\n"].concat());
    }
    body.extend(b"--edge--\r\n");
    let request = Request::post(format!("{DATASETS}/{id}/files"))
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=edge");
    server.send(request.body(Body::from(body)).unwrap()).await
}

/// The same without a request: for servers that let nobody in.
pub(crate) async fn dataset_of(studio: &adire_studio::Studio, name: &str) -> String {
    let new = adire_protocol::NewDataset { name: name.to_owned(), ..Default::default() };
    let id = studio.create_dataset(new).await.unwrap().id;
    let chunks = futures::stream::iter([Ok::<_, String>(png(1))]);
    let file = studio.receive("a.png", chunks).await.unwrap();
    studio.add_to_dataset(&id, vec![file]).await.unwrap().id
}

pub(crate) async fn dataset(server: &Server, name: &str) -> String {
    let body = json!({"name": name, "trigger": "tok", "caption": "cloth"}).to_string();
    let made = server.post(DATASETS, &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("{DATASETS}/{id}"));
    let filled = bring(server, &id, &[("a.png", png(1)), ("b.png", png(2))]).await;
    assert_eq!(filled.status, StatusCode::OK, "{}", filled.text());
    id
}

async fn patch(server: &Server, id: &str, body: Value) -> Answer {
    let request = Request::patch(format!("{DATASETS}/{id}")).header(header::CONTENT_TYPE, "application/json");
    server.send(request.body(body.to_string().into()).unwrap()).await
}

#[tokio::test]
async fn a_dataset_is_made_filled_edited_and_listed() {
    let server = Server::start().await;
    let id = dataset(&server, "cloth").await;
    let uploaded = bring(
        &server,
        &id,
        &[("3_red cloth/c.png", png(3)), ("a.txt", b"an indigo cloth".to_vec()), ("x.png", b"text".to_vec())],
    )
    .await
    .json();
    let texts: Vec<_> = uploaded["pictures"].as_array().unwrap().iter().map(|p| p["text"].clone()).collect();
    assert_eq!(texts, ["tok, red cloth", "tok, an indigo cloth", "tok, cloth"]);
    assert_eq!(uploaded["warnings"][0]["name"], "x.png");
    assert_eq!(uploaded["remarks"], uploaded["warnings"], "the old name is sent, too");
    let hash = uploaded["pictures"][1]["hash"].as_str().unwrap();
    let changed = patch(&server, &id, json!({"action": "caption", "picture": hash, "caption": "dots"})).await;
    assert_eq!(changed.json()["pictures"][1]["text"], "tok, dots");
    let replaced = patch(&server, &id, json!({"action": "replace", "find": "dots", "with": "lines"})).await;
    assert_eq!(replaced.json()["pictures"][1]["text"], "tok, lines");

    let thumbnail = server.get(&format!("{DATASETS}/{id}/images/{hash}/thumbnail")).await;
    // The address until images were called that.
    let before = server.get(&format!("{DATASETS}/{id}/pictures/{hash}/thumbnail")).await;
    assert_eq!(before.body, thumbnail.body);
    assert_eq!((thumbnail.status, thumbnail.header("content-type")), (StatusCode::OK, "image/jpeg"));
    let small = image::load_from_memory(&thumbnail.body).unwrap();
    assert_eq!((small.width(), small.height()), (96, 64));

    let request = Request::delete(format!("{DATASETS}/{id}/pictures/{hash}"));
    let left = server.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(left.json()["pictures"].as_array().unwrap().len(), 2);
    let listed = server.get(DATASETS).await.json();
    assert_eq!((&listed[0]["name"], &listed[0]["pictures"]), (&json!("cloth"), &json!(2)));
    let copy = server.post(&format!("{DATASETS}/{id}/copy"), r#"{"name": "other"}"#).await;
    assert_eq!((copy.status, &copy.json()["name"]), (StatusCode::CREATED, &json!("other")));
    let delete = || {
        let request = Request::delete(format!("{DATASETS}/{id}"));
        server.send(request.body(Body::empty()).unwrap())
    };
    assert_eq!(delete().await.status, StatusCode::NO_CONTENT);
    assert_eq!(delete().await.problem()["status"], 404);
}

#[tokio::test]
async fn images_come_from_a_folder_of_the_server() {
    let server = Server::start().await;
    let id = dataset(&server, "cloth").await;
    let folder = server.folder.path().join("pictures");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("d.png"), png(9)).unwrap();
    let body = json!({"folder": folder}).to_string();
    let imported = server.post(&format!("{DATASETS}/{id}/import"), &body).await;
    assert_eq!(imported.json()["pictures"].as_array().unwrap().len(), 3, "{}", imported.text());
    let nowhere =
        server.post(&format!("{DATASETS}/{id}/import"), r#"{"folder": "/nowhere"}"#).await.problem();
    assert_eq!((&nowhere["status"], &nowhere["errors"][0]["field"]), (&json!(422), &json!("folder")));
    let etc = server.post(&format!("{DATASETS}/{id}/import"), r#"{"folder": "/etc"}"#).await.problem();
    assert!(etc["errors"][0]["message"].as_str().unwrap().contains("--import-from"), "{etc}");
    assert!(server.get(&format!("{DATASETS}/{id}")).await.json()["remarks"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn invalid_input_is_a_problem_with_a_sentence() {
    let server = Server::start().await;
    let id = dataset(&server, "cloth").await;
    let nobody = "0199c0de-0000-7000-8000-000000000000";
    let hash = "0".repeat(64);
    assert_eq!(server.post(DATASETS, r#"{"name": " "}"#).await.problem()["errors"][0]["field"], "name");
    assert_eq!(server.get(&format!("{DATASETS}/{nobody}")).await.problem()["status"], 404);
    assert_eq!(bring(&server, nobody, &[("a.png", png(1))]).await.problem()["status"], 404);
    assert_eq!(bring(&server, &id, &[]).await.problem()["errors"][0]["field"], "files");
    let thumbnail = server.get(&format!("{DATASETS}/{id}/pictures/{hash}/thumbnail")).await;
    assert_eq!(thumbnail.problem()["status"], 404);
    let plain = server.post(&format!("{DATASETS}/{id}/files"), "{}").await.problem();
    assert_eq!(plain["status"], 415);
    let missing = json!({"action": "caption", "picture": hash, "caption": "x"});
    assert_eq!(patch(&server, &id, missing).await.problem()["status"], 404);
    let unknown = patch(&server, &id, json!({"action": "explode"})).await.problem();
    assert_eq!(unknown["status"], 422);
    // A form that breaks off.
    let request = Request::post(format!("{DATASETS}/{id}/files"))
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=edge");
    let cut = "--edge\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.png\"\r\n\r\nabc";
    let broken = server.send(request.body(Body::from(cut)).unwrap()).await.problem();
    assert!([400, 422].contains(&broken["status"].as_u64().unwrap()), "{broken}");
    assert_eq!(server.get(&format!("{DATASETS}/{id}")).await.json()["pictures"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn every_address_of_operators_is_described() {
    let server = Server::start().await;
    let document = server.get("/api/v1/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    let mut described: Vec<String> = paths
        .iter()
        .filter(|(path, _)| path.starts_with("/admin/api/"))
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
        })
        .collect();
    described.sort();
    let expected = [
        "delete /admin/api/adapters/{name}",
        "delete /admin/api/adapters/{name}/aliases/{alias}",
        "delete /admin/api/adapters/{name}/shadow",
        "delete /admin/api/comparisons/{id}",
        "delete /admin/api/datasets/{id}",
        "delete /admin/api/datasets/{id}/images/{image}",
        "delete /admin/api/embeddings/{word}",
        "delete /admin/api/evaluations/{id}",
        "delete /admin/api/flags/{id}",
        "delete /admin/api/generations/{id}",
        "delete /admin/api/images/{hash}",
        "delete /admin/api/jobs/{id}",
        "delete /admin/api/pushes/{id}",
        "delete /admin/api/queue/{id}",
        "delete /admin/api/sheets/{id}",
        "delete /admin/api/visitors/{visitor}",
        "get /admin/api/adapters",
        "get /admin/api/adapters/{name}/ledger",
        "get /admin/api/adapters/{name}/lineage",
        "get /admin/api/adapters/{name}/production",
        "get /admin/api/adapters/{name}/shadow",
        "get /admin/api/alerts",
        "get /admin/api/comparisons",
        "get /admin/api/datasets",
        "get /admin/api/datasets/{id}",
        "get /admin/api/datasets/{id}/images/{image}/thumbnail",
        "get /admin/api/evaluation-metrics",
        "get /admin/api/evaluations",
        "get /admin/api/evaluations/{id}",
        "get /admin/api/evaluations/{id}/events",
        "get /admin/api/flags",
        "get /admin/api/gate",
        "get /admin/api/images",
        "get /admin/api/images/{hash}/lineage",
        "get /admin/api/imported-runs",
        "get /admin/api/imported-runs/{id}",
        "get /admin/api/jobs",
        "get /admin/api/jobs/{id}/events",
        "get /admin/api/monitoring",
        "get /admin/api/pushes",
        "get /admin/api/pushes/{id}",
        "get /admin/api/pushes/{id}/events",
        "get /admin/api/queue",
        "get /admin/api/settings/training",
        "get /admin/api/sheets",
        "get /admin/api/sheets/{id}",
        "get /admin/api/suite",
        "get /admin/api/training",
        "get /admin/api/training/{id}",
        "get /admin/api/training/{id}/events",
        "get /admin/api/training/{id}/files/{file}",
        "patch /admin/api/adapters/{name}",
        "patch /admin/api/datasets/{id}",
        "patch /admin/api/jobs/{id}",
        "post /admin/api/adapters",
        "post /admin/api/adapters/{id}/push",
        "post /admin/api/adapters/{name}/archive",
        "post /admin/api/adapters/{name}/promote",
        "post /admin/api/adapters/{name}/reject",
        "post /admin/api/adapters/{name}/reopen",
        "post /admin/api/adapters/{name}/rollback",
        "post /admin/api/alerts/test",
        "post /admin/api/comparisons",
        "post /admin/api/datasets",
        "post /admin/api/datasets/{id}/copy",
        "post /admin/api/datasets/{id}/files",
        "post /admin/api/datasets/{id}/import",
        "post /admin/api/embeddings",
        "post /admin/api/evaluations",
        "post /admin/api/evaluations/{id}/steps/{step}/rerun",
        "post /admin/api/flags/{id}/suite",
        "post /admin/api/queue/cancel",
        "post /admin/api/sheets",
        "post /admin/api/sheets/{id}/cancel",
        "post /admin/api/training",
        "post /admin/api/training/{id}/cancel",
        "post /admin/api/training/{id}/pause",
        "post /admin/api/training/{id}/resume",
        "post /admin/api/training/{id}/steps/{step}/keep",
        "put /admin/api/adapters/{name}/aliases/{alias}",
        "put /admin/api/adapters/{name}/shadow",
        "put /admin/api/alerts",
        "put /admin/api/alerts/{rule}/mute",
        "put /admin/api/gate",
        "put /admin/api/intake",
        "put /admin/api/settings/training",
        "put /admin/api/suite",
    ];
    assert_eq!(described, expected);
}
