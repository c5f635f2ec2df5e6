//! The Hub's download API, as its clients use it. `xtask test clients` has the real ones.

use adire_protocol::{Stage, VersionChange};
use adire_studio::Mover;
use axum::{
    body::Body,
    http::{Request, StatusCode},
};

use crate::support::{Answer, Server};

async fn ready() -> Server {
    let server = Server::start().await;
    for version in 1..=3 {
        server.adapter("adire", version).await;
    }
    let body = r#"{"reason": "first", "force": true}"#;
    assert_eq!(server.post("/admin/api/adapters/adire@v2/promote", body).await.status, StatusCode::OK);
    server
}

async fn commit(server: &Server, revision: &str) -> String {
    let answer = server.get(&format!("/api/models/adire/revision/{revision}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{revision}: {}", answer.text());
    let record = answer.json();
    assert_eq!(answer.header("x-repo-commit"), record["sha"].as_str().unwrap());
    record["sha"].as_str().unwrap().to_owned()
}

async fn fetch(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_revision_is_main_a_version_an_alias_or_a_commit() {
    let server = ready().await;
    let alias = server.request("PUT", "/admin/api/adapters/adire/aliases/stable", r#"{"version": 1}"#).await;
    assert_eq!(alias.status, StatusCode::OK, "{}", alias.text());
    let [v1, v2, v3] =
        [commit(&server, "v1").await, commit(&server, "v2").await, commit(&server, "v3").await];
    assert!(v1 != v2 && v2 != v3 && v1.len() == 40);
    assert_eq!(commit(&server, "main").await, v2, "the version in production");
    assert_eq!(commit(&server, "production").await, v2);
    assert_eq!(commit(&server, "stable").await, v1);
    assert_eq!(commit(&server, &v3).await, v3);
    let refs = server.get("/api/models/adire/refs").await.json();
    assert_eq!(refs["branches"][0]["targetCommit"], v2);
    let tags: Vec<&str> =
        refs["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    assert_eq!(tags, ["v3", "production", "v2", "stable", "v1"]);
}

#[tokio::test]
async fn files_are_listed_and_sent_whole_and_in_parts() {
    let server = ready().await;
    let tree = server.get("/api/models/adire/tree/v1?recursive=true&expand=false").await.json();
    let entries = tree.as_array().unwrap();
    // The fake engine's files are not in diffusers' format, so there is the file as it was added.
    let names: Vec<&str> = entries.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(names, ["README.md", "adire-v1.safetensors"]);
    let (hash, size) = (entries[1]["lfs"]["oid"].as_str().unwrap(), entries[1]["size"].as_u64().unwrap());
    let path = "/adire/resolve/v1/adire-v1.safetensors";
    let head = fetch(&server, "HEAD", path, &[("accept-encoding", "identity")]).await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, &*size.to_string()));
    assert_eq!(head.header("etag"), format!("\"{hash}\""));
    assert_eq!(head.header("x-repo-commit"), commit(&server, "v1").await);
    assert_eq!(head.body.len(), 0);
    let whole = fetch(&server, "GET", path, &[("accept-encoding", "gzip, br")]).await;
    assert_eq!((whole.body.len() as u64, whole.header("content-encoding")), (size, ""));
    let part = fetch(&server, "GET", path, &[("range", "bytes=0-0")]).await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.header("content-range"), format!("bytes 0-0/{size}"));
    assert_eq!(part.body[..], whole.body[..1]);
    let rest = fetch(&server, "GET", path, &[("range", "bytes=5-")]).await;
    assert_eq!(rest.body[..], whole.body[5..]);
    let beyond = fetch(&server, "GET", path, &[("range", "bytes=9999-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);

    let card = server.get("/adire/resolve/main/README.md").await;
    assert_eq!(card.header("accept-ranges"), "bytes");
    // hf-hub asks for one byte of each file, the card included.
    let part = fetch(&server, "GET", "/adire/resolve/main/README.md", &[("range", "bytes=0-0")]).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &card.body[..1]));
    assert_eq!(part.header("content-range"), format!("bytes 0-0/{}", card.body.len()));
    let beyond = fetch(&server, "GET", "/adire/resolve/main/README.md", &[("range", "bytes=99999-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert!(card.text().contains("Write `in some style` in the prompt."), "{}", card.text());
    assert!(card.text().contains("pipeline.load_lora_weights(\"adire\", weight_name"), "{}", card.text());
    let record = server.get("/api/models/adire").await.json();
    assert_eq!(record["siblings"].as_array().unwrap().len(), 2);
    assert_eq!(record["private"], false);
}

#[tokio::test]
async fn what_is_not_there_has_the_hubs_codes() {
    let server = ready().await;
    for (path, code) in [
        ("/api/models/nothing", "RepoNotFound"),
        ("/api/models/a%0Ab/revision/main", "RepoNotFound"),
        ("/nothing/resolve/main/README.md", "RepoNotFound"),
        ("/api/models/adire/revision/v9", "RevisionNotFound"),
        ("/adire/resolve/v9/README.md", "RevisionNotFound"),
        ("/adire/resolve/0123456789abcdef0123456789abcdef01234567/README.md", "RevisionNotFound"),
        ("/adire/resolve/main/model_index.json", "EntryNotFound"),
        ("/adire/resolve/main/a/b/..%2Fc", "EntryNotFound"),
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.header("x-error-code")), (StatusCode::NOT_FOUND, code), "{path}");
        assert!(answer.json()["error"].as_str().unwrap().ends_with('.'));
    }
    // A file that is not there still tells the commit: clients remember that it is not there.
    let answer = server.get("/adire/resolve/main/model_index.json").await;
    assert_eq!(answer.header("x-repo-commit").len(), 40);
}

#[tokio::test]
async fn hidden_rejected_and_withheld_versions_are_not_given_out() {
    let server = ready().await;
    let v1 = commit(&server, "v1").await;
    let hide = VersionChange { hidden: Some(true), downloads: None, note: None };
    server.studio.change_version("adire@v1", hide).await.unwrap();
    server.studio.change_stage("adire@v3", Stage::Rejected, "smudges", Mover::Admin).await.unwrap();
    for revision in ["v1", "v3", &v1] {
        let answer = server.get(&format!("/api/models/adire/revision/{revision}")).await;
        assert_eq!(answer.header("x-error-code"), "RevisionNotFound", "{revision}");
        let answer = server.get(&format!("/adire/resolve/{revision}/README.md")).await;
        assert_eq!(answer.header("x-error-code"), "RevisionNotFound", "{revision}");
    }
    let tags = server.get("/api/models/adire/refs").await.text();
    assert!(!tags.contains("v1") && !tags.contains("v3"), "{tags}");
    let keep = VersionChange { hidden: None, downloads: Some(false), note: None };
    server.studio.change_version("adire@v2", keep).await.unwrap();
    let answer = server.get("/adire/resolve/main/adire-v2.safetensors").await;
    assert_eq!((answer.status, answer.header("x-error-code")), (StatusCode::FORBIDDEN, "DisabledRepo"));
}
