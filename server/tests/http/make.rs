//! The studio's form without a script: fields and files in one multipart body.

use std::io::Cursor;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use image::{ImageFormat, Rgb, RgbImage};

use crate::support::{Answer, Server};

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(width, height, Rgb([9, 90, 200])).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Posts fields, and files under their field's name, as browsers do.
async fn post(server: &Server, fields: &[(&str, &str)], files: &[(&str, &[u8])]) -> Answer {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(
            format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
        );
    }
    for (name, bytes) in files {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a.png\"\r\nContent-Type: \
             image/png\r\n\r\n"
        );
        body.extend([head.as_bytes(), bytes, b"\r\n"].concat());
    }
    body.extend(b"--edge--\r\n");
    let request =
        Request::post("/generate").header(header::CONTENT_TYPE, "multipart/form-data; boundary=edge");
    server.send(request.body(Body::from(body)).unwrap()).await
}

/// Where the answer leads to.
fn goal(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    answer.header("location").to_owned()
}

async fn spec(server: &Server, goal: &str) -> serde_json::Value {
    let id = goal.strip_prefix("/?generation=").unwrap_or_else(|| panic!("{goal}"));
    let record = server.finished(id).await;
    assert_eq!(record["state"], "done", "{record}");
    record["spec"].clone()
}

#[tokio::test]
async fn a_form_makes_an_image_and_leads_to_it() {
    let server = Server::start().await;
    server.adapter("adire", 2).await;
    let fields = [
        ("prompt", "moons"),
        ("steps", "4"),
        ("size", "64x96"),
        ("adapters[0][name]", "adire@v2"),
        ("adapters[0][strength]", "0.5"),
        ("hires", "latent"),
        ("hires_scale", "1.5"),
        ("nonsense", "x"),
    ];
    // A file field that was left alone comes as an empty file.
    let spec = spec(&server, &goal(&post(&server, &fields, &[("init_image_file", b"")]).await)).await;
    assert_eq!((&spec["width"], &spec["height"]), (&64.into(), &96.into()));
    assert_eq!(
        (&spec["adapters"][0]["name"], &spec["adapters"][0]["strength"]),
        (&"adire@v2".into(), &0.5.into())
    );
    assert_eq!(spec["hires"]["width"], 96);
    assert!(spec["init_image"].is_null());
}

#[tokio::test]
async fn an_image_and_a_mask_come_with_the_form() {
    let server = Server::start().await;
    let fields = [("prompt", "moons"), ("steps", "4"), ("denoising_strength", "0.5")];
    let files = [("init_image_file", &*png(64, 64)), ("mask_file", &*png(8, 8))];
    let made = spec(&server, &goal(&post(&server, &fields, &files).await)).await;
    assert_eq!((&made["denoising_strength"], &made["keep_unmasked"]), (&0.5.into(), &true.into()));
    let (image, mask) = (made["init_image"].as_str().unwrap(), made["mask"].as_str().unwrap());
    assert_ne!(image, mask);
    let shown = server.get(&format!("/api/v1/images/{image}.png")).await;
    assert_eq!((shown.status, shown.header("content-type")), (StatusCode::OK, "image/png"));

    // The next form names this one's upload.
    let named = [("prompt", "stars"), ("steps", "4"), ("init_image", image)];
    assert_eq!(spec(&server, &goal(&post(&server, &named, &[]).await)).await["init_image"], image);
}

