//! A server that trains on a real model: killed in the middle, it resumes at startup and its adapter works.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use adire_studio::{Pixels, encode_png};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(240);

/// A server of its own process.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(model: &Path, data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adire"));
        for name in ["ADIRE_ADDR", "ADIRE_DATA", "ADIRE_MODEL", "ADIRE_SITE", "RUST_LOG"] {
            command.env_remove(name);
        }
        command
            .args(["serve", "--addr", "127.0.0.1:0", "--device", "cpu", "--open-admin", "--model"])
            .arg(model);
        command.arg("--data").arg(data).env("RUST_LOG", "warn").stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.find_map(|line| {
            let line = line.unwrap();
            line.split_once("ready at http://").map(|(_, rest)| rest.split(' ').next().unwrap().to_owned())
        });
        // The rest is read, so that the server can go on writing.
        thread::spawn(move || lines.count());
        Self { child, address: ready.expect("the server says where it is") }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// One request on a connection of its own; the status and the body.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n",
            self.address
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        (status, answer.split_off(end))
    }

    fn json(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.ask(method, path, "application/json", body.as_bytes());
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    fn dataset(&self) -> String {
        let new = json!({"name": "cloth", "trigger": "tok"});
        let id = self.json("POST", "/admin/api/datasets", &new)["id"].as_str().unwrap().to_owned();
        let mut form = Vec::new();
        for i in 0..4u8 {
            let rgb = (0..64 * 64 * 3).map(|at| (at as u8).wrapping_mul(3 + i)).collect();
            let png = encode_png(&Pixels { width: 64, height: 64, rgb }, "").unwrap();
            let disposition = format!("Content-Disposition: form-data; name=\"f\"; filename=\"{i}.png\"");
            form.extend([format!("--edge\r\n{disposition}\r\n\r\n").as_bytes(), &png, b"\r\n"].concat());
        }
        form.extend(b"--edge--\r\n");
        let path = format!("/admin/api/datasets/{id}/files");
        let (status, answer) = self.ask("POST", &path, "multipart/form-data; boundary=edge", &form);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        id
    }

    fn train(&self, config: &Value) -> String {
        let request = json!({"name": "cloth", "dataset": self.dataset(), "config": config});
        self.json("POST", "/admin/api/training", &request)["id"].as_str().unwrap().to_owned()
    }

    /// A training once it rests.
    fn settled(&self, id: &str) -> Value {
        let path = format!("/admin/api/training/{id}");
        let since = Instant::now();
        loop {
            let detail = self.json("GET", &path, &Value::Null);
            if !["queued", "running"].contains(&detail["job"]["state"].as_str().unwrap()) {
                return detail;
            }
            assert!(since.elapsed() < PATIENCE, "{detail}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn trained(&self, id: &str) -> Value {
        let detail = self.settled(id);
        assert_eq!(detail["job"]["state"], "done", "{detail}");
        detail
    }

    /// The pixels of an image, as its file.
    fn image(&self, request: &Value) -> Vec<u8> {
        let id = self.json("POST", "/api/v1/generations", request)["id"].as_str().unwrap().to_owned();
        let since = Instant::now();
        loop {
            let record = self.json("GET", &format!("/api/v1/generations/{id}"), &Value::Null);
            if let Some(url) = record["images"][0]["url"].as_str() {
                let (_, png) = self.ask("GET", url, "", &[]);
                return image::load_from_memory(&png).unwrap().into_rgb8().into_raw();
            }
            assert!(record["error"].is_null() && since.elapsed() < PATIENCE, "{record}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn golden() -> PathBuf {
    // Absolute: the program runs in a folder of its own.
    std::path::absolute("../crates/engine/tests/goldens/pipeline").unwrap()
}

#[test]
fn a_killed_server_resumes_training_and_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "steps": 40, "accumulation": 1, "resolution": 64, "held_out": 0.25, "checkpoint_every": 4,
        "sample_every": 20, "sample_prompts": ["a tok cloth"],
    });
    let file = |server: &Server, id: &str| {
        let (status, bytes) = server.ask("GET", &format!("/admin/api/training/{id}/files/kohya"), "", &[]);
        assert_eq!(status, 200);
        bytes
    };
    let numbers = |detail: &Value| {
        let points = detail["points"].as_array().unwrap().iter();
        points.map(|p| (p["step"].clone(), p["loss"].clone(), p["held_out_loss"].clone())).collect::<Vec<_>>()
    };
    let samples = |detail: &Value| {
        let samples = detail["samples"].as_array().unwrap().iter();
        samples.map(|s| (s["step"].clone(), s["hash"].clone())).collect::<Vec<_>>()
    };
    let whole = Server::start(&golden(), &folder.path().join("whole"));
    let id = whole.train(&config);
    let expected = whole.trained(&id);
    let bytes = file(&whole, &id);
    whole.kill();

    let data = folder.path().join("killed");
    let server = Server::start(&golden(), &data);
    let id = server.train(&config);
    let checkpoint = data.join("training").join(&id).join("checkpoint.safetensors");
    let since = Instant::now();
    while !checkpoint.is_file() {
        assert!(since.elapsed() < PATIENCE, "no checkpoint came");
        thread::sleep(Duration::from_millis(2));
    }
    // SIGKILL: nothing can be tidied up.
    server.kill();
    let server = Server::start(&golden(), &data);
    let detail = server.trained(&id);
    assert!(file(&server, &id) == bytes, "the adapter differs");
    assert_eq!(numbers(&detail), numbers(&expected));
    assert_eq!(samples(&detail), samples(&expected));
    assert_eq!(detail["job"]["version"], "cloth@v1");
    assert!(!checkpoint.exists(), "nobody needs it any more");
    assert!(fs::read_dir(data.join("blobs/incoming")).unwrap().next().is_none());
}

#[test]
fn what_is_trained_on_the_starter_model_makes_other_images() {
    let folder = tempfile::tempdir().unwrap();
    let model = std::path::absolute("../models/starter").unwrap();
    let server = Server::start(&model, &folder.path().join("data"));
    let config = json!({
        "steps": 3, "accumulation": 1, "resolution": 64, "held_out": 0.25, "checkpoint_every": 3,
        "learning_rate": 1e-2, "sample_every": 0,
    });
    let detail = server.trained(&server.train(&config));
    let job = &detail["job"];
    assert_eq!((&job["step"], &job["version"]), (&json!(3), &json!("cloth@v1")), "{job}");
    assert!(job["forecast"]["seconds"].as_f64().unwrap() > 0.0);
    assert!(job["first_held_out"].as_f64().unwrap() > 0.0 && job["last_held_out"] != job["first_held_out"]);
    let plain = json!({"prompt": "a tok cloth", "seed": 1, "steps": 2, "width": 64, "height": 64});
    let mut with = plain.clone();
    with["adapters"] = json!([{"name": "cloth@v1"}]);
    let without = server.image(&plain);
    assert_ne!(server.image(&with), without);
    assert_eq!(server.image(&plain), without, "the base is as it was");
}

#[test]
fn a_training_begins_with_a_version_or_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&golden(), &folder.path().join("data"));
    let config = json!({
        "steps": 2, "accumulation": 1, "resolution": 64, "held_out": 0.25, "checkpoint_every": 2, "sample_every": 0,
    });
    let first = server.trained(&server.train(&config));
    let mut request = json!({
        "name": "cloth", "dataset": first["job"]["dataset"], "config": config, "continue_from": "cloth",
    });
    let ask = |request: &Value| {
        server.json("POST", "/admin/api/training", request)["id"].as_str().unwrap().to_owned()
    };
    let second = server.trained(&ask(&request));
    let job = &second["job"];
    assert_eq!((&job["version"], &job["continue_from"]), (&json!("cloth@v2"), &json!("cloth@v1")), "{job}");
    assert_eq!(job["first_held_out"], first["job"]["last_held_out"], "it begins where the other one ended");
    assert_ne!(job["last_held_out"], job["first_held_out"]);
    request["config"]["rank"] = json!(8);
    let refused = server.settled(&ask(&request));
    let error = refused["job"]["error"].as_str().unwrap();
    assert!(error.contains("use the settings it was made with"), "{error}");
}
