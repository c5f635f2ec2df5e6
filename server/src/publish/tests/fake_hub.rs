//! A server that speaks the Hub's protocol, LFS included, and that can be down, slow, confused or hostile.

use std::{
    collections::HashMap,
    io::Write,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha1::Digest as _;

use crate::testing::{Line, Plan, read};

/// What a Hub holds.
#[derive(Default)]
pub(super) struct State {
    pub(super) repositories: HashMap<String, bool>,
    /// Path and content of committed files.
    pub(super) files: HashMap<String, Vec<u8>>,
    pub(super) objects: HashMap<String, Vec<u8>>,
    pub(super) commits: u32,
    pub(super) parts: HashMap<u64, Vec<u8>>,
}

/// A Hub and its store for uploads, which is another port and so counts as another host.
#[derive(Clone)]
pub(super) struct FakeHub {
    pub(super) state: Arc<Mutex<State>>,
    /// The lines to both.
    pub(super) line: Line,
    pub(super) store: Line,
    multipart: bool,
}

impl FakeHub {
    pub(super) fn start(multipart: bool) -> Self {
        Self::behind(multipart, Vec::new())
    }

    /// One behind lines on which this happens.
    pub(super) fn behind(multipart: bool, plan: Plan) -> Self {
        let (to_store, to_hub): (Plan, Plan) = plan.into_iter().partition(|(word, ..)| is_of_store(word));
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [hub, store] = listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
        let (hub, store) = (Line::to(hub, to_hub), Line::to(store, to_store));
        let own = Self { state: Arc::default(), line: hub, store, multipart };
        for listener in listeners {
            let own = own.clone();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let own = own.clone();
                    thread::spawn(move || own.serve(stream));
                }
            });
        }
        own
    }

    fn serve(&self, mut stream: TcpStream) {
        let Some((head, body)) = read(&mut stream) else { return };
        let mut first = head.split(' ');
        let (method, path) = (first.next().unwrap(), first.next().unwrap());
        let (status, json) = self.answer(&mut self.state.lock().unwrap(), method, path, &body);
        let text = json.to_string();
        let etag = if method == "PUT" { "etag: \"part\"\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n{etag}content-length: {}\r\n\r\n",
            text.len()
        );
        // The line may be cut.
        let _ = stream.write_all((head + &text).as_bytes());
    }

    fn answer(&self, state: &mut State, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let path = path.split('?').next().unwrap();
        if path == "/api/repos/create" {
            let name =
                format!("{}/{}", json["organization"].as_str().unwrap(), json["name"].as_str().unwrap());
            if state.repositories.contains_key(&name) {
                return (409, json!({ "error": "You already created this model repo" }));
            }
            state.repositories.insert(name, json["visibility"] == "private");
            return (200, json!({ "url": "x" }));
        }
        if let Some(oid) = path.strip_prefix("/store/") {
            assert_eq!(method, "PUT");
            match oid.rsplit_once("/part/") {
                Some((_, part)) => drop(state.parts.insert(part.parse().unwrap(), body.to_vec())),
                None => drop(state.objects.insert(oid.to_owned(), body.to_vec())),
            }
            return (200, json!({}));
        }
        if let Some(oid) = path.strip_prefix("/complete/") {
            let count = json["parts"].as_array().unwrap().len() as u64;
            assert!(json["parts"][0]["etag"] == "\"part\"", "{json}");
            let whole: Vec<u8> = (1..=count).flat_map(|n| state.parts.remove(&n).unwrap()).collect();
            state.objects.insert(oid.to_owned(), whole);
            return (200, json!({}));
        }
        if path == "/verify" {
            let object = &state.objects[json["oid"].as_str().unwrap()];
            return (if json["size"] == object.len() { 200 } else { 422 }, json!({}));
        }
        if path.ends_with("/info/lfs/objects/batch") {
            let objects: Vec<Value> = json["objects"]
                .as_array()
                .unwrap()
                .iter()
                .map(|object| {
                    let oid = object["oid"].as_str().unwrap();
                    if state.objects.contains_key(oid) {
                        return json!({ "oid": oid });
                    }
                    let base = format!("http://127.0.0.1:{}", self.store.port);
                    let upload = if self.multipart {
                        json!({ "href": format!("{base}/complete/{oid}"), "header": {
                            "chunk_size": "7", "00001": format!("{base}/store/{oid}/part/1"),
                            "00002": format!("{base}/store/{oid}/part/2"), "00003": format!("{base}/store/{oid}/part/3") } })
                    } else {
                        json!({ "href": format!("{base}/store/{oid}"), "header": { "x-signed": "yes" } })
                    };
                    let verify = json!({ "href": format!("http://127.0.0.1:{}/verify", self.line.port) });
                    json!({ "oid": oid, "actions": { "upload": upload, "verify": verify } })
                })
                .collect();
            return (200, json!({ "objects": objects }));
        }
        let rest = path.strip_prefix("/api/models/").unwrap();
        if let Some((_, _)) = rest.split_once("/preupload/") {
            let files: Vec<Value> = json["files"]
                .as_array()
                .unwrap()
                .iter()
                .map(|file| {
                    let large = file["path"].as_str().unwrap().ends_with(".safetensors");
                    json!({ "path": file["path"], "uploadMode": if large { "lfs" } else { "regular" } })
                })
                .collect();
            return (200, json!({ "files": files }));
        }
        if rest.contains("/commit/") {
            for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let line: Value = serde_json::from_slice(line).unwrap();
                let value = &line["value"];
                let path = value["path"].as_str().unwrap_or_default().to_owned();
                match line["key"].as_str().unwrap() {
                    "file" => {
                        let content = STANDARD.decode(value["content"].as_str().unwrap()).unwrap();
                        state.files.insert(path, content);
                    }
                    "lfsFile" => {
                        let object = state.objects[value["oid"].as_str().unwrap()].clone();
                        state.files.insert(path, object);
                    }
                    _ => assert!(value["summary"].as_str().unwrap().starts_with("Upload adire@v")),
                }
            }
            state.commits += 1;
            return (200, json!({ "commitOid": format!("{:040}", state.commits) }));
        }
        if rest.contains("/tree/") {
            let entries: Vec<Value> = state
                .files
                .iter()
                .map(|(path, content)| {
                    let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(content));
                    if path.ends_with(".safetensors") {
                        json!({ "type": "file", "path": path, "oid": "x", "lfs": { "oid": sha256 } })
                    } else {
                        let blob = sha1::Sha1::new_with_prefix(format!("blob {}\0", content.len()));
                        let oid = hex::encode(blob.chain_update(content).finalize());
                        json!({ "type": "file", "path": path, "oid": oid })
                    }
                })
                .collect();
            return (200, json!(entries));
        }
        match state.repositories.get(rest) {
            Some(private) => (200, json!({ "id": rest, "private": private })),
            None => (404, json!({ "error": "not found" })),
        }
    }
}

fn is_of_store(word: &str) -> bool {
    word.starts_with("/store/") || word.starts_with("/part/") || word.starts_with("/complete/")
}