#[tokio::test]
async fn what_is_wrong_leads_back_to_the_form_which_says_so() {
    let server = Server::start().await;
    let back = async |fields: &[(&str, &str)], files: &[(&str, &[u8])]| {
        let goal = goal(&post(&server, fields, files).await);
        let page = server
            .send(Request::get(&goal).header(header::ACCEPT, "text/html").body(Body::empty()).unwrap())
            .await;
        assert_eq!(page.status, StatusCode::OK);
        (goal, page.text())
    };
    let (goal, page) = back(&[("prompt", "kept words"), ("seed", "seven")], &[]).await;
    assert!(goal.starts_with("/?post_error=form&prompt=kept%20words"), "{goal}");
    assert!(page.contains("got “seven”"));
    let (_, page) = back(&[("prompt", "moons")], &[("init_image_file", b"not an image")]).await;
    assert!(page.contains("Unsupported file. Use PNG, JPEG or WebP"));
    let (_, page) = back(&[("prompt", "moons")], &[("mask_file", &vec![0; (20 << 20) + 1])]).await;
    assert!(page.contains("The file is larger than 20 MiB"));
    let nowhere = "0".repeat(64);
    let (_, page) = back(&[("prompt", "moons"), ("init_image", &nowhere)], &[]).await;
    assert!(page.contains("was deleted from this server"));
    let both = [("prompt", "moons"), ("hires", "latent")];
    let (_, page) = back(&both, &[("init_image_file", &png(64, 64))]).await;
    assert!(page.contains("hires cannot be combined with init_image"));
    // Only words that the page knows are shown: an address cannot inject messages.
    let page = server.get("/?post_error=evil-init-image&message=evil").await.text();
    assert!(!page.contains("field-problem"));
}

#[tokio::test]
async fn anything_but_a_form_is_refused() {
    let server = Server::start().await;
    let shared = format!("/p/{}", "0".repeat(64));
    for address in ["/generate", "/make", "/history", "/history/zip", &shared, "/try/adire", "/vote/token"] {
        assert_eq!(server.post(address, "{}").await.problem()["status"], 415);
    }
    let cut = Request::post("/generate").header(header::CONTENT_TYPE, "multipart/form-data; boundary=edge");
    let cut =
        cut.body(Body::from("--edge\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nmoo")).unwrap();
    assert_eq!(server.send(cut).await.problem()["status"], 400);
    let other = Request::post("/generate")
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=edge")
        .header("sec-fetch-site", "cross-site");
    assert_eq!(server.send(other.body(Body::from("--edge--\r\n")).unwrap()).await.problem()["status"], 403);
    let huge = [("init_image_file", &*vec![0; 20 << 20]), ("mask_file", &*vec![0; 21 << 20])];
    assert_eq!(goal(&post(&server, &[], &huge).await), "/?post_error=large-init-image");
}

