//! A1111's inpainting: what its clients get back.

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use serde_json::{Value, json};

use crate::support::Server;

const SIZE: (u32, u32) = (96, 64);

fn is_masked(x: u32, y: u32) -> bool {
    (60..76).contains(&x) && (24..40).contains(&y)
}

fn original(x: u32, y: u32) -> Rgb<u8> {
    Rgb([x as u8, y as u8, 90])
}

fn base64(image: DynamicImage) -> String {
    let mut file = std::io::Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Png).unwrap();
    STANDARD.encode(file.into_inner())
}

/// The image and `info` of the answer to a request with more fields.
async fn inpainted(server: &Server, more: Value) -> (RgbImage, Value) {
    let image = RgbImage::from_fn(SIZE.0, SIZE.1, original);
    let mask = GrayImage::from_fn(SIZE.0, SIZE.1, |x, y| Luma([if is_masked(x, y) { 255 } else { 0 }]));
    let mut body = json!({
        "prompt": "moons", "seed": 5, "steps": 3, "denoising_strength": 1, "init_images": [base64(image.into())],
        "mask": base64(mask.into()),
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = server.post("/sdapi/v1/img2img", &body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let answer = answer.json();
    let file = STANDARD.decode(answer["images"][0].as_str().unwrap()).unwrap();
    let read =
        server.post("/sdapi/v1/png-info", &json!({"image": answer["images"][0]}).to_string()).await.json();
    let info: Value = serde_json::from_str(answer["info"].as_str().unwrap()).unwrap();
    assert_eq!(read["info"], info["infotexts"][0], "the file says what the answer says");
    (image::load_from_memory(&file).unwrap().into_rgb8(), info)
}

#[tokio::test]
async fn only_masked_comes_back_in_the_whole_image() {
    let server = Server::start().await;
    let more = json!({"inpaint_full_res": true, "inpaint_full_res_padding": 8, "width": 64, "height": 64});
    let (image, info) = inpainted(&server, more).await;
    assert_eq!(image.dimensions(), SIZE);
    let text = info["infotexts"][0].as_str().unwrap();
    assert!(text.contains("Inpaint area: Only masked, Masked area padding: 8"), "{text}");
    let mut changed = 0;
    for (x, y, pixel) in image.enumerate_pixels() {
        match is_masked(x, y) {
            true => changed += u32::from(*pixel != original(x, y)),
            false => assert_eq!(*pixel, original(x, y), "{x}, {y}"),
        }
    }
    assert!(changed > 128, "{changed} of 256 pixels");
    // The model has made the part alone, at the requested size.
    let made =
        server.get(&format!("/api/v1/generations/{}", info["adire"]["generation"].as_str().unwrap())).await;
    let spec = &made.json()["spec"];
    assert_eq!(
        (&spec["width"], &spec["height"], &spec["keep_unmasked"]),
        (&json!(64), &json!(64), &json!(false))
    );
}

#[tokio::test]
async fn a_soft_edge_ends_and_a_blank_mask_changes_nothing_about_the_size() {
    let server = Server::start().await;
    let (image, info) = inpainted(&server, json!({"mask_blur": 4, "width": 96, "height": 64})).await;
    assert!(info["infotexts"][0].as_str().unwrap().contains("Mask blur: 4"), "{info}");
    for (x, y, pixel) in image.enumerate_pixels() {
        let far = !(40..96).contains(&x) || !(4..60).contains(&y);
        assert!(!far || *pixel == original(x, y), "{x}, {y}");
    }
    let black = base64(GrayImage::new(SIZE.0, SIZE.1).into());
    let (image, _) =
        inpainted(&server, json!({"inpaint_full_res": true, "mask": black, "width": 96, "height": 64})).await;
    assert_eq!(image.dimensions(), SIZE);
}

#[tokio::test]
async fn without_a_soft_edge_the_answer_is_the_stored_file() {
    let server = Server::start().await;
    let size = |more: Value| {
        let mut size = json!({"width": 96, "height": 64, "mask_blur": 0, "inpaint_full_res": false});
        size.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        size
    };
    let (plain, info) = inpainted(&server, size(json!({"inpainting_fill": 1}))).await;
    let id = info["adire"]["generation"].as_str().unwrap();
    let made = server.get(&format!("/api/v1/generations/{id}")).await.json();
    let stored = server.get(made["images"][0]["url"].as_str().unwrap()).await.body;
    assert_eq!(image::load_from_memory(&stored).unwrap().into_rgb8(), plain);
    assert_eq!(made["spec"]["keep_unmasked"], true);
    let (filled, _) = inpainted(&server, size(json!({"inpainting_fill": 0}))).await;
    assert_ne!(filled, plain, "another start");
    let late = size(json!({"inpainting_fill": 2, "denoising_strength": 0.5}));
    let (_, info) = inpainted(&server, late).await;
    assert!(info["adire"]["notes"][0].as_str().unwrap().starts_with("inpainting_fill"), "{info}");
}
