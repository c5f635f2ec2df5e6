//! A Hub that keeps large files at another host: who gets the token, and where redirects lead.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use sha1::Digest as _;

use super::{COMMIT, UNET, failure, golden, stdout};

const TOKEN: &str = "hf_SECRET_TOKEN_123";
const PRESENT: &str = "new-org/new-name";
const FORMER: &str = "old-org/old-name";

/// What the Hub does, beside keeping `.safetensors` at the other host.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Hub {
    #[default]
    Open,
    /// Asks for the token; the other host refuses a request that brings one, as S3 does.
    Gated,
    /// The same, but the other host does not look at it.
    GatedTolerant,
    /// Sends everybody on to the other host for good.
    Mirror,
    /// The same; the other host asks for a token.
    GatedMirror,
    /// Redirects to itself without an end: by path, or by a full address.
    Circle { relative: bool },
    /// Answers everything with this status.
    Status(u16),
    /// The other host answers with this status.
    FilesStatus(u16),
    /// The other host sends the way back to the Hub.
    ThereAndBack,
}

/// One request as it came in.
#[derive(Clone, Debug)]
struct Seen {
    is_hub: bool,
    method: Method,
    path: String,
    token: Option<String>,
}

struct Shared {
    hub: Hub,
    files: BTreeMap<String, Bytes>,
    /// Addresses of the Hub and of the other host.
    hosts: [String; 2],
    seen: Mutex<Vec<Seen>>,
}

impl Shared {
    fn etag(&self, name: &str) -> String {
        let bytes = &self.files[name];
        if name.ends_with(".safetensors") {
            return hex::encode(sha2::Sha256::digest(bytes));
        }
        hex::encode(
            sha1::Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize(),
        )
    }

    fn content(&self, name: &str) -> Response {
        let Some(bytes) = self.files.get(name) else {
            return (StatusCode::NOT_FOUND, [("x-error-code", "EntryNotFound")]).into_response();
        };
        ([(header::ETAG, format!("\"{}\"", self.etag(name)))], bytes.clone()).into_response()
    }
}

fn redirect(status: u16, location: &str) -> Response {
    (StatusCode::from_u16(status).unwrap(), [(header::LOCATION, location.to_owned())]).into_response()
}

async fn answer(State((shared, is_hub)): State<(Arc<Shared>, bool)>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let token = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    let method = request.method().clone();
    shared.seen.lock().unwrap().push(Seen { is_hub, method, path: path.clone(), token: token.clone() });
    let authed = token.as_deref() == Some(format!("Bearer {TOKEN}").as_str());
    let [hub, other] = &shared.hosts;
    if !is_hub && path.starts_with("/cdn/") {
        return match shared.hub {
            Hub::FilesStatus(status) => StatusCode::from_u16(status).unwrap().into_response(),
            Hub::ThereAndBack => redirect(302, &format!("{hub}/home{path}")),
            Hub::GatedTolerant => shared.content(&path[5..]),
            _ if token.is_some() => {
                (StatusCode::BAD_REQUEST, "Only one auth mechanism allowed").into_response()
            }
            _ => shared.content(&path[5..]),
        };
    }
    match shared.hub {
        Hub::Mirror | Hub::GatedMirror if is_hub => return redirect(308, &format!("{other}{path}")),
        Hub::Circle { relative: true } => return redirect(302, &path),
        Hub::Circle { relative: false } => return redirect(302, &format!("{hub}{path}")),
        Hub::Status(429) => {
            return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "30")]).into_response();
        }
        Hub::Status(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Hub::Gated | Hub::GatedTolerant | Hub::GatedMirror if !authed => {
            return (StatusCode::UNAUTHORIZED, [("x-error-code", "GatedRepo")]).into_response();
        }
        _ => {}
    }
    if let Some(name) = path.strip_prefix("/home/cdn/") {
        return shared.content(name);
    }
    if path.contains(FORMER) {
        let present = path.replace(FORMER, PRESENT);
        // Both forms of a redirect are met.
        let full = if path.starts_with("/api/") { present } else { format!("{hub}{present}") };
        return redirect(307, &full);
    }
    if path.starts_with(&format!("/api/models/{PRESENT}")) {
        let siblings: Vec<_> =
            shared.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
        let info = serde_json::json!({ "id": PRESENT, "sha": COMMIT, "siblings": siblings });
        return ([(header::CONTENT_TYPE, "application/json")], info.to_string()).into_response();
    }
    let Some(name) = path.strip_prefix(&format!("/{PRESENT}/resolve/{COMMIT}/")) else {
        return (StatusCode::NOT_FOUND, [("x-error-code", "RepoNotFound")]).into_response();
    };
    if !name.ends_with(".safetensors") || shared.hub == Hub::Mirror {
        return shared.content(name);
    }
    Response::builder()
        .status(StatusCode::FOUND)
        .header(header::LOCATION, format!("{other}/cdn/{name}"))
        .header("x-repo-commit", COMMIT)
        .header("x-linked-etag", format!("\"{}\"", shared.etag(name)))
        .header("x-linked-size", shared.files[name].len())
        .body(Body::empty())
        .unwrap()
}

