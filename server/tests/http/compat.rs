//! The APIs of other programs, request by request. `cargo xtask test dialects` runs their real clients.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::support::{Answer, PATIENCE, Server};

const SEED: &str = r#""prompt": "moons", "seed": 5, "steps": 3"#;

fn png(base64: &Value) -> Vec<u8> {
    let bytes = STANDARD.decode(base64.as_str().unwrap()).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
    bytes
}

impl Server {
    async fn agent(&self, method: &str, path: &str, json: &Value, agent: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header(header::USER_AGENT, agent);
        let body = if json.is_null() { Body::empty() } else { json.to_string().into() };
        self.send(request.header(header::CONTENT_TYPE, "application/json").body(body).unwrap()).await
    }

    /// Sends a form with texts and files.
    pub(crate) async fn multipart(
        &self,
        path: &str,
        fields: &[(&str, &[u8])],
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut body = Vec::new();
        for (name, value) in fields {
            let file = if value.starts_with(b"\x89PNG") { "; filename=\"a.png\"" } else { "" };
            let head = format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(value);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--x--\r\n");
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "multipart/form-data; boundary=x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Ends a Gradio session's stream and returns its messages.
    async fn messages(&self, session: &str) -> Vec<Value> {
        let answer = self.get(&format!("/gradio_api/queue/data?session_hash={session}")).await;
        let text = answer.text();
        let blocks = text.split_terminator("\n\n");
        blocks.map(|block| serde_json::from_str(block.strip_prefix("data: ").unwrap()).unwrap()).collect()
    }
}

#[tokio::test]
async fn a_seed_and_settings_give_the_same_bytes_through_every_dialect() {
    for (prompt, variation) in
        [("moons", 0.0), ("moons", 0.25), ("{red|{blue|green}} moons", 0.0), ("__colour__ moons", 0.0)]
    {
        same_bytes(prompt, variation).await;
    }
}

async fn same_bytes(prompt: &str, variation: f64) {
    let server = Server::start().await;
    server.adapter("adire", 2).await;
    server.studio.set_wildcards("[colour]\nindigo\nochre").await.unwrap();
    let request = format!(
        r#""prompt": "{prompt}", "seed": 5, "subseed": 9, "subseed_strength": {variation}, "steps": 3"#
    );
    let adapters = r#""adapters": [{"name": "adire@v2"}]"#;
    let id = server.submit(&format!("{{{request}, {adapters}}}")).await;
    let own = server.finished(&id).await;
    let own = server.get(own["images"][0]["url"].as_str().unwrap()).await.body;

    let model = r#""model": "sd15+adire@v2""#;
    let a1111 = format!(r#"{{{request}, "override_settings": {{"sd_model_checkpoint": "sd15+adire@v2"}}}}"#);
    let a1111 = server.post("/sdapi/v1/txt2img", &a1111).await.json();
    let openai = server.post("/v1/images/generations", &format!("{{{request}, {model}}}")).await.json();
    let parameters =
        json!({"seed": 5, "subseed": 9, "subseed_strength": variation, "num_inference_steps": 3});
    let hugging_face = json!({"inputs": prompt, "parameters": parameters});
    let hugging_face = server.post("/hf/models/sd15+adire@v2", &hugging_face.to_string()).await;
    assert_eq!(hugging_face.header("content-type"), "image/png");
    let join = json!({
        "data": [prompt, "", 5, 3, null, null, null, "", "adire@v2", 1, 9, variation], "fn_index": 0, "session_hash": "s",
    });
    let event = server.post("/gradio_api/queue/join", &join.to_string()).await.json();
    let messages = server.messages("s").await;
    let done = messages.iter().find(|message| message["msg"] == "process_completed").unwrap();
    assert_eq!(done["event_id"], event["event_id"]);
    assert_eq!(messages.last().unwrap()["msg"], "close_stream");
    assert_eq!(done["output"]["data"][1], 5);
    let path = done["output"]["data"][0]["path"].as_str().unwrap();
    assert!(path.ends_with(".png"), "{path}");
    let gradio = server.get(&format!("/gradio_api/file={path}")).await.body;

    for (name, bytes) in [
        ("A1111", png(&a1111["images"][0])),
        ("OpenAI", png(&openai["data"][0]["b64_json"])),
        ("Hugging Face", hugging_face.body.to_vec()),
        ("Gradio", gradio.to_vec()),
    ] {
        assert_eq!(bytes, own, "{name}, {prompt}");
    }
}

#[tokio::test]
async fn a_variation_is_the_same_through_those_that_have_it() {
    let server = Server::start().await;
    let request = format!(r#"{{{SEED}, "subseed": 9, "subseed_strength": 0.3}}"#);
    let id = server.submit(&request).await;
    let own = server.finished(&id).await;
    let own = server.get(own["images"][0]["url"].as_str().unwrap()).await.body;
    let a1111 = server.post("/sdapi/v1/txt2img", &request).await.json();
    let openai = server.post("/v1/images/generations", &request).await.json();
    assert_eq!(png(&a1111["images"][0]), own);
    assert_eq!(png(&openai["data"][0]["b64_json"]), own);
    let plain = server.post("/sdapi/v1/txt2img", &format!("{{{SEED}}}")).await.json();
    assert_ne!(png(&plain["images"][0]), own);
}

#[tokio::test]
async fn a1111s_answers_have_what_its_clients_read() {
    let server = Server::start().await;
    server.adapter("adire", 2).await;
    let body = json!({
        "prompt": "moons", "seed": 7, "batch_size": 2, "sampler_name": "Euler a", "scheduler": "automatic",
        "url": "http://user:hunter2@host", "auth": "user:hunter2", "alwayson_scripts": {"ADetailer": {"args": [true]}},
    });
    let answer = server.post("/sdapi/v1/txt2img", &body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.text().contains("hunter2"), "passwords in the body do not come back");
    let answer = answer.json();
    let info: Value = serde_json::from_str(answer["info"].as_str().unwrap()).unwrap();
    assert_eq!(info["all_seeds"], json!([7, 8]));
    assert_eq!(info["sampler_name"], "Euler a");
    assert!(info["adire"]["notes"][0].as_str().unwrap().contains("ADetailer"), "{info}");
    let image = answer["images"][0].as_str().unwrap();
    assert!(info["infotexts"][0].as_str().unwrap().starts_with("moons\n"));

    let read = server.post("/sdapi/v1/png-info", &json!({ "image": image }).to_string()).await.json();
    assert_eq!(read["info"], info["infotexts"][0]);
    assert_eq!(read["parameters"]["Seed"], "7");

    let titles: Vec<_> = server
        .get("/sdapi/v1/sd-models")
        .await
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["title"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(titles, ["sd15", "sd15+adire@v2"]);
    for list in ["samplers", "schedulers", "upscalers", "latent-upscale-modes", "loras"] {
        let list = server.get(&format!("/sdapi/v1/{list}")).await.json();
        assert!(list[0]["name"].is_string(), "{list}");
    }
    let extra = server.post("/sdapi/v1/extra-single-image", "{}").await;
    assert_eq!(extra.status, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn a1111s_options_are_the_callers_own_and_are_echoed_back_whole() {
    let server = Server::start().await;
    server.adapter("adire", 2).await;
    let mut options = server.agent("GET", "/sdapi/v1/options", &Value::Null, "one").await.json();
    assert_eq!(options["sd_model_checkpoint"], "sd15");
    options["sd_model_checkpoint"] = "sd15+adire@v2".into();
    let set = server.agent("POST", "/sdapi/v1/options", &options, "one").await;
    assert_eq!((set.status, set.text().as_str()), (StatusCode::OK, "null"));
    let of = async |agent| {
        let options = server.agent("GET", "/sdapi/v1/options", &Value::Null, agent).await.json();
        options["sd_model_checkpoint"].as_str().unwrap().to_owned()
    };
    assert_eq!((of("one").await.as_str(), of("two").await.as_str()), ("sd15+adire@v2", "sd15"));
    let made = server.agent("POST", "/sdapi/v1/txt2img", &json!({"prompt": "moons"}), "one").await.json();
    let info: Value = serde_json::from_str(made["info"].as_str().unwrap()).unwrap();
    assert_eq!(info["sd_model_name"], "sd15+adire@v2");
    let wrong =
        server.agent("POST", "/sdapi/v1/options", &json!({"sd_model_checkpoint": "v1-5"}), "one").await;
    assert_eq!(wrong.status, StatusCode::NOT_FOUND);
    assert!(wrong.json()["detail"].as_str().unwrap().contains("v1-5"));
}

#[tokio::test]
async fn callers_neither_see_nor_stop_each_others_work() {
    let server = Server::with(Duration::from_millis(200), 32).await;
    let long = json!({"prompt": "moons", "steps": 150, "seed": 1});
    let making = server.agent("POST", "/sdapi/v1/txt2img", &long, "one");
    let stopping = async {
        let progress =
            async |agent| server.agent("GET", "/sdapi/v1/progress", &Value::Null, agent).await.json();
        loop {
            let mine = progress("one").await;
            if mine["state"]["sampling_step"].as_u64() > Some(0) {
                assert_eq!(mine["state"]["job_count"], 1);
                break;
            }
            tokio::task::yield_now().await;
        }
        let other = progress("two").await;
        assert_eq!((&other["state"]["job_count"], &other["progress"]), (&json!(0), &json!(0.0)));
        let ignored = server.agent("POST", "/sdapi/v1/interrupt", &Value::Null, "two").await;
        assert_eq!((ignored.status, ignored.text().as_str()), (StatusCode::OK, "{}"));
        assert_eq!(progress("one").await["state"]["job_count"], 1, "it is still running");
        server.agent("POST", "/sdapi/v1/interrupt", &Value::Null, "one").await;
    };
    let (answer, ()) = tokio::join!(making, stopping);
    assert_eq!(answer.status, StatusCode::OK);
    let answer = answer.json();
    let info: Value = serde_json::from_str(answer["info"].as_str().unwrap()).unwrap();
    assert_eq!((&answer["images"], &info["adire"]["interrupted"]), (&json!([]), &json!(true)));
    let idle = server.agent("GET", "/sdapi/v1/progress", &Value::Null, "one").await.json();
    assert_eq!(idle["state"]["job_count"], 0);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_each_dialects_form() {
    let server = Server::start().await;
    server.token("chat", "generate", "").await;
    let wrong = [("authorization", "Bearer wrong")];
    let basic = [("authorization", "Basic dXNlcjp3cm9uZw==")];

    let answer = server.post("/sdapi/v1/txt2img", r#"{"prompt": "x", "steps": 0}"#).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.json()["detail"][0]["loc"], json!(["body", "steps"]));
    let answer = server.post("/sdapi/v1/txt2img", r#"{"prompt": "x", "steps": "many"}"#).await;
    assert!(answer.json()["detail"][0]["msg"].as_str().unwrap().contains("expected a whole number"));
    let answer = server.post("/sdapi/v1/txt2img", r#"{"prompt": "x", "sampler_name": "magic"}"#).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let answer = server.post_as("/sdapi/v1/txt2img", "{}", &basic).await;
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (StatusCode::UNAUTHORIZED, "Basic realm=\"adire\"")
    );

    let answer = server.post("/v1/images/generations", r#"{"prompt": "x", "n": 99}"#).await;
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("n")));
    let answer = server.post("/v1/images/generations", r#"{"prompt": "x", "model": "sd35"}"#).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("model_not_found"))
    );
    let answer = server.post_as("/v1/images/generations", "{}", &wrong).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (StatusCode::UNAUTHORIZED, &json!("invalid_api_key"))
    );
    assert_eq!(server.get("/v1/models/sd35").await.json()["error"]["code"], "model_not_found");

    let answer = server.post("/hf/models/sd35", r#"{"inputs": "x"}"#).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.json()["error"].as_str().unwrap().contains("sd35"));

    let join = json!({"data": ["x", "", -1, 9999], "fn_index": 0, "session_hash": "s"}).to_string();
    let answer = server.post("/gradio_api/queue/join", &join).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.json()["detail"][0]["parameter_name"], "steps");
    assert_eq!(answer.json()["detail"][0]["__type__"], "validate");
    let login = Request::post("/login").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let answer = server.send(login.body("username=a&password=b".into()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_full_queue_is_what_each_client_knows_as_one() {
    let server = Server::with(Duration::from_millis(200), 1).await;
    let long = r#"{"prompt": "moons", "steps": 150}"#;
    server.submit(long).await;
    // Once it runs, its place in the queue is free for one more and no other.
    let second = async {
        while server.post("/api/v1/generations", long).await.status != StatusCode::ACCEPTED {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, second).await.unwrap();
    let join = json!({"data": ["x", "", -1, 150], "fn_index": 0, "session_hash": "s"}).to_string();
    let answer = server.post("/gradio_api/queue/join", &join).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let answer = server.post("/v1/images/generations", long).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.json()["error"]["code"], "queue_full");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
    let answer = server.post("/sdapi/v1/txt2img", long).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.json()["detail"].as_str().unwrap().contains("full"));
}

#[tokio::test]
async fn a_repeated_request_joins_the_first() {
    let server = Server::start().await;
    let body = r#"{"prompt": "moons"}"#;
    let image = async |headers: &[(&str, &str)], body: &str| {
        let answer = server.post_as("/v1/images/generations", body, headers).await;
        (answer.status, answer.json()["data"][0]["b64_json"].as_str().map(str::to_owned))
    };
    let key = [("idempotency-key", "a")];
    let first = image(&key, body).await;
    assert_eq!(first.0, StatusCode::OK);
    assert_eq!(image(&key, body).await, first);
    assert_eq!(image(&key, r#"{"prompt": "stars"}"#).await.0, StatusCode::BAD_REQUEST);
    assert_ne!(image(&[], body).await, first, "a request without a key is a new one");

    let first = image(&[("x-stainless-retry-count", "0")], body).await;
    assert_eq!(image(&[("x-stainless-retry-count", "1")], body).await, first);
    assert_ne!(image(&[("x-stainless-retry-count", "0")], body).await, first);
}

#[tokio::test]
async fn images_are_streamed_without_ids() {
    let server = Server::with(Duration::from_millis(5), 32).await;
    let body = r#"{"prompt": "moons", "seed": 5, "steps": 8, "stream": true, "partial_images": 2}"#;
    let answer = server.post("/v1/images/generations", body).await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    let text = answer.text();
    assert!(!text.lines().any(|line| line.starts_with("id:")), "clients would keep it");
    let events: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let last = events.last().unwrap();
    assert_eq!(last["type"], "image_generation.completed");
    for event in &events {
        png(&event["b64_json"]);
        for field in ["created_at", "size", "quality", "background", "output_format"] {
            assert!(!event[field].is_null(), "{field}");
        }
    }
    let failing = r#"{"prompt": "fail!", "stream": true}"#;
    let text = server.post("/v1/images/generations", failing).await.text();
    assert!(text.contains(r#"data: {"error":"#) && text.contains("asked to fail"), "{text}");
}

#[tokio::test]
async fn edits_and_variations_take_forms() {
    let server = Server::start().await;
    let made = server.post("/v1/images/generations", &format!("{{{SEED}}}")).await.json();
    let image = png(&made["data"][0]["b64_json"]);
    let fields: [(&str, &[u8]); 4] =
        [("prompt", b"stars"), ("image", &image), ("mask", &image), ("seed", b"5")];
    let edit = server.multipart("/v1/images/edits", &fields, &[]).await;
    assert_eq!(edit.status, StatusCode::OK, "{}", edit.text());
    assert_ne!(png(&edit.json()["data"][0]["b64_json"]), image);
    let variation = server.multipart("/v1/images/variations", &[("image", &image), ("n", b"2")], &[]).await;
    assert_eq!(variation.json()["data"].as_array().unwrap().len(), 2, "{}", variation.text());
    for (path, fields, param) in [
        ("/v1/images/edits", &[("prompt", &b"x"[..])][..], "image"),
        ("/v1/images/edits", &[("image", &image)], "prompt"),
        ("/v1/images/edits", &[("prompt", b"x"), ("image[]", &image), ("image[]", &image)], "image"),
        ("/v1/images/edits", &[("prompt", b"x"), ("image", b"\x89PNG but broken")], "image"),
        ("/v1/images/variations", &[], "image"),
    ] {
        let answer = server.multipart(path, fields, &[]).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["param"]),
            (StatusCode::BAD_REQUEST, &json!(param)),
            "{path}"
        );
    }
}

#[tokio::test]
async fn other_formats_and_addresses_are_sent_where_they_are_asked_for() {
    let server = Server::start().await;
    for (format, start) in [("jpeg", &b"\xff\xd8\xff"[..]), ("webp", b"RIFF"), ("png", b"\x89PNG")] {
        let body = format!(r#"{{{SEED}, "output_format": "{format}"}}"#);
        let answer = server.post("/v1/images/generations", &body).await.json();
        let bytes = STANDARD.decode(answer["data"][0]["b64_json"].as_str().unwrap()).unwrap();
        assert!(bytes.starts_with(start), "{format}");
    }
    let answer = server
        .post("/v1/images/generations", &format!(r#"{{{SEED}, "response_format": "url"}}"#))
        .await
        .json();
    let url = answer["data"][0]["url"].as_str().unwrap();
    let path = url.strip_prefix("http://localhost").unwrap();
    assert!(server.get(path).await.body.starts_with(b"\x89PNG"));
}

#[tokio::test]
async fn gradios_calls_are_the_callers_own() {
    // Slow enough to be cancelled on a busy machine.
    let server = Server::with(Duration::from_millis(200), 32).await;
    let config = server.get("/config").await.json();
    assert_eq!(config["protocol"], "sse_v3");
    assert!(config["components"].is_array() && config["dependencies"][0]["api_name"] == "generate");
    let info = server.get("/gradio_api/info?serialize=False").await.json();
    assert_eq!(info["named_endpoints"]["/generate"]["parameters"][0]["parameter_name"], "prompt");

    let call = json!({"data": ["moons", "", 1, 150]});
    let event = server.agent("POST", "/gradio_api/call/generate", &call, "one").await.json();
    let id = event["event_id"].as_str().unwrap().to_owned();
    let result = format!("/gradio_api/call/generate/{id}");
    assert_eq!(server.agent("GET", &result, &Value::Null, "two").await.status, StatusCode::NOT_FOUND);
    let stop = json!({"event_id": id, "session_hash": id, "fn_index": 0});
    server.agent("POST", "/gradio_api/cancel", &stop, "two").await;
    let running = server.get(&format!("/api/v1/generations/{id}")).await.json();
    assert_ne!(running["state"], "cancelled");
    let stopping = async {
        server.agent("POST", "/gradio_api/cancel", &stop, "one").await;
    };
    let (answer, ()) = tokio::join!(server.agent("GET", &result, &Value::Null, "one"), stopping);
    assert!(answer.text().starts_with("event: error\ndata: "), "{}", answer.text());

    let call = server.post("/gradio_api/call/adapters", r#"{"data": []}"#).await.json();
    let path = format!("/gradio_api/call/adapters/{}", call["event_id"].as_str().unwrap());
    assert_eq!(server.get(&path).await.text(), "event: complete\ndata: [[]]\n\n");
}

#[tokio::test]
async fn gradios_uploads_are_opaque_and_are_not_fetched_from_addresses() {
    let server = Server::start().await;
    let made = server.post("/v1/images/generations", &format!("{{{SEED}}}")).await.json();
    let image = png(&made["data"][0]["b64_json"]);
    let paths = server.multipart("/gradio_api/upload", &[("files", &image)], &[]).await.json();
    let path = paths[0].as_str().unwrap();
    assert_eq!(path.split('/').next().unwrap().len(), 64, "{path}");
    let file = json!({"path": path, "meta": {"_type": "gradio.FileData"}});
    let join = |file: &Value| {
        json!({"data": [file, "stars", null, 0.5], "fn_index": 1, "session_hash": "s"}).to_string()
    };
    let answer = server.post("/gradio_api/queue/join", &join(&file)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert!(server.messages("s").await.iter().any(|message| message["success"] == true));
    for path in ["http://127.0.0.1:1/a.png", "/etc/passwd", "../../etc/passwd"] {
        let answer = server.post("/gradio_api/queue/join", &join(&json!({ "path": path }))).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
    }
    let other = server.get("/gradio_api/file=..%2F..%2Fetc/passwd").await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_login_is_a_cookie_for_the_tokens_visitor() {
    let server = Server::start().await;
    let token = server.token("chat", "admin", "1/day").await;
    let login = Request::post("/login").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let answer = server.send(login.body(format!("username=any&password={token}").into()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(!cookie.contains(&token), "the cookie is not the token");
    // Gradio's JavaScript client sends its form in parts.
    let fields = [("username", "any".as_bytes()), ("password", token.as_bytes())];
    let parts = server.multipart("/login", &fields, &[]).await;
    assert!(parts.status == StatusCode::OK && !parts.header("set-cookie").is_empty(), "{}", parts.text());
    let wrong = server.multipart("/login", &[("password", b"wrong")], &[]).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    let missing = server.multipart("/login", &fields[..1], &[]).await;
    assert_eq!(missing.status, StatusCode::BAD_REQUEST);
    assert!(missing.text().contains("password is missing."), "{}", missing.text());
    let cookie = [("cookie", cookie.as_str())];
    let body = r#"{"prompt": "moons"}"#;
    assert_eq!(server.post_as("/v1/images/generations", body, &cookie).await.status, StatusCode::OK);
    let limited = server.post_as("/v1/images/generations", body, &cookie).await;
    assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS);
    // A browser sends cookies by itself, so this one opens no admin's API.
    let admin = server.post_as("/admin/api/alerts/test", "", &cookie).await;
    assert_eq!(admin.status, StatusCode::FORBIDDEN);
}
