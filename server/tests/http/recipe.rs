//! From an image back to its request.

use axum::{
    body::{Body, Bytes},
    http::{Request, header},
};
use serde_json::{Value, json};

use crate::support::{Answer, Server};

async fn recipe(server: &Server, png: Bytes) -> Answer {
    let request = Request::post("/api/v1/recipe").header(header::CONTENT_TYPE, "image/png");
    server.send(request.body(Body::from(png)).unwrap()).await
}

#[tokio::test]
async fn an_image_gives_its_request_back() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    let asked = json!({
        "prompt": "red moons, \"in\" indigo: on white", "negative_prompt": "blur, steps", "seed": 41, "steps": 6,
        "guidance": 6.5, "sampler": "euler_a", "rng": "cuda", "width": 64, "height": 72,
        "adapters": [{"name": "adire@v1", "strength": 0.75}],
    });
    let id = server.submit(&asked.to_string()).await;
    let url = server.finished(&id).await["images"][0]["url"].as_str().unwrap().to_owned();
    let answer = recipe(&server, server.get(&url).await.body).await.json();
    for (field, value) in asked.as_object().unwrap() {
        assert_eq!(&answer[field], value, "{field}");
    }
}

#[tokio::test]
async fn unsupported_images_are_refused() {
    let server = Server::start().await;
    let id = server.submit(r#"{"prompt": "moons"}"#).await;
    let url = server.finished(&id).await["images"][0]["url"].as_str().unwrap().to_owned();
    let png = server.get(&url).await.body;
    let half = png.slice(..40);
    for body in [Bytes::new(), Bytes::from_static(b"GIF89a"), half] {
        let problem = recipe(&server, body).await.problem();
        assert_eq!(problem["status"], 422, "{problem}");
    }
}

#[tokio::test]
async fn a_large_image_is_taken_and_a_huge_one_is_not() {
    let server = Server::start().await;
    let large = Bytes::from(vec![0; 1 << 20]);
    assert_eq!(recipe(&server, large).await.problem()["status"], 422, "read, and no PNG");
    let huge = Bytes::from(vec![0; (32 << 20) + 1]);
    assert_eq!(recipe(&server, huge).await.problem()["status"], 413);
}

/// The files of other programs, by their names.
fn foreign() -> Vec<(String, Vec<u8>)> {
    let folder = "../crates/studio/tests/infotext";
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn every_recipe_of_another_program_is_one_that_the_server_takes() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    for (name, file) in foreign() {
        let answer = recipe(&server, file.into()).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let read = answer.json();
        assert!(!read["prompt"].as_str().unwrap().contains('{'), "{name}: {read}");
        let id = server.submit(&answer.text()).await;
        let record = server.finished(&id).await;
        assert_eq!(record["state"], "done", "{name}: {record}");
        for field in ["prompt", "negative_prompt", "steps", "sampler", "guidance", "seed", "width", "height"]
        {
            let value = &read[field];
            assert!(value.is_null() || *value == record["spec"][field], "{name} {field}: {value}");
        }
    }
    let of = async |name: &str| {
        let file = foreign().into_iter().find(|(known, _)| known.starts_with(name)).unwrap().1;
        recipe(&server, file.into()).await.json()
    };
    let begun = of("20-").await;
    assert_eq!(begun["denoising_strength"], Value::Null);
    assert!(
        begun["warnings"][0].as_str().unwrap().starts_with("Denoising strength 0.55 was dropped"),
        "{begun}"
    );
    assert_eq!(of("22-").await["unknown"][0], "ENSD: 31337");
    assert_eq!(of("14-").await["adapters"][0], json!({"name": "adire", "strength": 0.5}));
    let unknown = of("16-").await;
    assert_eq!(unknown["adapters"], json!([]));
    assert!(unknown["warnings"][0].as_str().unwrap().contains("is not installed here"), "{unknown}");
}

/// A PNG with A1111's text.
fn with_text(text: &str) -> Bytes {
    let pixels = adire_studio::Pixels { width: 1, height: 1, rgb: vec![0; 3] };
    adire_studio::encode_png(&pixels, text).unwrap().into()
}

#[tokio::test]
async fn fields_that_the_server_would_refuse_are_dropped_and_reported() {
    let server = Server::start().await;
    let text = format!(
        "{}\nSteps: 4000, Sampler: Euler, CFG scale: 99, Seed: 9007199254740991, Size: 4096x500, Clip skip: 40, \
         Denoising strength: 0.5, Hires upscale: 1, Hires upscaler: Latent",
        "white stars and moons on deep blue cloth ".repeat(150)
    );
    let answer = recipe(&server, with_text(&text)).await;
    let read = answer.json();
    for field in ["steps", "guidance", "seed", "width", "height", "clip_skip", "hires"] {
        assert!(read[field].is_null(), "{field}: {read}");
    }
    let value = read["warnings"].to_string();
    for number in ["4000", "99", "9007199254740991", "4096", "500", "40"] {
        assert!(value.contains(number), "{number}: {value}");
    }
    server.submit(&answer.text()).await;
    // As stored in the file, for display.
    let request = Request::post("/api/v1/recipe?as_read=true").body(Body::from(with_text(&text))).unwrap();
    assert_eq!(server.send(request).await.json()["steps"], 4000);
}

#[tokio::test]
async fn every_kind_of_generation_survives_its_recipe() {
    let server = Server::start().await;
    server.adapter("adire", 1).await;
    server.adapter("kente", 2).await;
    let png = |shade: u8| {
        let pixels = adire_studio::Pixels { width: 64, height: 72, rgb: vec![shade; 3 * 64 * 72] };
        Body::from(adire_studio::encode_png(&pixels, "").unwrap())
    };
    let mut names = Vec::new();
    for shade in [90, 255] {
        let request = Request::post("/api/v1/uploads").body(png(shade)).unwrap();
        names.push(server.send(request).await.json()["hash"].as_str().unwrap().to_owned());
    }
    let [init, mask] = &names[..] else { panic!() };
    for asked in [
        json!({}),
        json!({"prompt": ""}),
        json!({"rng": "cuda", "clip_skip": 2, "guidance": 1.0}),
        json!({"init_image": init, "denoising_strength": 0.55}),
        json!({"init_image": init, "mask": mask, "keep_unmasked": false}),
        json!({"hires": {"scale": 1.5, "strength": 0.6, "upscaler": "image"}}),
        json!({"hires": {"width": 128, "height": 144, "steps": 3}}),
        json!({"adapters": [{"name": "adire", "strength": 0.5, "te_strength": 0.25}]}),
        json!({"prompt": "moons <lora:kente:0.5> and <lora:adire:0.2:1>"}),
        json!({"seed": 9_007_199_254_740_983_u64, "sampler": "lcm"}),
    ] {
        let mut body = json!({"prompt": "moons", "seed": 3, "steps": 6, "width": 64, "height": 72});
        body.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
        let first = server.finished(&server.submit(&body.to_string()).await).await;
        let image = &first["images"][0];
        let answer = recipe(&server, server.get(image["url"].as_str().unwrap()).await.body).await;
        let again = server.finished(&server.submit(&answer.text()).await).await;
        assert_eq!(again["images"][0]["hash"], image["hash"], "{asked}: {}", answer.text());
        assert!(answer.json().get("warnings").is_none(), "{}", answer.text());
    }
}

#[tokio::test]
async fn unknown_json_is_reported() {
    let server = Server::start().await;
    let problem = recipe(&server, with_text("{\"made_by\": \"nobody\"}")).await.problem();
    assert_eq!(problem["status"], 422);
    assert!(problem["detail"].as_str().unwrap().contains("JSON under parameters"), "{problem}");
}
