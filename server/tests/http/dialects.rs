//! What clients of other programs send that is easily misread.

use std::{sync::atomic::Ordering, time::Duration};

use adire_studio::By;
use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD};
use image::{
    DynamicImage, GrayImage, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Server};

const SIZE: (u32, u32) = (64, 64);
const SMALL: &str = r#""seed": 5, "steps": 3, "size": "64x64""#;

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

fn base64(image: impl Into<DynamicImage>) -> String {
    STANDARD.encode(png(image))
}

fn photo() -> RgbImage {
    RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| Rgb([x as u8, y as u8, 90]))
}

/// Of one colour, opaque on the left.
fn half_opaque(colour: [u8; 3]) -> RgbaImage {
    let [r, g, b] = colour;
    RgbaImage::from_fn(SIZE.0, SIZE.1, |x, _| Rgba([r, g, b, if x < SIZE.0 / 2 { 255 } else { 0 }]))
}

impl Server {
    /// Left and right of the mask of a generation: white is regenerated.
    async fn mask_of(&self, generation: &str) -> (u8, u8) {
        let record = self.get(&format!("/api/v1/generations/{generation}")).await.json();
        let hash = record["spec"]["mask"].as_str().unwrap();
        let file = self.get(&format!("/gradio_api/file={hash}/image.png")).await.body;
        let mask = image::load_from_memory(&file).unwrap().into_luma8();
        (mask.get_pixel(4, 4).0[0], mask.get_pixel(SIZE.0 - 4, 4).0[0])
    }

    /// `info` of an answer of A1111's.
    async fn a1111(&self, path: &str, body: Value) -> Value {
        let answer = self.post(&format!("/sdapi/v1/{path}"), &body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        serde_json::from_str(answer.json()["info"].as_str().unwrap()).unwrap()
    }
}

#[tokio::test]
async fn an_a1111_sampler_without_a_scheduler_has_its_automatic_one() {
    let server = Server::start().await;
    for (sampler, schedule, notes) in
        [("DPM++ 2M", "karras", 0), ("DPM++ 2M SDE", "karras", 1), ("Euler", "normal", 0)]
    {
        let info = server.a1111("txt2img", json!({"prompt": "x", "steps": 3, "sampler_name": sampler})).await;
        assert_eq!(info["extra_generation_params"]["Schedule type"], schedule, "{sampler}");
        assert_eq!(info["adire"]["notes"].as_array().unwrap().len(), notes, "{info}");
    }
}

#[tokio::test]
async fn an_a1111_mask_with_transparency_counts_by_alpha_alone() {
    let server = Server::start().await;
    for (colour, invert, expected) in
        [([0; 3], false, (255, 0)), ([255; 3], false, (255, 0)), ([0; 3], true, (0, 255))]
    {
        let body = json!({
            "prompt": "x", "steps": 3, "init_images": [base64(photo())], "mask": base64(half_opaque(colour)),
            "inpainting_mask_invert": invert,
        });
        let info = server.a1111("img2img", body).await;
        let id = info["adire"]["generation"].as_str().unwrap();
        assert_eq!(server.mask_of(id).await, expected, "{colour:?}, {invert}");
        assert!(info["adire"]["notes"][0].as_str().unwrap().contains("alpha"), "{info}");
    }
    let body = json!({"prompt": "x", "init_images": [base64(half_opaque([9; 3]))], "mask": "", "denoising_strength": 0.01});
    let info = server.a1111("img2img", body).await;
    let notes = info["adire"]["notes"].to_string();
    assert!(notes.contains("one step runs") && notes.contains("flattened onto white"), "{notes}");
}

#[tokio::test]
async fn an_image_of_too_many_pixels_is_refused_before_it_is_decoded() {
    let server = Server::start().await;
    let image = GrayImage::new(9000, 8000);
    let mut file = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::NoFilter);
    encoder.write_image(image.as_raw(), 9000, 8000, image::ExtendedColorType::L8).unwrap();
    let body = json!({"prompt": "x", "init_images": [STANDARD.encode(file)], "width": 64, "height": 64});
    let answer = server.post("/sdapi/v1/img2img", &body.to_string()).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text().contains("64 million pixels"), "{}", answer.text());
}

#[tokio::test]
async fn a_mask_uploaded_to_gradio_is_read_as_one_in_base64() {
    let server = Server::start().await;
    let image = format!("data:image/png;base64,{}", base64(photo()));
    let mask = png(half_opaque([255; 3]));
    let paths = server.multipart("/gradio_api/upload", &[("files", &mask)], &[]).await.json();
    let uploaded = json!({"path": paths[0], "meta": {"_type": "gradio.FileData"}});
    for mask in [uploaded, json!(STANDARD.encode(&mask))] {
        let join = json!({"data": [image, "stars", mask, 0.5], "fn_index": 1, "session_hash": "s"});
        let event = server.post("/gradio_api/queue/join", &join.to_string()).await.json();
        assert_eq!(server.mask_of(event["event_id"].as_str().unwrap()).await, (255, 0), "{event}");
    }
    let shown = server.get(&format!("/gradio_api/file={}", paths[0].as_str().unwrap())).await;
    assert_eq!(shown.status, StatusCode::OK);
}

