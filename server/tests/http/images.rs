//! Images over HTTP.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};

use crate::support::{Answer, Server};

async fn image(server: &Server) -> String {
    let id = server.submit(r#"{"prompt": "red moons", "seed": 1}"#).await;
    server.finished(&id).await["images"][0]["url"].as_str().unwrap().to_owned()
}

async fn get_with(server: &Server, address: &str, name: &str, value: &str) -> Answer {
    server.send(Request::get(address).header(name, value).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn an_image_may_be_kept_for_ever() {
    let server = Server::start().await;
    let url = image(&server).await;
    let answer = server.get(&url).await;
    assert_eq!(answer.header("content-type"), "image/png");
    assert_eq!(answer.header("cache-control"), "private, max-age=31536000, immutable");
    let hash = url.strip_prefix("/api/v1/images/").and_then(|file| file.strip_suffix(".png")).unwrap();
    assert_eq!(answer.header("etag"), format!("\"{hash}\""));
    assert_eq!(
        answer.header("content-disposition"),
        format!("inline; filename=\"adire-{}.png\"", &hash[..12])
    );

    let again = get_with(&server, &url, "if-none-match", answer.header("etag")).await;
    assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    let other = get_with(&server, &url, "if-none-match", "\"0\"").await;
    assert_eq!((other.status, other.body), (StatusCode::OK, answer.body));
}

#[tokio::test]
async fn an_image_is_not_compressed_again_and_carries_no_cookie() {
    let server = Server::start().await;
    let url = image(&server).await;
    let request =
        Request::get(&url).header("accept-encoding", "br, gzip").header("sec-fetch-site", "same-origin");
    let answer = server.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!((answer.header("content-encoding"), answer.header("set-cookie")), ("", ""));
}

#[tokio::test]
async fn head_tells_the_size_without_the_image() {
    let server = Server::start().await;
    let url = image(&server).await;
    let whole = server.get(&url).await;
    let head = server.send(Request::head(&url).body(Body::empty()).unwrap()).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("content-length"), whole.body.len().to_string());
    assert_eq!(head.header("etag"), whole.header("etag"));
}

#[tokio::test]
async fn it_can_be_had_as_a_download() {
    let server = Server::start().await;
    let url = image(&server).await;
    let answer = server.get(&format!("{url}?download")).await;
    assert!(answer.header("content-disposition").starts_with("attachment; filename="));
}

#[tokio::test]
async fn nothing_but_a_hash_names_an_image() {
    let server = Server::start().await;
    image(&server).await;
    let zeros = "0".repeat(64);
    for file in [
        "..%2f..%2fadire.db",
        "..%2F..%2F..%2Fetc%2Fpasswd.png",
        "%2e%2e%2fadire.db.png",
        "x.png",
        &zeros,
        &format!("{}.png", "Z".repeat(64)),
        &format!("{}.png", "A".repeat(64)),
        &format!("{zeros}.png%00"),
        &format!("{zeros}.jpg"),
        &format!("{zeros}.png"),
    ] {
        let answer = server.get(&format!("/api/v1/images/{file}")).await;
        assert_eq!(answer.problem()["status"], 404, "{file}");
    }
}

#[tokio::test]
async fn a_range_of_an_image_can_be_requested() {
    let server = Server::start().await;
    let url = image(&server).await;
    let whole = server.get(&url).await;
    let part = get_with(&server, &url, "range", "bytes=8-15").await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &whole.body[8..16]));
    assert_eq!(part.header("content-range"), format!("bytes 8-15/{}", whole.body.len()));
    assert_eq!(part.header("content-type"), "image/png");
    let size = whole.body.len();
    let end = get_with(&server, &url, "range", "bytes=-4").await;
    assert_eq!((end.status, &end.body[..]), (StatusCode::PARTIAL_CONTENT, &whole.body[size - 4..]));
    for range in ["bytes=99999999-", "bytes=0-1,4-5", "bytes=5-2", "lines=1-2"] {
        let beyond = get_with(&server, &url, "range", range).await;
        assert_eq!((beyond.status, beyond.body.len()), (StatusCode::RANGE_NOT_SATISFIABLE, 0), "{range}");
        assert_eq!(beyond.header("content-range"), format!("bytes */{size}"), "{range}");
    }
    // Of other content a part is of no use.
    for (held, status) in [(whole.header("etag"), 206), ("\"0\"", 200)] {
        let request = Request::get(&url).header("range", "bytes=8-15").header("if-range", held);
        assert_eq!(server.send(request.body(Body::empty()).unwrap()).await.status, status);
    }
    let head = server.send(Request::head(&url).body(Body::empty()).unwrap()).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("content-length"), size.to_string());
    assert_eq!(head.header("accept-ranges"), "bytes");
}

#[tokio::test]
async fn a_damaged_image_breaks_off_instead_of_arriving_whole() {
    let server = Server::start().await;
    let url = image(&server).await;
    let whole = server.get(&url).await;
    let hash = whole.header("etag").trim_matches('"');
    let file = server.folder.path().join("data/blobs").join(&hash[..2]).join(&hash[2..]);
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let mut request = Request::get(&url).header("host", "localhost").body(Body::empty()).unwrap();
    request
        .extensions_mut()
        .insert(axum::extract::ConnectInfo(std::net::SocketAddr::from(([127, 0, 0, 1], 4))));
    let answer = tower::ServiceExt::oneshot(server.router.clone(), request).await.unwrap();
    assert_eq!(answer.headers()["content-length"], whole.body.len().to_string());
    assert!(axum::body::to_bytes(answer.into_body(), usize::MAX).await.is_err());
    let part = get_with(&server, &url, "range", "bytes=0-3").await;
    assert_eq!(part.status, StatusCode::INTERNAL_SERVER_ERROR);
    let detail = part.problem()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("server log"), "{detail}");
}

#[tokio::test]
async fn answers_about_prompts_and_images_stay_with_the_browser() {
    let server = Server::start().await;
    let id = server.submit(r#"{"prompt": "red moons", "seed": 1}"#).await;
    let record = server.finished(&id).await;
    let generation = server.get(&format!("/api/v1/generations/{id}")).await;
    assert_eq!(generation.header("cache-control"), "no-store");
    let image = server.get(record["images"][0]["url"].as_str().unwrap()).await;
    assert!(image.header("cache-control").starts_with("private"));
    for path in ["/api/v1/queue", "/api/v1/adapters", "/favicon.svg", "/"] {
        let answer = server.get(path).await;
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{path}");
        assert!(!answer.header("cache-control").contains("public"), "{path}");
    }
}
