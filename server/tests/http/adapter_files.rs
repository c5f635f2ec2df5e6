//! Adapter files that the admin adds while the server runs: API and form.

use std::{net::SocketAddr, sync::Arc};

use adire_studio::fake::ADAPTER_MAGIC;
use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
};
use futures::{StreamExt, stream};
use serde_json::json;

use crate::support::{Answer, PATIENCE, Server};

const API: &str = "/admin/api/adapters";
const PAGE: &str = "/admin/versions/add";
const EMBEDDINGS: &str = "/admin/api/embeddings";
const EMBEDDINGS_PAGE: &str = "/admin/embeddings";

/// A form's fields; with a file's name the value is a file.
type Fields<'f> = &'f [(&'f str, Option<&'f str>, &'f [u8])];

fn body(fields: Fields<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, value) in fields {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        let head = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend([head.as_bytes(), value, b"\r\n"].concat());
    }
    body.extend(b"--edge--\r\n");
    body
}

fn request(path: &str) -> axum::http::request::Builder {
    Request::post(path).header(header::CONTENT_TYPE, "multipart/form-data; boundary=edge")
}

async fn send(server: &Server, path: &str, fields: Fields<'_>) -> Answer {
    let accept = if path.starts_with("/admin/api/") { "application/json" } else { "text/html" };
    let request = request(path).header(header::ACCEPT, accept);
    server.send(request.body(body(fields).into()).unwrap()).await
}

fn lora(content: &str) -> Vec<u8> {
    [ADAPTER_MAGIC, content.as_bytes()].concat()
}

/// Files on their way in.
fn incoming(server: &Server) -> usize {
    std::fs::read_dir(server.folder.path().join("data/blobs/incoming")).unwrap().count()
}

#[tokio::test]
async fn a_file_becomes_a_version_that_can_be_used_at_once() {
    let server = Server::start().await;
    let first = lora("one");
    let answer = send(
        &server,
        API,
        &[
            ("file", Some("loras/my style.safetensors"), &first),
            ("name", None, b"cloth"),
            ("trigger", None, b" in my style "),
            ("description", None, b"Dots."),
        ],
    )
    .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    assert_eq!(answer.header("location"), "/api/v1/adapters/cloth@v1");
    let version = answer.json();
    assert_eq!(
        (&version["name"], &version["version"], &version["trigger"], &version["description"]),
        (&json!("cloth"), &json!(1), &json!("in my style"), &json!("Dots."))
    );
    assert_eq!(server.get(answer.header("location")).await.json()["hash"], version["hash"]);
    assert!(server.get("/").await.text().contains("cloth@v1"), "the studio's page offers it");
    let id = server.submit(r#"{"prompt": "moons", "adapters": [{"name": "cloth"}]}"#).await;
    assert_eq!(server.finished(&id).await["state"], "done");

    // The same file again is the same version, another one the next.
    let again = send(&server, API, &[("name", None, b"cloth"), ("file", Some("b"), &first)]).await;
    assert_eq!((again.status, &again.json()["version"]), (StatusCode::OK, &json!(1)));
    let second = lora("two");
    let next =
        send(&server, API, &[("file", Some("b.safetensors"), &second), ("name", None, b"cloth")]).await;
    assert_eq!((next.status, &next.json()["version"]), (StatusCode::CREATED, &json!(2)));
    let ledger = server.get("/admin/api/adapters/cloth/ledger").await.json();
    let rows = ledger["entries"].as_array().unwrap();
    let row = |n: usize| (&rows[n]["action"], &rows[n]["who"], &rows[n]["to_version"], &rows[n]["reason"]);
    assert_eq!(rows.len(), 2, "{ledger}");
    assert_eq!(row(0), (&json!("add"), &json!("admin"), &json!(1), &json!("my style.safetensors")));
    assert_eq!(row(1), (&json!("add"), &json!("admin"), &json!(2), &json!("b.safetensors")));
    assert_eq!(ledger["check"].get("fault"), None, "{ledger}");
    assert!(server.get("/admin/versions/cloth@v2").await.text().contains("v2 added"));
    assert_eq!(incoming(&server), 0);
}

#[tokio::test]
async fn what_is_refused_says_what_was_expected_and_leaves_nothing() {
    let server = Server::start().await;
    server.adapter("cloth", 1).await;
    let (file, other) = (lora("one"), b"PK a pickle".to_vec());
    let named: (&str, Option<&str>, &[u8]) = ("name", None, b"cloth");
    let fitting: (&str, Option<&str>, &[u8]) = ("file", Some("a.safetensors"), &file);
    let cases: &[(Fields<'_>, u64, &str, &str)] = &[
        (&[named], 422, "file", "Choose a .safetensors file."),
        (&[named, ("file", Some(""), b"")], 422, "file", "Choose a .safetensors file."),
        (&[fitting], 422, "name", "Enter a name."),
        (&[("name", None, b"My Style"), fitting], 422, "name", "“My Style” is not a valid adapter name"),
        (&[named, fitting, ("version", None, b"0")], 422, "version", "a whole number from 1; got “0”"),
        (&[named, fitting, ("version", None, b"two")], 422, "version", "got “two”"),
        (&[named, fitting, ("version", None, b"1")], 409, "version", "cloth@v1 already exists"),
        (&[named, ("file", Some("a.ckpt"), &other)], 422, "file", "a.ckpt does not begin with"),
        (&[named, ("file", None, &file)], 422, "file", "curl -F file=@"),
        (&[named, fitting, fitting], 422, "file", "two files"),
        (&[named, fitting, ("weight", None, b"1")], 422, "weight", "expected file, name, version"),
        (&[named, fitting, ("strict", None, b"yes")], 422, "strict", "true or false"),
    ];
    for (fields, status, field, words) in cases {
        let problem = send(&server, API, fields).await.problem();
        assert_eq!((&problem["status"], &problem["errors"][0]["field"]), (&json!(status), &json!(field)));
        assert!(problem["detail"].as_str().unwrap().contains(words), "{words}: {problem}");
    }
    let in_part = lora("in part");
    let strict = [named, ("file", Some("p.safetensors"), &in_part[..]), ("strict", None, b"true")];
    let problem = send(&server, API, &strict).await.problem();
    assert_eq!((&problem["status"], &problem["errors"][0]["field"]), (&json!(422), &json!("file")));

    assert_eq!(server.post(API, "{}").await.problem()["status"], 415);
    let cut = body(&[named, fitting]);
    let cut = request(API).body(cut[..cut.len() - 20].to_vec().into()).unwrap();
    assert_eq!(server.send(cut).await.problem()["status"], 400);
    // What says that it is too large is not read; the file of it that is counted is `blobs::receive`'s to test.
    let large = request(API).header(header::CONTENT_LENGTH, 3u64 << 30).body(body(&[named, fitting]).into());
    let large = server.send(large.unwrap()).await.problem();
    assert_eq!(large["status"], 413);
    assert!(large["detail"].as_str().unwrap().contains("2048 MiB"), "{large}");
    let essay = vec![b'x'; 300 << 10];
    assert_eq!(send(&server, API, &[named, ("description", None, &essay)]).await.problem()["status"], 413);

    let listed = server.get("/api/v1/adapters").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(incoming(&server), 0);
}

#[tokio::test]
async fn only_the_admin_adds_files() {
    let server = Server::start().await;
    let (plain, admin) = (server.token("a", "generate", "").await, server.token("b", "admin", "").await);
    let elsewhere = || ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 40_000)));
    let file = lora("one");
    let form = || Body::from(body(&[("name", None, b"cloth"), ("file", Some("a"), &file)]));
    for (path, token, status) in [
        (API, None, StatusCode::FORBIDDEN),
        (API, Some(&plain), StatusCode::FORBIDDEN),
        (PAGE, Some(&admin), StatusCode::FORBIDDEN),
        (API, Some(&admin), StatusCode::CREATED),
    ] {
        let mut request = request(path).extension(elsewhere());
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        assert_eq!(server.send(request.body(form()).unwrap()).await.status, status, "{path}");
    }
    for path in [API, PAGE] {
        let foreign = request(path).header("sec-fetch-site", "cross-site").body(form()).unwrap();
        let foreign = server.send(foreign).await;
        assert_eq!(foreign.problem()["type"], "urn:adire:problem:cross-origin");
    }
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_no_file() {
    let server = Arc::new(Server::start().await);
    let start = body(&[("name", None, b"cloth"), ("file", Some("a"), &lora("one"))]);
    let start = start[..start.len() - 20].to_vec();
    let sending = server.clone();
    let upload = tokio::spawn(async move {
        let pieces = stream::iter([Ok::<_, std::io::Error>(start)]).chain(stream::pending());
        sending.send(request(API).body(Body::from_stream(pieces)).unwrap()).await
    });
    let waits = async |count: usize| {
        while incoming(&server) != count {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits(1)).await.expect("the file goes to the disk as it comes");
    upload.abort();
    tokio::time::timeout(PATIENCE, waits(0)).await.expect("the file is removed");
    assert_eq!(server.get("/api/v1/adapters").await.json(), json!([]));
}

#[tokio::test]
async fn the_plain_form_keeps_what_was_typed_and_leads_back_to_the_list() {
    let server = Server::start().await;
    let empty = server.get("/admin/versions").await.text();
    assert!(empty.contains("LoRA files made elsewhere are added below"), "{empty}");
    assert!(empty.contains("enctype=\"multipart/form-data\"") && empty.contains("type=\"file\""), "{empty}");

    let (file, other) = (lora("in part"), b"PK".to_vec());
    let name: (&str, Option<&str>, &[u8]) = ("name", None, b"cloth");
    let texts: [(&str, Option<&str>, &[u8]); 3] =
        [("trigger", None, b"my \"tok\""), ("version", None, b"7"), ("description", None, b"")];
    let [trigger, version, description] = texts;
    let fields = [name, version, trigger, description, ("file", Some("a.bin"), &other[..])];
    let refused = send(&server, PAGE, &fields).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let html = refused.text();
    for words in ["a.bin does not begin with", "my &quot;tok&quot;", "value=\"7\"", "aria-invalid=\"true\""] {
        assert!(html.contains(words), "{words}: {html}");
    }

    let fields = [name, version, trigger, description, ("file", Some("a.bin"), &file[..])];
    let added = send(&server, PAGE, &fields).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.text());
    let html = server.get(added.header("location")).await.text();
    assert!(html.contains("cloth@v7 added. It can be chosen on"), "{html}");
    assert!(html.contains("role=\"status\"") && html.contains("left out"), "with its warning: {html}");
    let again = send(&server, PAGE, &fields).await;
    let html = server.get(again.header("location")).await.text();
    assert!(html.contains("Nothing added: cloth@v7 is this file already."), "{html}");

    let file = lora("other");
    let fields = [name, version, ("file", Some("b"), &file[..])];
    let taken = send(&server, PAGE, &fields).await;
    assert_eq!(taken.status, StatusCode::CONFLICT);
    assert!(taken.text().contains("field-version-error"), "{}", taken.text());
    let forged = server.get("/admin/versions?done=added&version=%3Cb%3E").await.text();
    assert!(!forged.contains("class=\"flash\""), "{forged}");
}

#[tokio::test]
async fn an_embedding_is_added_and_removed_while_the_server_runs() {
    let server = Server::start().await;
    let file: (&str, Option<&str>, &[u8]) = ("file", Some("a.safetensors"), b"embedding:mystyle:4");
    let other: (&str, Option<&str>, &[u8]) = ("file", Some("b.safetensors"), b"embedding:mystyle:2");
    let added = send(&server, EMBEDDINGS, &[file, ("word", None, b"")]).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text());
    let record = added.json();
    assert_eq!((&record["word"], &record["vectors"]), (&json!("mystyle"), &json!(4)));
    assert_eq!(send(&server, EMBEDDINGS, &[file]).await.status, StatusCode::OK);
    assert_eq!(server.get("/api/v1/embeddings").await.json()[0]["word"], "mystyle");
    let id = server.submit(r#"{"prompt": "moons in mystyle"}"#).await;
    let made = server.finished(&id).await;
    assert_eq!(made["images"][0]["recipe"]["embeddings"][0]["word"], "mystyle", "{made}");

    let large = vec![0; (16 << 20) + 1];
    let cases: &[(Fields<'_>, u64, &str)] = &[
        (&[("word", None, b"x")], 422, "file"),
        (&[("file", Some("a.pt"), b"PK")], 422, "file"),
        (&[file, ("word", None, b"a:b")], 422, "word"),
        (&[other], 409, "word"),
        (&[file, ("name", None, b"x")], 422, "name"),
        (&[("file", Some("a.safetensors"), &large)], 413, "file"),
    ];
    for (fields, status, field) in cases {
        let problem = send(&server, EMBEDDINGS, fields).await.problem();
        let found = (&problem["status"], &problem["errors"][0]["field"]);
        assert_eq!(found, (&json!(status), &json!(field)), "{problem}");
    }
    assert_eq!(incoming(&server), 0);

    let remove = async || {
        let request = Request::delete(format!("{EMBEDDINGS}/MyStyle"));
        server.send(request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(remove().await.json()["word"], "mystyle");
    assert_eq!(remove().await.problem()["status"], 404);
    assert_eq!(server.get("/api/v1/embeddings").await.json(), json!([]));

    // The same by the page's forms.
    assert!(server.get(EMBEDDINGS_PAGE).await.text().contains("No embeddings yet"));
    let refused =
        send(&server, EMBEDDINGS_PAGE, &[("word", None, b"my \"tok\""), ("file", Some(""), b"")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let html = refused.text();
    assert!(html.contains("my &quot;tok&quot;") && html.contains("Choose a .safetensors file."), "{html}");
    let added = send(&server, EMBEDDINGS_PAGE, &[("word", None, b"tok"), file]).await;
    assert_eq!(added.header("location"), "/admin/embeddings?done=added");
    let html = server.get(added.header("location")).await.text();
    assert!(html.contains("Remove: tok") && html.contains("Embedding added."), "{html}");
    let removed = send(&server, EMBEDDINGS_PAGE, &[("remove", None, b"tok")]).await;
    assert_eq!(removed.header("location"), "/admin/embeddings?done=removed");
    assert_eq!(server.get("/api/v1/embeddings").await.json(), json!([]));
}