#[tokio::test]
async fn openais_retired_models_send_an_address_and_base64() {
    let server = Server::start().await;
    for (more, has_url) in
        [(r#", "model": "dall-e-3""#, true), ("", true), (r#", "model": "gpt-image-1""#, false)]
    {
        let body = format!(r#"{{"prompt": "moons", {SMALL}{more}}}"#);
        let answer = server.post("/v1/images/generations", &body).await.json();
        let entry = &answer["data"][0];
        assert_eq!((entry["url"].is_string(), entry["b64_json"].is_string()), (has_url, true), "{more}");
    }
    let body = format!(r#"{{"prompt": "x", {SMALL}, "response_format": "url", "output_format": "webp"}}"#);
    let answer = server.post("/v1/images/generations", &body).await.json();
    assert_eq!(answer["output_format"], "png", "what is at the address");
}

#[tokio::test]
async fn nested_fields_come_in_openais_forms() {
    let server = Server::start().await;
    server.adapter("adire", 2).await;
    server.adapter("ink", 1).await;
    let image = png(photo());
    let edited = async |more: &[(&str, &[u8])]| {
        let always: [(&str, &[u8]); 4] =
            [("prompt", b"stars"), ("image", &image), ("steps", b"3"), ("seed", b"5")];
        let fields = [&always[..], more].concat();
        server.multipart("/v1/images/edits", &fields, &[]).await
    };
    let names = ("adapters[][name]", &b"adire@v2"[..]);
    let flat: [(&str, &[u8]); 4] = [
        names,
        ("adapters[][name]", b"ink@v1"),
        ("adapters[][strength]", b"0.5"),
        ("adapters[][strength]", b"1"),
    ];
    let json = br#"[{"name": "adire@v2", "strength": 0.5}, {"name": "ink@v1"}]"#;
    let (flat, json) = (edited(&flat).await, edited(&[("adapters", json)]).await);
    assert_eq!(
        (flat.status, json.status),
        (StatusCode::OK, StatusCode::OK),
        "{}{}",
        flat.text(),
        json.text()
    );
    let plain = edited(&[]).await.json();
    assert_eq!(flat.json()["data"], json.json()["data"]);
    assert_ne!(flat.json()["data"], plain["data"]);
    for (more, sentence) in [
        (&[("hires[scale]", &b"2"[..])][..], "hires"),
        (&[("controls[0]", b"x")], "Unknown field controls[0]"),
        (&[names, names, ("adapters[][strength]", b"1")], "same adapters[][…] fields"),
        (&[("adapters", b"adire")], "must be JSON"),
    ] {
        let answer = edited(more).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{sentence}");
        assert!(answer.text().contains(sentence), "{}", answer.text());
    }
}

#[tokio::test]
async fn like_requests_are_joined_each_by_its_own_repetition() {
    let server = Server::start().await;
    let image = async |count: &str| {
        let body = r#"{"prompt": "moons", "steps": 2}"#;
        let headers = [("x-stainless-retry-count", count)];
        let answer = server.post_as("/v1/images/generations", body, &headers).await;
        answer.json()["data"][0]["b64_json"].as_str().unwrap().to_owned()
    };
    let (one, other) = tokio::join!(image("0"), image("0"));
    assert_ne!(one, other);
    let (first, second) = tokio::join!(image("1"), image("1"));
    assert!([&first, &second].iter().all(|it| [&one, &other].contains(it)) && first != second);
}

#[tokio::test]
async fn what_failed_is_tried_again_and_what_was_cancelled_is_not() {
    let server = Server::with(Duration::from_millis(200), 32).await;
    let key = [("idempotency-key", "a")];
    for attempt in 1..=2 {
        let answer = server.post_as("/v1/images/generations", r#"{"prompt": "fail!"}"#, &key).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.header("x-should-retry"), "");
        assert!(server.steps_done.load(Ordering::Relaxed) >= attempt);
    }
    let making = server.post("/v1/images/generations", r#"{"prompt": "moons", "steps": 150}"#);
    let stopping = async {
        loop {
            let jobs = server.get("/admin/api/jobs").await.json();
            if let Some(id) = jobs["jobs"][0]["id"].as_str() {
                return server.studio.cancel(id, By::Admin).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let (answer, _) = tokio::time::timeout(PATIENCE, async { tokio::join!(making, stopping) }).await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-should-retry")),
        (500, "false"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_token_of_the_hub_counts_as_none_for_hugging_faces_client() {
    let server = Server::start().await;
    let token = format!("Bearer {}", server.token("chat", "generate", "1/day").await);
    let infer = async |path: &str, bearer: &str| {
        let body = r#"{"inputs": "moons", "prompt": "moons", "parameters": {"num_inference_steps": 2}}"#;
        server.post_as(path, body, &[("authorization", bearer)]).await.status
    };
    let path = "/hf/models/sd15";
    assert_eq!(infer(path, "Bearer hf_abc").await, StatusCode::OK);
    assert_eq!(infer(path, "Bearer abc").await, StatusCode::UNAUTHORIZED);
    assert_eq!(infer("/v1/images/generations", "Bearer hf_abc").await, StatusCode::UNAUTHORIZED);
    assert_eq!(infer(path, &token).await, StatusCode::OK);
    assert_eq!(infer(path, &token).await, StatusCode::TOO_MANY_REQUESTS, "its own token counts");
}