/// Two running servers at two hosts, and a cache.
struct World {
    shared: Arc<Shared>,
    home: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    fn new(hub: Hub) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listen = || runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let listeners = [listen(), listen()];
        let [first, second] = [&listeners[0], &listeners[1]].map(|one| one.local_addr().unwrap().port());
        let mut files = BTreeMap::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(golden("pipeline").join(&folder)).unwrap() {
                let entry = entry.unwrap();
                let name = folder.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    folders.push(name);
                } else {
                    files.insert(
                        name.to_str().unwrap().to_owned(),
                        std::fs::read(entry.path()).unwrap().into(),
                    );
                }
            }
        }
        let hosts = [format!("http://127.0.0.1:{first}"), format!("http://localhost:{second}")];
        let shared = Arc::new(Shared { hub, files, hosts, seen: Mutex::default() });
        for (listener, is_hub) in listeners.into_iter().zip([true, false]) {
            let router = Router::new().fallback(answer).with_state((Arc::clone(&shared), is_hub));
            runtime.spawn(async move { axum::serve(listener, router).await });
        }
        Self { shared, home: tempfile::tempdir().unwrap(), _runtime: runtime }
    }

    fn pull(&self, repository: &str, token: bool) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adire"));
        for name in ["HF_TOKEN", "HF_HUB_CACHE", "http_proxy", "HTTP_PROXY"] {
            command.env_remove(name);
        }
        command
            .env("HF_ENDPOINT", &self.shared.hosts[0])
            .env("HF_HOME", self.home.path())
            .env("NO_PROXY", "127.0.0.1,localhost")
            .envs(token.then_some(("HF_TOKEN", TOKEN)))
            .args(["models", "pull", repository])
            .output()
            .unwrap()
    }

    /// Whether the files are in the cache, under the requested name.
    fn has(&self, repository: &str) -> bool {
        let folder = format!("hub/models--{}/snapshots/{COMMIT}", repository.replace('/', "--"));
        let folder = self.home.path().join(folder);
        let same =
            |name: &str| std::fs::read(folder.join(name)).is_ok_and(|bytes| bytes == self.shared.files[name]);
        [UNET, "vae/config.json", "text_encoder/model.safetensors"].into_iter().all(same)
    }

    /// What came to the Hub, and to the other host; nothing but the Hub may have seen the token.
    fn seen(&self) -> (Vec<Seen>, Vec<Seen>) {
        let (hub, other): (Vec<_>, Vec<_>) =
            self.shared.seen.lock().unwrap().clone().into_iter().partition(|seen| seen.is_hub);
        let leaked: Vec<_> = other.iter().filter(|seen| seen.token.is_some()).collect();
        assert!(leaked.is_empty(), "{:?}: {leaked:?}", self.shared.hub);
        (hub, other)
    }
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    for hub in [Hub::Open, Hub::Gated, Hub::GatedTolerant] {
        for repository in [PRESENT, FORMER] {
            let world = World::new(hub);
            let output = world.pull(repository, true);
            stdout(&output);
            assert!(world.has(repository), "{hub:?} {repository}");
            let renamed = String::from_utf8_lossy(&output.stderr).contains("is now called new-org/new-name");
            assert_eq!(renamed, repository == FORMER);
            let (to_hub, to_other) = world.seen();
            assert!(to_hub.iter().all(|seen| seen.token.is_some()), "{to_hub:?}");
            // The other host gets one request per file that it has.
            assert!(to_other.iter().all(|seen| seen.method == Method::GET), "{to_other:?}");
            let paths: Vec<&str> = to_other.iter().map(|seen| seen.path.as_str()).collect();
            assert_eq!(paths.iter().filter(|path| path.ends_with(UNET)).count(), 1, "{paths:?}");
            assert!(paths.iter().all(|path| path.ends_with(".safetensors")), "{paths:?}");
        }
        let world = World::new(hub);
        let output = world.pull(FORMER, false);
        if hub == Hub::Open {
            stdout(&output);
            assert!(world.has(FORMER));
        } else {
            let message = failure(&output);
            assert!(message.contains("it is gated") && message.contains("HF_TOKEN"), "{message}");
        }
    }
}

