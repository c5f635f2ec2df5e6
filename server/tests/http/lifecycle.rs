//! A whole server on a real port: starting, ready, shutting down.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use adire_server::{Access, AccessSettings, AdminAuth, Front, Shutdown, Site, Starting, Timeouts, serve};
use adire_studio::{Studio, StudioConfig, fake::FakeBackend};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use crate::support::PATIENCE;

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    load: Option<oneshot::Sender<()>>,
    ready: oneshot::Receiver<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

fn front(data: &Path) -> Front {
    Front {
        site: Arc::new(Site::default()),
        auth: Arc::new(AdminAuth::open(data, None).unwrap()),
        access: Arc::new(Access::open(data, AccessSettings::default()).unwrap()),
        exports: data.join("exports"),
        model: Arc::default(),
        starting: Starting::default(),
    }
}

/// A server on a free port whose model loads on demand.
async fn start(data: PathBuf) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::default();
    let front = front(&data);
    let ((load, wait), (tell, ready)) = (oneshot::channel(), oneshot::channel());
    let open = async move {
        wait.await?;
        let backend = FakeBackend::new(Duration::from_millis(30));
        Ok(Studio::open(StudioConfig::new(data), move || Ok(backend)).await?)
    };
    let timeouts = Timeouts { head: Duration::from_millis(300), ..Timeouts::default() };
    let serving = serve(listener, front, open, shutdown.clone(), timeouts, |_| {
        let _ = tell.send(());
    });
    Running { address, shutdown, load: Some(load), ready, task: tokio::spawn(serving) }
}

impl Running {
    async fn load(&mut self) {
        self.load.take().unwrap().send(()).unwrap();
        tokio::time::timeout(PATIENCE, &mut self.ready).await.unwrap().unwrap();
    }

    async fn connect(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// One request on its own connection; returns the whole answer.
    async fn ask(&self, head: &str, body: &str) -> String {
        let length = body.len();
        let request = format!(
            "{head}\r\nHost: {}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}",
            self.address
        );
        let mut answer = String::new();
        self.connect(&request).await.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(&self, path: &str, accept: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nAccept: {accept}"), "").await
    }

    async fn end(self) -> anyhow::Result<()> {
        self.shutdown.start();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends in time").unwrap()
    }
}

#[tokio::test]
async fn it_answers_while_the_model_loads() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path().join("data")).await;
    assert!(server.get("/healthz", "*/*").await.starts_with("HTTP/1.1 200"));
    let ready = server.get("/readyz", "*/*").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("The model is loading."), "{ready}");
    let page = server.get("/", "text/html").await;
    assert!(page.starts_with("HTTP/1.1 503") && page.contains("http-equiv=\"refresh\""), "{page}");
    let api = server.get("/api/v1/model", "*/*").await;
    assert!(api.contains("application/problem+json") && api.contains("retry-after: 1"), "{api}");

    server.load().await;
    assert!(server.get("/readyz", "*/*").await.starts_with("HTTP/1.1 200"));
    assert!(server.get("/api/v1/model", "*/*").await.contains("\"name\":\"fake\""));
    server.end().await.unwrap();
}

#[tokio::test]
async fn it_can_be_stopped_while_the_model_loads() {
    let folder = tempfile::tempdir().unwrap();
    start(folder.path().join("data")).await.end().await.unwrap();
}

#[tokio::test]
async fn who_never_ends_a_request_does_not_keep_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path().join("data")).await;
    for begun in ["", "GET / HTTP/1.1\r\nHost: a", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /hea"] {
        let mut answer = Vec::new();
        server.connect(begun).await.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(answer.starts_with("HTTP/1.1 200"), begun.starts_with("GET /healthz"), "{answer}");
    }
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_ends_the_server_with_its_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = async { anyhow::bail!("unet/config.json is missing") };
    let folder = tempfile::tempdir().unwrap();
    let (front, shutdown) = (front(folder.path()), Shutdown::default());
    let error = serve(listener, front, open, shutdown, Timeouts::default(), |_| ()).await.unwrap_err();
    assert_eq!(error.to_string(), "unet/config.json is missing");
}

#[tokio::test]
async fn a_shutdown_ends_open_streams_and_the_job_resumes_after_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = start(data.clone()).await;
    server.load().await;
    let head = "POST /api/v1/generations HTTP/1.1\r\nContent-Type: application/json";
    let answer = server.ask(head, r#"{"prompt": "moons", "steps": 20}"#).await;
    let id = answer.split_once("\"id\":\"").unwrap().1[..36].to_owned();

    let request = format!("GET /api/v1/generations/{id}/events HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut stream = server.connect(&request).await;
    let mut seen = String::new();
    while !seen.contains("event: progress") {
        let mut part = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut part)).await.unwrap().unwrap();
        assert!(read > 0, "the stream ended early: {seen}");
        seen.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    let begin = Instant::now();
    server.end().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    stream.read_to_string(&mut seen).await.unwrap();
    assert!(!seen.contains("event: done"), "{seen}");

    let mut server = start(data).await;
    server.load().await;
    let events = server.ask(&format!("GET /api/v1/generations/{id}/events HTTP/1.1"), "").await;
    assert!(events.contains("event: done"), "{events}");
    server.end().await.unwrap();
}
