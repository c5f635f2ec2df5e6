//! `adire models …` against a small server that speaks the Hub's API.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod hosts;
mod push;
#[path = "../../src/testing/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the server's own tests use all of it")]
mod testing;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path as Wildcard, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::StreamExt as _;
use sha1::Digest as _;

const REPOSITORY: &str = "someone/small-model";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

fn golden(name: &str) -> PathBuf {
    // Absolute: the program runs in a folder of its own.
    std::path::absolute(Path::new("../crates/engine/tests/goldens").join(name)).unwrap()
}

/// What the server does, beside giving files.
#[derive(Default)]
struct Hub {
    files: BTreeMap<String, Bytes>,
    /// Files whose promised hash is another one.
    lies: Vec<String>,
    /// How many bytes of a file come before the connection breaks, once.
    breaks: Mutex<HashMap<String, usize>>,
    /// Requests for content: file and first byte.
    requests: Mutex<Vec<(String, u64)>>,
    token: Option<String>,
}

impl Hub {
    /// The small pipeline, and what Adire does not need.
    fn new() -> Self {
        let mut files = BTreeMap::new();
        let mut names = vec![PathBuf::new()];
        while let Some(folder) = names.pop() {
            for entry in std::fs::read_dir(golden("pipeline").join(&folder)).unwrap() {
                let entry = entry.unwrap();
                let name = folder.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    names.push(name);
                } else {
                    let bytes = std::fs::read(entry.path()).unwrap();
                    files.insert(name.to_str().unwrap().to_owned(), bytes.into());
                }
            }
        }
        for unwanted in
            ["README.md", "unet/diffusion_pytorch_model.bin", "model.ckpt", "safety_checker/model.bin"]
        {
            files.insert(unwanted.to_owned(), Bytes::from_static(b"not needed"));
        }
        Self { files, ..Self::default() }
    }

    fn etag(&self, name: &str) -> String {
        let bytes = &self.files[name];
        if self.lies.iter().any(|lie| lie == name) {
            return hex::encode(sha2::Sha256::digest(b"something else"));
        }
        if name.ends_with(".safetensors") {
            return hex::encode(sha2::Sha256::digest(bytes));
        }
        hex::encode(
            sha1::Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize(),
        )
    }

    fn allows(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        self.token.as_ref().is_none_or(|token| given == Some(format!("Bearer {token}").as_str()))
    }
}