#[test]
fn a_hub_that_redirects_for_good_is_followed_without_the_token() {
    for token in [true, false] {
        let world = World::new(Hub::Mirror);
        stdout(&world.pull(PRESENT, token));
        assert!(world.has(PRESENT));
        world.seen();
    }
    // Where it asks for a token, both hosts are named, and what to do.
    let world = World::new(Hub::GatedMirror);
    let message = failure(&world.pull(PRESENT, true));
    let [hub, other] = &world.shared.hosts;
    assert!(message.contains(&format!("{hub} redirects to {other}, which requires a token")), "{message}");
    assert!(message.contains("set HF_ENDPOINT"), "{message}");
    world.seen();
}

#[test]
fn the_token_stays_away_from_a_way_that_another_host_sends_back() {
    let world = World::new(Hub::ThereAndBack);
    stdout(&world.pull(PRESENT, true));
    assert!(world.has(PRESENT));
    let (to_hub, _) = world.seen();
    let back: Vec<_> = to_hub.iter().filter(|seen| seen.path.starts_with("/home/")).collect();
    assert!(!back.is_empty() && back.iter().all(|seen| seen.token.is_none()), "{back:?}");
}

#[test]
fn redirects_end() {
    for relative in [true, false] {
        let world = World::new(Hub::Circle { relative });
        let message = failure(&world.pull(PRESENT, true));
        assert!(message.contains("redirects more than 10 times"), "{message}");
        assert_eq!(world.seen().0.len(), 11);
    }
}

#[test]
fn server_errors_of_the_hub_differ_from_refusals() {
    for (hub, expected, requests) in [
        (Hub::Status(429), "is rate limiting (status 429); try again in 30 s, or set HF_TOKEN", 1),
        (Hub::Status(503), "returned status 503; try again later", 1),
        (Hub::Status(418), "refused the request for new-org/new-name with status 418", 1),
        (Hub::FilesStatus(403), "which requires a token for new-org/new-name", 1),
        (Hub::FilesStatus(429), "is rate limiting (status 429); try again later", 1),
        (Hub::FilesStatus(500), "returned status 500", 2),
    ] {
        let world = World::new(hub);
        let message = failure(&world.pull(PRESENT, false));
        assert!(message.contains(expected), "{hub:?}: {message}");
        assert_eq!(
            message.trim_end().lines().last(),
            message.trim_end().lines().find(|l| l.contains(expected))
        );
        let (to_hub, to_other) = world.seen();
        let asked = if matches!(hub, Hub::FilesStatus(_)) { to_other.len() } else { to_hub.len() };
        assert_eq!(asked, requests, "{hub:?}");
    }
    let world = World::new(Hub::Open);
    let revision = Command::new(env!("CARGO_BIN_EXE_adire"))
        .env("HF_ENDPOINT", &world.shared.hosts[0])
        .env("HF_HOME", world.home.path())
        .args(["models", "pull", PRESENT, "--revision", "../../../x"])
        .output()
        .unwrap();
    assert!(failure(&revision).contains("is not a revision"));
    for endpoint in ["huggingface.co", "file:///etc"] {
        let output = Command::new(env!("CARGO_BIN_EXE_adire"))
            .env("HF_ENDPOINT", endpoint)
            .env("HF_HOME", world.home.path())
            .args(["models", "pull", PRESENT])
            .output()
            .unwrap();
        assert!(failure(&output).contains("HF_ENDPOINT must be an address"));
    }
}
