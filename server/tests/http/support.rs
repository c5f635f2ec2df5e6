//! A server in a temporary folder, and answers that are easy to look at.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use adire_server::{Access, AccessSettings, AdminAuth, AppState, Front, Shutdown, Site, Starting, router};
use adire_studio::{
    Caps, NewAdapter, Studio, StudioConfig,
    fake::{ADAPTER_MAGIC, FakeBackend},
};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, HeaderValue, Request, StatusCode, header},
};
use futures::StreamExt;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

/// Nothing here takes longer unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) router: Router,
    pub(crate) studio: Studio,
    pub(crate) auth: Arc<AdminAuth>,
    pub(crate) shutdown: Shutdown,
    pub(crate) steps_done: Arc<AtomicU64>,
    pub(crate) folder: TempDir,
}

impl Server {
    /// One whose images take no time.
    pub(crate) async fn start() -> Self {
        Self::with(Duration::ZERO, 32).await
    }

    /// One whose steps take a while, or with a short queue.
    pub(crate) async fn with(step_delay: Duration, queue_capacity: usize) -> Self {
        // Most tests of admin pages are about what they do, not about who may come in.
        let settings = AccessSettings { open_admin: true, ..AccessSettings::default() };
        Self::behind(step_delay, queue_capacity, settings).await
    }

    /// One that trusts proxies, say.
    pub(crate) async fn behind(
        step_delay: Duration,
        queue_capacity: usize,
        settings: AccessSettings,
    ) -> Self {
        Self::open(step_delay, settings, |config| StudioConfig { queue_capacity, ..config }).await
    }

    /// One with other limits.
    pub(crate) async fn with_caps(caps: Caps) -> Self {
        let change = |config| StudioConfig { caps, ..config };
        Self::open(Duration::ZERO, AccessSettings::default(), change).await
    }

    async fn open(
        step_delay: Duration,
        settings: AccessSettings,
        change: impl FnOnce(StudioConfig) -> StudioConfig,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = FakeBackend::new(step_delay);
        let steps_done = backend.steps_done.clone();
        let import_from = vec![folder.path().to_owned()];
        let config = change(StudioConfig { import_from, ..StudioConfig::new(folder.path().join("data")) });
        let studio = Studio::open(config, move || Ok(backend)).await.unwrap();
        let site = folder.path().join("site");
        std::fs::create_dir_all(site.join("pkg")).unwrap();
        for (name, text) in [
            ("favicon.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>"),
            ("pkg/adire.js", "export default () => {};"),
            ("pkg/adire.js.br", "pretend brotli"),
            ("pkg/adire_bg.wasm", "\0asm"),
        ] {
            std::fs::write(site.join(name), text).unwrap();
        }
        let shutdown = Shutdown::default();
        let auth = Arc::new(AdminAuth::open(&folder.path().join("data"), None).unwrap());
        let site = Arc::new(Site::read(&site).unwrap());
        let access = Arc::new(Access::open(&folder.path().join("data"), settings).unwrap());
        let front = Front {
            site,
            auth: auth.clone(),
            access,
            exports: folder.path().join("exports"),
            model: Arc::default(),
            starting: Starting::default(),
        };
        let state = AppState::new(studio.clone(), front, shutdown.clone());
        Self { router: router(state).unwrap(), studio, auth, shutdown, steps_done, folder }
    }

    /// Adds `name@version` with its own content.
    pub(crate) async fn adapter(&self, name: &str, version: u32) {
        let path = self.folder.path().join(format!("{name}-{version}.safetensors"));
        std::fs::write(&path, [ADAPTER_MAGIC, name.as_bytes(), &version.to_le_bytes()].concat()).unwrap();
        let new = NewAdapter {
            name: name.to_owned(),
            version: Some(version),
            path,
            description: "A style.".to_owned(),
            trigger: "in some style".to_owned(),
            strict: false,
        };
        self.studio.add_adapter(new).await.unwrap();
    }

    /// Sends a request; from this machine, unless it says that it comes from elsewhere.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Answer {
        let here = SocketAddr::from(([127, 0, 0, 1], 40_000));
        request.extensions_mut().get_or_insert_with(|| ConnectInfo(here));
        request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body =
            tokio::time::timeout(PATIENCE, to_bytes(body, usize::MAX)).await.expect("the body ends").unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, json: &str) -> Answer {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(json.to_owned().into()).unwrap()).await
    }

    /// With any method and a body of JSON.
    pub(crate) async fn request(&self, method: &str, path: &str, json: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(json.to_owned().into()).unwrap()).await
    }

    /// Asks for images and returns the id.
    pub(crate) async fn submit(&self, json: &str) -> String {
        let answer = self.post("/api/v1/generations", json).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Follows a generation to its end and returns its record.
    pub(crate) async fn finished(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/generations/{id}/events")).await;
        self.get(&format!("/api/v1/generations/{id}")).await.json()
    }

    /// Opens the event stream of a generation.
    pub(crate) async fn follow(&self, id: &str) -> Follower {
        let request = Request::get(format!("/api/v1/generations/{id}/events")).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Follower { body: response.into_body().into_data_stream(), text: String::new() }
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body of an error answer, after checking that it is one in every respect.
    pub(crate) fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.ends_with('.')), "{problem}");
        problem
    }

    /// The events of a whole stream.
    pub(crate) fn events(&self) -> Vec<Event> {
        parse(&self.text())
    }
}

/// One server-sent event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) data: Value,
}

fn parse(text: &str) -> Vec<Event> {
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
    };
    text.split_inclusive("\n\n")
        .filter(|block| block.ends_with("\n\n"))
        .filter_map(|block| {
            let (id, name) = (field(block, "id")?.parse().unwrap(), field(block, "event")?);
            Some(Event { id, name, data: serde_json::from_str(&field(block, "data")?).unwrap() })
        })
        .collect()
}

/// An open event stream.
pub(crate) struct Follower {
    body: axum::body::BodyDataStream,
    text: String,
}

impl Follower {
    /// Reads on until an event of this name has come; returns all events so far.
    pub(crate) async fn until(&mut self, name: &str) -> Vec<Event> {
        loop {
            let events = parse(&self.text);
            if events.iter().any(|event| event.name == name) {
                return events;
            }
            assert!(self.read().await, "the stream ended without {name}: {}", self.text);
        }
    }

    /// Reads on to the end; returns all events.
    pub(crate) async fn finish(mut self) -> Vec<Event> {
        while self.read().await {}
        parse(&self.text)
    }

    async fn read(&mut self) -> bool {
        let chunk =
            tokio::time::timeout(PATIENCE, self.body.next()).await.expect("the stream continues or ends");
        let Some(chunk) = chunk else { return false };
        self.text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        true
    }
}