async fn api(State(hub): State<Arc<Hub>>, Wildcard(path): Wildcard<String>, headers: HeaderMap) -> Response {
    if !hub.allows(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if path != format!("{REPOSITORY}/revision/main") && path != format!("{REPOSITORY}/revision/{COMMIT}") {
        return (StatusCode::NOT_FOUND, [("x-error-code", "RepoNotFound")]).into_response();
    }
    let siblings: Vec<_> = hub.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
    let info = serde_json::json!({ "id": REPOSITORY, "sha": COMMIT, "siblings": siblings });
    ([(header::CONTENT_TYPE, "application/json")], info.to_string()).into_response()
}

async fn content(
    State(hub): State<Arc<Hub>>,
    Wildcard(path): Wildcard<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    if !hub.allows(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let path = path.strip_prefix("datasets/").unwrap_or(&path);
    let name = path
        .strip_prefix(&format!("{REPOSITORY}/resolve/main/"))
        .or_else(|| path.strip_prefix(&format!("{REPOSITORY}/resolve/{COMMIT}/")));
    let Some((name, bytes)) = name.and_then(|name| Some((name, hub.files.get(name)?))) else {
        return (StatusCode::NOT_FOUND, [("x-error-code", "EntryNotFound")]).into_response();
    };
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).unwrap_or("bytes=0-");
    let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let start: usize = start.parse().unwrap();
    let last = end.parse().unwrap_or(bytes.len() - 1).min(bytes.len() - 1);
    let part = bytes.slice(start..=last);
    // Asking for the hash is not asking for the content.
    let is_content = method == Method::GET;
    if is_content {
        hub.requests.lock().unwrap().push((name.to_owned(), start as u64));
    }
    let length = part.len();
    let breaks = if is_content { hub.breaks.lock().unwrap().remove(name) } else { None };
    let body = match breaks {
        None => Body::from(part),
        Some(after) => {
            let first = part.slice(..after);
            // The pause lets what came before leave: an error at once would take it along.
            let broken = futures::stream::once(async {
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
                Err(std::io::Error::other("the connection broke"))
            });
            Body::from_stream(futures::stream::iter([Ok(first)]).chain(broken))
        }
    };
    Response::builder()
        .status(StatusCode::PARTIAL_CONTENT)
        .header("x-repo-commit", COMMIT)
        .header(header::ETAG, format!("\"{}\"", hub.etag(name)))
        .header(header::CONTENT_RANGE, format!("bytes {start}-{last}/{}", bytes.len()))
        .header(header::CONTENT_LENGTH, length)
        .body(body)
        .unwrap()
}

/// A running server with a cache of its own.
struct World {
    hub: Arc<Hub>,
    endpoint: String,
    home: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    fn new(hub: Hub) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let hub = Arc::new(hub);
        let router = Router::new()
            .route("/api/models/{*path}", get(api))
            .route("/api/datasets/{*path}", get(api))
            .route("/{*path}", get(content))
            .with_state(Arc::clone(&hub));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { hub, endpoint, home: tempfile::tempdir().unwrap(), _runtime: runtime }
    }

    fn adire(&self, arguments: &[&str], token: Option<&str>) -> Output {
        self.command(token).args(arguments).output().unwrap()
    }

    fn command(&self, token: Option<&str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adire"));
        for name in ["ADIRE_MODEL", "ADIRE_TOKENIZER", "HF_TOKEN", "HF_HUB_CACHE", "http_proxy", "HTTP_PROXY"]
        {
            command.env_remove(name);
        }
        command
            .env("HF_ENDPOINT", &self.endpoint)
            .env("HF_HOME", self.home.path())
            .env("NO_PROXY", "127.0.0.1");
        command.envs(token.map(|token| ("HF_TOKEN", token)));
        command.current_dir(self.home.path());
        command
    }

    fn pull(&self) -> Output {
        self.adire(&["models", "pull", REPOSITORY], None)
    }

    fn repository(&self) -> PathBuf {
        self.home.path().join("hub").join(format!("models--{}", REPOSITORY.replace('/', "--")))
    }

    fn snapshot(&self) -> PathBuf {
        self.repository().join("snapshots").join(COMMIT)
    }

    fn requests(&self, name: &str) -> Vec<u64> {
        let requests = self.hub.requests.lock().unwrap();
        requests.iter().filter(|(file, _)| file == name).map(|(_, start)| *start).collect()
    }
}