#[tokio::test]
async fn what_the_page_asks_itself_is_answered() {
    let server = Server::start().await;
    server.adapter("adire", 2).await;
    let form = "prompt=red%20moons&steps=4&adapters%5B0%5D%5Bname%5D=&adapters%5B1%5D%5Bname%5D=adire%40v2&\
                adapters%5B1%5D%5Bstrength%5D=0.5&hires=image&hires_scale=1.5";
    let ask = async |body: &str| {
        let request = Request::post("/api/fn/generate")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "*/*");
        server.send(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    let made = ask(form).await.json();
    assert_eq!(
        (&made["spec"]["prompt"], &made["spec"]["hires"]["upscaler"]),
        (&"red moons".into(), &"image".into())
    );
    assert_eq!(made["spec"]["adapters"][0]["name"], "adire@v2");
    let refused = ask("prompt=&steps=0&width=7").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let fields: Vec<_> =
        refused.json()["fields"].as_array().unwrap().iter().map(|f| f["field"].clone()).collect();
    assert_eq!(fields, ["steps", "width"]);
    let empty = ask("prompt=&steps=2").await.json();
    assert_eq!(empty["spec"]["prompt"], "");
    server.finished(empty["id"].as_str().unwrap()).await;
    let id = made["id"].as_str().unwrap();
    server.finished(id).await;
    assert_eq!(server.get(&format!("/api/fn/studio?generation={id}")).await.json()["named"]["state"], "done");
    assert_eq!(server.get("/api/fn/queue").await.json()["ahead"], 0);
    assert_eq!(server.get("/api/fn/history?before=5").await.json(), serde_json::json!([[], false]));
}

/// Whatever bytes come as a form: an answer that says so, and never a fault of the server.
#[tokio::test]
async fn broken_forms_are_refused() {
    let server = Server::start().await;
    let image = png(8, 8);
    let part = |name: &str, more: &str, value: &[u8]| {
        let head = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n");
        [head.as_bytes(), value, b"\r\n"].concat()
    };
    let whole = [
        part("prompt", "", b"moons"),
        part("steps", "", b"1"),
        part("init_image_file", "; filename=\"a.png\"\r\nContent-Type: image/png", &image),
        b"--edge--\r\n".to_vec(),
    ]
    .concat();
    let mut corpus: Vec<(String, Vec<u8>)> = [
        ("edge", &b""[..]),
        ("edge", b"--edge--"),
        ("edge", b"--edge\r\n\r\n\r\n--edge--\r\n"),
        ("edge", b"--edge\r\nContent-Disposition: form-data\r\n\r\nx\r\n--edge--\r\n"),
        ("edge", b"--edge\r\nContent-Disposition: form-data; name=\"\xff\xfe\"\r\n\r\nx\r\n--edge--\r\n"),
        ("edge", b"--edge\r\nContent-Disposition: form-data; name=\"prompt\r\n\r\nx\r\n--edge--\r\n"),
        ("edge", b"--edge\r\nContent-Disposition: form-data; name=prompt; filename*=utf-8''%00\r\n\r\nx\r\n--edge--"),
        ("", b"--\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nx\r\n----\r\n"),
        ("\"", b"--edge--"),
        ("edge; boundary=other", b"--other--"),
    ]
    .map(|(boundary, body)| (boundary.to_owned(), body.to_vec()))
    .to_vec();
    // A header without end, and very many fields.
    corpus.push(("edge".to_owned(), [b"--edge\r\nX: ".as_slice(), &[b'a'; 100_000]].concat()));
    let many: Vec<u8> = (0..2000).flat_map(|it| part(&format!("f{it}"), "", b"x")).collect();
    corpus.push(("edge".to_owned(), [many.as_slice(), b"--edge--\r\n"].concat()));
    // A good form, cut off and with bytes exchanged.
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |most: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % most as u64) as usize
    };
    for length in (0..whole.len()).step_by(7) {
        corpus.push(("edge".to_owned(), whole[..length].to_vec()));
    }
    for _ in 0..150 {
        let mut body = whole.clone();
        for _ in 0..=below(6) {
            let at = below(body.len());
            body[at] = below(256) as u8;
        }
        corpus.push(("edge".to_owned(), body));
    }
    for (boundary, body) in corpus {
        let kind = format!("multipart/form-data; boundary={boundary}");
        let request = Request::post("/generate").header(header::CONTENT_TYPE, kind);
        let answer = server.send(request.body(Body::from(body.clone())).unwrap()).await;
        let status = answer.status.as_u16();
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        assert!(
            [303, 400, 413, 415, 422, 429].contains(&status),
            "{boundary:?} {shown:?}: {status} {}",
            answer.text()
        );
    }
    // The server keeps working.
    assert_eq!(server.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_form_brings_one_image_and_one_mask() {
    let server = Server::start().await;
    let image = png(64, 64);
    let files: Vec<(&str, &[u8])> = vec![("init_image_file", &image), ("init_image_file", &image)];
    let answer = post(&server, &[("prompt", "moons")], &files).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text());
    assert!(answer.problem()["detail"].as_str().unwrap().contains("one init image and one mask"));
}

#[tokio::test]
async fn warnings_about_an_image_are_on_the_page_that_follows() {
    let server = Server::start().await;
    let mut bytes = Cursor::new(Vec::new());
    let half = image::RgbaImage::from_pixel(64, 64, image::Rgba([9, 90, 200, 100]));
    half.write_to(&mut bytes, ImageFormat::Png).unwrap();
    let answer =
        post(&server, &[("prompt", "moons"), ("steps", "2")], &[("init_image_file", &bytes.into_inner())])
            .await;
    let address = goal(&answer);
    let mut cookies = answer.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap());
    let cookie = cookies.find(|cookie| cookie.starts_with("adire_flash=")).unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let page = |cookie: &str| {
        let request =
            Request::get(&address).header(header::ACCEPT, "text/html").header(header::COOKIE, cookie);
        server.send(request.body(Body::empty()).unwrap())
    };
    let shown = page(&cookie).await;
    assert!(shown.text().contains("flattened onto white"), "{cookie}: {}", shown.text());
    let cleared = shown.headers.get_all("set-cookie").iter().any(|cookie| {
        let cookie = cookie.to_str().unwrap();
        cookie.starts_with("adire_flash=;") && cookie.contains("Max-Age=0")
    });
    assert!(cleared);
    assert!(!page("a=b").await.text().contains("flattened onto white"));
}
