//! Limits, deletion and what the admin decides, over HTTP.

use std::{net::SocketAddr, time::Duration};

use adire_studio::Caps;
use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
};
use serde_json::json;

use crate::support::{Answer, Server};

/// So long that nothing ends while a test looks at it, so short that a cancelled one soon does.
const STEP: Duration = Duration::from_millis(200);
const LONG: &str = r#"{"prompt": "moons", "steps": 150}"#;

/// Sends as the machine at `address`, with what a browser there keeps as its cookie.
async fn from(
    server: &Server,
    address: [u8; 4],
    cookie: &str,
    method: &str,
    path: &str,
    body: &str,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header(header::COOKIE, cookie);
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let mut request = request.body(Body::from(body.to_owned())).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 40_000))));
    server.send(request).await
}

/// A new browser's cookie.
async fn browser(server: &Server) -> String {
    let request = Request::get("/").header(header::ACCEPT, "text/html").body(Body::empty()).unwrap();
    let answer = server.send(request).await;
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

const HOME: [u8; 4] = [192, 0, 2, 1];
const AWAY: [u8; 4] = [198, 51, 100, 7];

#[tokio::test]
async fn forty_cookies_of_one_address_leave_room_for_another() {
    let server = Server::with(STEP, 32).await;
    let mut taken = 0;
    for _ in 0..40 {
        let cookie = browser(&server).await;
        let answer = from(&server, AWAY, &cookie, "POST", "/api/v1/generations", LONG).await;
        match answer.status {
            StatusCode::ACCEPTED => taken += 1,
            StatusCode::TOO_MANY_REQUESTS => {
                let problem = answer.problem();
                assert!(problem["detail"].as_str().unwrap().contains("Your network"), "{problem}");
                assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    // One of them may have begun meanwhile.
    assert!((16..=17).contains(&taken), "{taken}");
    // Made-up cookies and none at all are the network's, too.
    let forged = format!("adire_visitor={}", "0b9f1a52-7d0e-4b0a-9d2c-1f2e3d4c5b6a");
    for cookie in [forged.as_str(), ""] {
        let answer = from(&server, AWAY, cookie, "POST", "/api/v1/generations", LONG).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.text());
    }
    let honest = browser(&server).await;
    let answer = from(&server, HOME, &honest, "POST", "/api/v1/generations", LONG).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());

    // The admin sees who it is and ends it.
    let queue = server.get("/admin/api/queue").await.json();
    assert_eq!(
        queue.as_array().unwrap().iter().filter(|entry| entry["network"] == "198.51.100.7").count(),
        taken
    );
    let page = server.get("/admin/queue").await.text();
    assert!(page.contains("198.51.100.7") && page.contains(&format!("Cancel {taken} generations")), "{page}");
    let answer = server.post("/admin/api/queue/cancel", r#"{"network": "198.51.100.7"}"#).await;
    assert_eq!(answer.json()["cancelled"], taken);
    assert_eq!(server.post("/admin/api/queue/cancel", "{}").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let rest = server.get("/admin/api/queue").await.json();
    let theirs = |entry: &&serde_json::Value| entry["network"] == "192.0.2.1";
    assert_eq!(rest.as_array().unwrap().iter().filter(theirs).count(), 1, "{rest}");
}

#[tokio::test]
async fn a_request_beyond_the_budget_says_what_would_fit() {
    let server = Server::start().await;
    let body = json!({"prompt": "x", "steps": 150, "count": 8, "width": 1024, "height": 1024,
        "hires": {"width": 2048, "height": 2048, "steps": 150, "strength": 1}});
    let answer = server.post("/api/v1/generations", &body.to_string()).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let problem = answer.problem();
    assert_eq!(problem["errors"][0]["field"], "count");
    assert!(problem["detail"].as_str().unwrap().contains("the limit is 120"), "{problem}");
}

#[tokio::test]
async fn others_cannot_cancel_or_delete_what_they_have_a_link_to() {
    let server = Server::with(STEP, 32).await;
    let (mine, theirs) = (browser(&server).await, browser(&server).await);
    let asked = from(&server, HOME, &mine, "POST", "/api/v1/generations", LONG).await.json();
    let address = format!("/api/v1/generations/{}", asked["id"].as_str().unwrap());
    assert_eq!(
        from(&server, AWAY, &theirs, "GET", &address, "").await.status,
        StatusCode::OK,
        "reading is by link"
    );
    for path in [address.clone(), format!("{address}/images"), format!("{address}/images/0")] {
        for cookie in [theirs.as_str(), ""] {
            let answer = from(&server, AWAY, cookie, "DELETE", &path, "").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
            assert!(answer.problem()["detail"].as_str().unwrap().contains("another visitor"));
        }
    }
    let unfinished = from(&server, HOME, &mine, "DELETE", &format!("{address}/images/0"), "").await;
    assert_eq!(unfinished.status, StatusCode::CONFLICT);
    assert_eq!(from(&server, HOME, &mine, "DELETE", &address, "").await.status, StatusCode::OK);
    let gone = from(&server, HOME, &mine, "DELETE", &format!("{address}/images"), "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(from(&server, HOME, &mine, "GET", &address, "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_image_is_deleted_by_the_api_by_a_plain_form_and_with_everything() {
    let server = Server::start().await;
    let cookie = browser(&server).await;
    let body = r#"{"prompt": "moons", "count": 3, "seed": 1}"#;
    let asked = from(&server, HOME, &cookie, "POST", "/api/v1/generations", body).await.json();
    let id = asked["id"].as_str().unwrap().to_owned();
    let record = server.finished(&id).await;
    let url = |index: usize| record["images"][index]["url"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/generations/{id}/images/0");
    assert_eq!(from(&server, HOME, &cookie, "DELETE", &path, "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(from(&server, HOME, &cookie, "DELETE", &path, "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get(&url(0)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get(&url(1)).await.status, StatusCode::OK);

    let form = |path: &str, body: String| {
        Request::post(path)
            .header(header::ACCEPT, "text/html")
            .header(header::COOKIE, &cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .unwrap()
    };
    let answer = server.send(form("/api/fn/delete", format!("generation={id}&index=1"))).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/"));
    assert_eq!(server.get(&url(1)).await.status, StatusCode::NOT_FOUND);
    let answer = server.send(form("/api/fn/delete_all", String::new())).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(server.get(&url(2)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get(&format!("/api/v1/generations/{id}")).await.status, StatusCode::NOT_FOUND);
    let all = from(&server, HOME, &cookie, "DELETE", "/api/v1/history", "").await;
    assert_eq!(all.json()["generations"], 0);
}

#[tokio::test]
async fn the_admin_deletes_images_and_hides_versions_by_pages_and_api() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    let cookie = browser(&server).await;
    let asked =
        from(&server, HOME, &cookie, "POST", "/api/v1/generations", r#"{"prompt": "a secret garden"}"#).await;
    let record = server.finished(asked.json()["id"].as_str().unwrap()).await;
    let page = server.get("/admin/images").await.text();
    assert!(page.contains("a secret garden") && page.contains("Delete image"), "{page}");
    let hash = record["images"][0]["hash"].as_str().unwrap();
    let form = |path: &str, body: String| {
        Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .unwrap()
    };
    let answer = server.send(form("/admin/images", format!("action=delete-image&hash={hash}"))).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/admin/images?done=1"));
    let again = server.send(form("/admin/images", format!("action=delete-image&hash={hash}"))).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert!(server.get("/admin/images").await.text().contains("No images yet."));

    let versions = || async { server.get("/api/v1/adapters").await.json().as_array().unwrap().len() };
    assert_eq!(versions().await, 1);
    let answer = server.send(form("/admin/versions", "version=adire%40v1&action=hide".to_owned())).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    assert_eq!(versions().await, 0);
    for path in ["/api/v1/adapters/adire@v1", "/api/v1/adapters/adire@v1/file", "/adapters/adire@v1"] {
        assert_eq!(server.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(server.get("/admin/versions").await.text().contains("Hidden"));
    let patch = |body: &str| {
        Request::patch("/admin/api/adapters/adire@v1")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap()
    };
    let shown = server.send(patch(r#"{"hidden": false, "downloads": false}"#)).await.json();
    assert_eq!((&shown["hidden"], &shown["downloads"]), (&json!(false), &json!(false)));
    assert_eq!(server.get("/api/v1/adapters/adire@v1").await.status, StatusCode::OK);
    assert_eq!(server.get("/api/v1/adapters/adire@v1/file").await.status, StatusCode::FORBIDDEN);
    assert!(!server.get("/adapters/adire@v1").await.text().contains("Download"));
    let delete = Request::delete("/admin/api/adapters/adire@v1").body(Body::empty()).unwrap();
    assert!(server.send(delete).await.json()["deleted_at"].is_i64());
    assert_eq!(versions().await, 0);
}

#[tokio::test]
async fn a_nearly_full_disk_is_507_and_quotas_are_429() {
    let full = Caps { disk_reserve: u64::MAX, ..Caps::default() };
    let server = Server::with_caps(full).await;
    let answer = server.post("/api/v1/generations", r#"{"prompt": "moons"}"#).await;
    assert_eq!(answer.status, StatusCode::INSUFFICIENT_STORAGE);
    assert!(answer.problem()["detail"].as_str().unwrap().contains("nearly full"));
    let upload = Request::post("/api/v1/uploads").body(Body::from("no image")).unwrap();
    assert_eq!(server.send(upload).await.status, StatusCode::INSUFFICIENT_STORAGE);

    let server = Server::with_caps(Caps { uploads: 0, ..Caps::default() }).await;
    let upload = Request::post("/api/v1/uploads").body(Body::from("no image")).unwrap();
    let answer = server.send(upload).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.header("retry-after"), "3600");
}
