//! A server that speaks the Hub's protocol, LFS included, and that can be down, slow, confused or hostile.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::TOKEN;

/// What a Hub holds and has seen.
#[derive(Default)]
pub(super) struct State {
    pub(super) repositories: HashMap<String, bool>,
    /// Path and content of committed files.
    pub(super) files: HashMap<String, Vec<u8>>,
    pub(super) objects: HashMap<String, Vec<u8>>,
    pub(super) commits: u32,
    /// Method, path, whether the token came along.
    pub(super) seen: Vec<(String, String, bool)>,
    /// Answers that the next requests get instead, by part of the path: how many times, status line and headers, or a break
    /// after so many bytes.
    pub(super) faults: Vec<(&'static str, u32, &'static str)>,
    pub(super) parts: HashMap<u64, Vec<u8>>,
}

#[derive(Clone)]
pub(super) struct FakeHub {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) port: u16,
    /// Another port, as a store for uploads.
    pub(super) store: u16,
    pub(super) multipart: bool,
}

impl FakeHub {
    pub(super) fn start(multipart: bool) -> Self {
        let (hub, store) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let own = Self {
            state: Arc::default(),
            port: hub.local_addr().unwrap().port(),
            store: store.local_addr().unwrap().port(),
            multipart,
        };
        for listener in [hub, store] {
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

    pub(super) fn fault(self, path: &'static str, times: u32, answer: &'static str) -> Self {
        self.state.lock().unwrap().faults.push((path, times, answer));
        self
    }

    fn serve(&self, mut stream: TcpStream) {
        while let Some((method, path, headers, body)) = read(&mut stream) {
            let token = headers.get("authorization").is_some_and(|value| value.contains(TOKEN));
            let mut state = self.state.lock().unwrap();
            state.seen.push((method.clone(), path.clone(), token));
            let fault = state.faults.iter_mut().find(|(part, times, _)| path.contains(part) && *times > 0);
            if let Some((_, times, answer)) = fault {
                *times -= 1;
                let answer = *answer;
                // A cut line after the work was done: the hardest case.
                if answer == "cut after" {
                    self.answer(&mut state, &method, &path, &body);
                }
                drop(state);
                if answer == "slow" {
                    // Nothing comes; the client gives up first.
                    let _ = stream.read(&mut [0]);
                    return;
                }
                if !answer.starts_with("cut") {
                    let _ = stream.write_all(answer.as_bytes());
                }
                return;
            }
            let (status, json) = self.answer(&mut state, &method, &path, &body);
            drop(state);
            let text = json.to_string();
            let etag = if method == "PUT" { "etag: \"part\"\r\n" } else { "" };
            let head = format!(
                "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\n{etag}content-length: {}\r\n\r\n",
                text.len()
            );
            if stream.write_all((head + &text).as_bytes()).is_err() {
                return;
            }
        }
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
                    let base = format!("http://127.0.0.1:{}", self.store);
                    let upload = if self.multipart {
                        json!({ "href": format!("{base}/complete/{oid}"), "header": {
                            "chunk_size": "7", "00001": format!("{base}/store/{oid}/part/1"),
                            "00002": format!("{base}/store/{oid}/part/2"), "00003": format!("{base}/store/{oid}/part/3") } })
                    } else {
                        json!({ "href": format!("{base}/store/{oid}"), "header": { "x-signed": "yes" } })
                    };
                    let verify = json!({ "href": format!("http://127.0.0.1:{}/verify", self.port) });
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
                        json!({ "type": "file", "path": path, "oid": crate::exports::git_blob(content) })
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

/// A request: method, path, headers in lower case, body.
type Received = (String, String, HashMap<String, String>, Vec<u8>);

fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        match stream.read(&mut piece).ok()? {
            0 => return None,
            read => bytes.extend(&piece[..read]),
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes[end + 4..].to_vec();
    while body.len() < length {
        match stream.read(&mut piece).ok()? {
            0 => return None,
            read => body.extend(&piece[..read]),
        }
    }
    Some((method, path, headers, body))
}