fn stdout(output: &Output) -> String {
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn failure(output: &Output) -> String {
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

#[test]
fn a_pulled_model_is_listed_verified_and_used_by_name() {
    let world = World::new(Hub::new());
    let message = stdout(&world.pull());
    assert!(message.starts_with(&format!("Downloaded {REPOSITORY} to ")), "{message}");
    for (name, bytes) in &world.hub.files {
        let path = world.snapshot().join(name);
        let needed = !["README.md", "model.ckpt"].contains(&name.as_str()) && !name.ends_with(".bin");
        assert_eq!(path.is_file(), needed, "{name}");
        if needed {
            assert_eq!(std::fs::read(path).unwrap(), *bytes, "{name}");
        }
    }
    let listed = stdout(&world.adire(&["models", "list"], None));
    assert!(listed.contains(&format!("{REPOSITORY}  folder  ")), "{listed}");
    let verified = stdout(&world.adire(&["models", "verify"], None));
    assert!(verified.contains(&format!("{REPOSITORY}: 12 files match the Hub")), "{verified}");

    let generate =
        ["generate", "--model", REPOSITORY, "--prompt", "red flower", "--seed", "7", "--steps", "1"];
    let size = ["--width", "64", "--height", "64", "--out", "a.png"];
    stdout(&world.adire(&[&generate[..], &size].concat(), None));
    assert!(world.home.path().join("a.png").is_file());

    // A second time, nothing is fetched.
    world.hub.requests.lock().unwrap().clear();
    stdout(&world.pull());
    assert!(world.hub.requests.lock().unwrap().is_empty());

    // A revision by its commit is another name for the same files.
    stdout(&world.adire(&["models", "pull", REPOSITORY, "--revision", COMMIT], None));
    assert!(world.hub.requests.lock().unwrap().is_empty());
    let listed = stdout(&world.adire(&["models", "list"], None));
    assert!(listed.contains(&format!("{REPOSITORY}@{COMMIT}  folder  ")), "{listed}");

    // One changed bit is found.
    let blob = world.snapshot().join(UNET).canonicalize().unwrap();
    let mut bytes = std::fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let output = world.adire(&["models", "verify", REPOSITORY], None);
    failure(&output);
    let message = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(message.contains(&format!("{UNET} is damaged: its sha256 is ")), "{message}");
    stdout(&world.pull());
    assert!(stdout(&world.adire(&["models", "verify", REPOSITORY], None)).contains("12 files"));
}

#[test]
fn an_interrupted_download_resumes_where_it_stopped() {
    let hub = Hub::new();
    hub.breaks.lock().unwrap().insert(UNET.to_owned(), 300_000);
    let world = World::new(hub);
    stdout(&world.pull());
    let requests = world.requests(UNET);
    assert_eq!((requests.len(), requests[0]), (2, 0), "{requests:?}");
    assert!(requests[1] > 0 && requests[1] <= 300_000, "{requests:?}");
    assert_eq!(std::fs::read(world.snapshot().join(UNET)).unwrap(), world.hub.files[UNET]);
}

#[test]
fn a_stopped_program_resumes_at_the_next_start() {
    let world = World::new(Hub::new());
    let blobs = world.repository().join("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let part = blobs.join(format!("{}.part", world.hub.etag(UNET)));
    std::fs::write(&part, &world.hub.files[UNET][..123_456]).unwrap();
    stdout(&world.pull());
    assert_eq!(world.requests(UNET), [123_456]);
    assert_eq!(std::fs::read(world.snapshot().join(UNET)).unwrap(), world.hub.files[UNET]);
    assert!(!part.exists());

    // What was left there by something else is found out, and not kept.
    let world = World::new(Hub::new());
    let blobs = world.repository().join("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let part = blobs.join(format!("{}.part", world.hub.etag(UNET)));
    std::fs::write(&part, [7; 1000]).unwrap();
    assert!(failure(&world.pull()).contains(&format!("{UNET} was discarded: its sha256 is ")));
    assert!(!part.exists());
    stdout(&world.pull());
}

#[test]
fn a_wrong_hash_is_refused_and_nothing_is_kept() {
    for name in [UNET, "tokenizer/vocab.json"] {
        let world = World::new(Hub { lies: vec![name.to_owned()], ..Hub::new() });
        let message = failure(&world.pull());
        assert!(message.contains(&format!("{name} was discarded: its sha256 is ")), "{message}");
        assert!(!world.snapshot().join(name).exists());
        let lie = world.hub.etag(name);
        let blobs: Vec<_> = std::fs::read_dir(world.repository().join("blobs")).unwrap().flatten().collect();
        let named = |start: &str| {
            blobs.iter().any(|entry| {
                let file = entry.file_name().to_string_lossy().into_owned();
                file.starts_with(start) && !file.ends_with(".lock")
            })
        };
        assert!(!named(&lie), "{name}");
        let listed = stdout(&world.adire(&["models", "list"], None));
        assert!(!listed.contains(REPOSITORY), "{listed}");
    }
}

#[test]
fn refusals_of_the_hub_say_what_to_do() {
    let world = World::new(Hub { token: Some("hf_secret".to_owned()), ..Hub::new() });
    let message = failure(&world.pull());
    assert!(message.contains("denied access") && message.contains("HF_TOKEN"), "{message}");
    assert!(failure(&world.adire(&["models", "pull", REPOSITORY], Some("wrong"))).contains("HF_TOKEN"));
    stdout(&world.adire(&["models", "pull", REPOSITORY], Some("hf_secret")));
    // The token that Python's login leaves is used too.
    let world = World::new(Hub { token: Some("hf_secret".to_owned()), ..Hub::new() });
    std::fs::write(world.home.path().join("token"), "hf_secret\n").unwrap();
    stdout(&world.pull());

    let world = World::new(Hub::new());
    for (arguments, expected) in [
        (&["models", "pull", "someone/else"][..], "has no model someone/else with a revision main"),
        (&["models", "pull", REPOSITORY, "--revision", "v9"], "with a revision v9"),
        (&["models", "pull", "no-slash"], "write OWNER/NAME"),
        (&["models", "pull", "../.."], "write OWNER/NAME"),
        (&["models", "pull", REPOSITORY, "--file", "model.ckpt"], "is not a .safetensors file"),
        (&["models", "verify", "someone/else"], "is not a downloaded model"),
    ] {
        let message = failure(&world.adire(arguments, None));
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    }
    let listed = stdout(&world.adire(&["models", "list"], None));
    assert!(!listed.contains(REPOSITORY), "{listed}");
    drop(world._runtime);
}

#[test]
fn a_single_file_checkpoint_is_downloaded_listed_and_its_missing_parts_are_named() {
    let mut hub = Hub::new();
    hub.files.retain(|name, _| name == UNET);
    let weights = hub.files.remove(UNET).unwrap();
    hub.files.insert("some-model.safetensors".to_owned(), weights);
    let world = World::new(hub);
    let message = stdout(&world.pull());
    let name = format!("{REPOSITORY}/some-model.safetensors");
    assert!(message.starts_with(&format!("Downloaded {name} to ")), "{message}");
    assert!(stdout(&world.adire(&["models", "list"], None)).contains(&format!("{name}  single file  ")));
    let generate = ["generate", "--model", &name, "--prompt", "a", "--out", "a.png"];
    let message = failure(&world.adire(&generate, None));
    assert!(message.contains("is one part of a model in Hugging Face layout"), "{message}");
}

#[test]
fn the_images_of_a_dataset_are_fetched_and_imported() {
    let image = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8, y as u8, 7]));
    let mut png = std::io::Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let list = b"{\"file_name\": \"a.png\", \"text\": \"an indigo cloth\"}\n";
    let files = [
        ("README.md", Bytes::from_static(b"about it")),
        ("train/a.png", Bytes::from(png.into_inner())),
        ("train/metadata.jsonl", Bytes::from_static(list)),
    ];
    let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    let world = World::new(Hub { files, ..Hub::default() });
    let data = world.home.path().join("data");
    let data = data.to_str().unwrap();
    let from = format!("hf:{REPOSITORY}");
    let output = world.adire(&["datasets", "import", "cloth", &from, "--data", data], None);
    assert!(stdout(&output).contains("Imported cloth with 1 images into"), "{output:?}");
    assert!(world.requests("README.md").is_empty(), "only what is needed is fetched");
    let listed = world.adire(&["datasets", "list", "--json", "--data", data], None);
    let listed: serde_json::Value = serde_json::from_str(&stdout(&listed)).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["pictures"]), (&"cloth".into(), &1.into()));

    let unknown = world.adire(&["datasets", "import", "x", "hf:nobody/nothing", "--data", data], None);
    assert!(failure(&unknown).contains("nobody/nothing"));
}

