//! Images that clients bring along, and requests that begin with them.

use std::io::Cursor;

use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode, header},
};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use serde_json::{Value, json};

use crate::support::{Answer, Server};

const GENERATIONS: &str = "/api/v1/generations";

async fn upload(server: &Server, media_type: &str, body: impl Into<Body>) -> Answer {
    let mut request = Request::post("/api/v1/uploads");
    if !media_type.is_empty() {
        request = request.header(header::CONTENT_TYPE, media_type);
    }
    server.send(request.body(body.into()).unwrap()).await
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Every pixel its own colour.
fn image(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7) as u8, (y * 5) as u8, 90]))
}

async fn kept(server: &Server, image: RgbImage) -> String {
    let answer = upload(server, "image/png", encoded(image, ImageFormat::Png)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer.json()["hash"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_same_pixels_have_one_name_whatever_the_file() {
    let server = Server::start().await;
    let image = image(40, 24);
    let png = upload(&server, "image/png", encoded(image.clone(), ImageFormat::Png)).await;
    assert_eq!(png.status, StatusCode::CREATED);
    let named = png.json();
    assert_eq!((&named["width"], &named["height"]), (&json!(40), &json!(24)));
    let webp = upload(&server, "image/webp", encoded(image.clone(), ImageFormat::WebP)).await;
    assert_eq!(webp.json(), named);
    // What the header says does not count, what the file is does.
    let unnamed = upload(&server, "", encoded(image.clone(), ImageFormat::Png)).await;
    assert_eq!(unnamed.json(), named);
    let jpeg = upload(&server, "image/jpeg", encoded(image, ImageFormat::Jpeg)).await;
    assert_eq!(jpeg.status, StatusCode::CREATED);
    assert_eq!((&jpeg.json()["width"], &jpeg.json()["height"]), (&json!(40), &json!(24)));

    let clear = RgbaImage::from_pixel(8, 8, Rgba([10, 20, 30, 0]));
    let clear = upload(&server, "image/png", encoded(clear, ImageFormat::Png)).await.json();
    assert_eq!(clear["hash"], *kept(&server, RgbImage::from_pixel(8, 8, Rgb([255; 3]))).await);
}

/// A JPEG whose EXIF data says that it lies on its side.
#[tokio::test]
async fn an_image_is_rotated_by_its_exif_orientation() {
    let server = Server::start().await;
    let jpeg = encoded(image(40, 24), ImageFormat::Jpeg);
    // APP1 with a big-endian TIFF of one entry: orientation (0x0112), a short, 6: turn clockwise.
    let tiff = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let length = u16::try_from(2 + 6 + tiff.len()).unwrap().to_be_bytes();
    let turned = [&jpeg[..2], b"\xff\xe1", &length, b"Exif\0\0", tiff, &jpeg[2..]].concat();
    let answer = upload(&server, "image/jpeg", turned).await.json();
    assert_eq!((&answer["width"], &answer["height"]), (&json!(24), &json!(40)), "{answer}");
}

#[tokio::test]
async fn files_that_are_not_images_are_refused() {
    let server = Server::start().await;
    let png = encoded(image(64, 64), ImageFormat::Png);
    // A header that promises 30,000 × 30,000 pixels, with the checksum that it needs.
    let bomb = {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 30_000, 30_000);
        encoder.set_color(png::ColorType::Rgb);
        drop(encoder.write_header().unwrap());
        bytes
    };
    let gif = b"GIF89a\x01\0\x01\0\0\0\0;".to_vec();
    for (name, body) in
        [("nothing", Vec::new()), ("a GIF", gif), ("a half", png[..png.len() / 2].to_vec()), ("a bomb", bomb)]
    {
        let problem = upload(&server, "image/png", body).await.problem();
        assert_eq!(problem["status"], 422, "{name}: {problem}");
    }
    let zeros = Bytes::from(vec![0; 1 << 20]);
    assert_eq!(upload(&server, "image/png", zeros).await.problem()["status"], 422);
    let large = Bytes::from(vec![0; (20 << 20) + 1]);
    assert_eq!(upload(&server, "image/png", large).await.problem()["status"], 413);
    assert_eq!(upload(&server, "text/html", "<p>").await.problem()["status"], 415);
}

#[tokio::test]
async fn a_request_begins_with_an_image_and_takes_its_size() {
    let server = Server::start().await;
    let init = kept(&server, image(100, 70)).await;
    let mask = kept(&server, RgbImage::from_pixel(3, 3, Rgb([255; 3]))).await;
    let draw = async |rest: Value| {
        let mut body = json!({"prompt": "moons", "seed": 1, "steps": 10});
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let id = server.submit(&body.to_string()).await;
        let record = server.finished(&id).await;
        assert_eq!(record["state"], "done", "{record}");
        record
    };
    let plain = draw(json!({"width": 104, "height": 72})).await;
    let begun = draw(json!({"init_image": init})).await;
    assert_eq!((&begun["spec"]["width"], &begun["spec"]["height"]), (&json!(104), &json!(72)));
    assert_eq!(begun["spec"]["denoising_strength"], json!(0.75));
    assert_ne!(begun["images"][0]["hash"], plain["images"][0]["hash"]);
    let infotext = begun["images"][0]["infotext"].as_str().unwrap();
    assert!(infotext.contains("Denoising strength: 0.75,"), "{infotext}");
    let wide = draw(json!({"init_image": init, "width": 200})).await;
    assert_eq!(wide["spec"]["height"], json!(144));
    // A mask of another size is taken as it is; an image made here can be begun with by its own name.
    let masked = draw(json!({"init_image": init, "mask": mask, "denoising_strength": 0.5})).await;
    assert_eq!(masked["spec"]["keep_unmasked"], json!(true));
    let made = begun["images"][0]["hash"].as_str().unwrap();
    let again = draw(json!({"init_image": made, "denoising_strength": 0.5})).await;
    assert_eq!(again["images"][0]["recipe"]["spec"]["init_image"], json!(made));

    // The file gives the whole request back.
    let file = server.get(masked["images"][0]["url"].as_str().unwrap()).await.body;
    let request = Request::post("/api/v1/recipe").header(header::CONTENT_TYPE, "image/png");
    let read = server.send(request.body(Body::from(file)).unwrap()).await.json();
    assert_eq!((&read["init_image"], &read["mask"]), (&json!(init), &json!(mask)));
    assert_eq!((&read["denoising_strength"], &read["keep_unmasked"]), (&json!(0.5), &json!(true)));
}

#[tokio::test]
async fn a_second_pass_counts_its_steps_and_gives_a_larger_image() {
    let server = Server::start().await;
    let hires = json!({"scale": 1.5, "steps": 3, "strength": 0.6, "upscaler": "image"});
    let body = json!({"prompt": "moons", "steps": 4, "width": 64, "height": 96, "hires": hires});
    let id = server.submit(&body.to_string()).await;
    let events = server.get(&format!("{GENERATIONS}/{id}/events")).await.events();
    let progress: Vec<_> = events.iter().filter(|event| event.name == "progress").collect();
    assert!(progress.iter().all(|event| event.data["steps"] == 7), "{progress:?}");
    let record = server.finished(&id).await;
    let png = server.get(record["images"][0]["url"].as_str().unwrap()).await.body;
    let made = image::load_from_memory(&png).unwrap();
    assert_eq!((made.width(), made.height()), (96, 144));
    let infotext = record["images"][0]["infotext"].as_str().unwrap();
    let expected = "Hires upscale: 1.5, Hires steps: 3, Hires upscaler: Lanczos,";
    assert!(infotext.contains(expected) && infotext.contains("Denoising strength: 0.6,"), "{infotext}");
}

#[tokio::test]
async fn each_bad_beginning_is_named() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    let init = kept(&server, image(64, 64)).await;
    let adapter = server.get("/api/v1/adapters").await.json()[0]["hash"].as_str().unwrap().to_owned();
    let unknown = "0".repeat(64);
    for (rest, fields) in [
        (json!({"init_image": unknown}), vec!["init_image"]),
        (json!({"init_image": adapter}), vec!["init_image"]),
        (json!({"init_image": "../../etc/passwd"}), vec!["init_image"]),
        (json!({"init_image": init, "mask": unknown}), vec!["mask"]),
        (json!({"init_image": init, "denoising_strength": 2}), vec!["denoising_strength"]),
        (json!({"init_image": init, "denoising_strength": 0.01}), vec!["denoising_strength"]),
        (json!({"mask": init}), vec!["mask"]),
        (json!({"denoising_strength": 0.5}), vec!["denoising_strength"]),
        (json!({"init_image": init, "hires": {}}), vec!["hires"]),
        (json!({"hires": {"scale": 1e300}}), vec!["hires.scale"]),
        (json!({"hires": {"strength": 2}}), vec!["hires.denoising_strength"]),
        (json!({"hires": {"upscaler": "magic"}}), vec!["hires.upscaler"]),
        (json!({"hires": {"width": 128}}), vec!["hires"]),
    ] {
        let mut body = json!({"prompt": "moons", "steps": 20});
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let problem = server.post(GENERATIONS, &body.to_string()).await.problem();
        assert_eq!(problem["status"], 422, "{problem}");
        let named: Vec<_> =
            problem["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
        assert_eq!(named, fields, "{problem}");
    }
    assert_eq!(server.get("/api/v1/queue").await.json()["ahead"], 0, "nothing of it was queued");
}

#[tokio::test]
async fn an_upload_can_be_looked_at() {
    let server = Server::start().await;
    let hash = kept(&server, image(40, 24)).await;
    let shown = server.get(&format!("/api/v1/images/{hash}.png")).await;
    assert_eq!((shown.status, shown.header("content-type")), (StatusCode::OK, "image/png"));
    assert_eq!(image::load_from_memory(&shown.body).unwrap().into_rgb8(), image(40, 24));
}

#[tokio::test]
async fn partly_decoded_images_are_reported() {
    let server = Server::start().await;
    let half = RgbaImage::from_fn(16, 16, |x, _| Rgba([255, 255, 255, if x < 8 { 255 } else { 0 }]));
    let png = encoded(half, ImageFormat::Png);
    let answer = upload(&server, "image/png", png.clone()).await.json();
    assert!(answer["warnings"][0].as_str().unwrap().contains("50% of the image is transparent"), "{answer}");
    // As a mask the same file means something else.
    let request = Request::post("/api/v1/uploads?role=mask").body(Body::from(png)).unwrap();
    let mask = server.send(request).await.json();
    assert!(mask["warnings"][0].as_str().unwrap().contains("opaque areas are regenerated"), "{mask}");
    assert_ne!(mask["hash"], answer["hash"]);
    let request = Request::post("/api/v1/uploads?role=frame").body(Body::empty()).unwrap();
    assert_eq!(server.send(request).await.status, StatusCode::BAD_REQUEST);
    let jpeg = encoded(image(200, 200), ImageFormat::Jpeg);
    let problem = upload(&server, "image/jpeg", jpeg[..jpeg.len() / 2].to_vec()).await.problem();
    assert!(problem["detail"].as_str().unwrap().contains("incomplete"), "{problem}");
    let problem = upload(&server, "image/heic", "x").await.problem();
    assert_eq!(problem["status"], 415);
}

/// A PNG of a few kilobytes with that many pixels of one bit.
fn one_bit(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&vec![0x55; width.div_ceil(8) as usize * height as usize]).unwrap();
    writer.finish().unwrap();
    bytes
}

#[tokio::test]
async fn pixels_are_counted_and_what_is_taken_can_be_used() {
    let server = Server::start().await;
    let bomb = one_bit(16_384, 16_384);
    assert!(bomb.len() < 200 << 10, "{}", bomb.len());
    let problem = upload(&server, "image/png", bomb).await.problem();
    assert_eq!(problem["status"], 422);
    assert!(problem["detail"].as_str().unwrap().contains("64 million pixels"), "{problem}");
    // The largest that is taken is one to begin with.
    let taken = upload(&server, "image/png", one_bit(8000, 2000)).await;
    assert_eq!(taken.status, StatusCode::CREATED, "{}", taken.text());
    let body =
        json!({"prompt": "moons", "steps": 4, "init_image": taken.json()["hash"], "width": 64, "height": 64});
    let record = server.finished(&server.submit(&body.to_string()).await).await;
    assert_eq!(record["state"], "done", "{record}");
}