/// A server that is killed when it is dropped.
struct Serving(std::process::Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Status and body of a page.
fn page(address: std::net::SocketAddr, path: &str) -> Option<(u16, String)> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/html\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some((answer.split(' ').nth(1)?.parse().ok()?, answer))
}

#[test]
fn a_server_downloads_its_model_and_shows_how_far_it_is() {
    let world = World::new(Hub::new());
    let length = world.hub.files[UNET].len();
    world.hub.breaks.lock().unwrap().insert(UNET.to_owned(), length / 2);
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let arguments = ["serve", "--model", REPOSITORY, "--pull", "full", "--data", "data", "--addr"];
    let mut serving = world.command(None);
    serving.args(arguments).arg(address.to_string()).stdout(std::process::Stdio::null());
    let _serving = Serving(serving.spawn().unwrap());
    let (mut downloading, mut ready) = (None, false);
    let begun = std::time::Instant::now();
    while !ready && begun.elapsed() < std::time::Duration::from_secs(60) {
        match page(address, "/") {
            Some((200, _)) => ready = true,
            Some((status, text)) => {
                assert_eq!(status, 503, "{text}");
                if text.contains("<progress") {
                    let (_, detail) = page(address, "/readyz").unwrap();
                    downloading = Some((text, detail));
                }
            }
            None => {}
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(ready, "it never became ready");
    let (text, detail) = downloading.expect("no progress was shown");
    assert!(text.contains(&format!("{REPOSITORY} is being downloaded: file ")), "{text}");
    assert!(detail.contains(r#""status":"starting""#), "{detail}");
    let requests = world.requests(UNET);
    assert!(
        requests.len() == 2 && requests[0] == 0 && requests[1] > 0,
        "the download resumes where it broke: {requests:?}"
    );
}

#[test]
fn without_being_told_a_server_downloads_nothing() {
    let world = World::new(Hub::new());
    let message = failure(
        &world.adire(&["serve", "--model", REPOSITORY, "--data", "data", "--addr", "127.0.0.1:0"], None),
    );
    assert!(message.contains(REPOSITORY), "{message}");
    assert!(world.requests(UNET).is_empty());
}
