//! What strangers on the network can try, against a server on a real port. Each address of 127.0.0.0/8 is a network of
//! its own, so one process can be many clients.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use adire_server::{
    Access, AccessSettings, AdminAuth, ConnectionLimits, Front, Shutdown, Site, Starting, Timeouts, serve,
};
use adire_studio::{Studio, StudioConfig, fake::FakeBackend};
use image::{ImageFormat, RgbImage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinSet,
};

use crate::support::PATIENCE;

const ATTACKER: [u8; 4] = [127, 0, 0, 1];
const HONEST: [u8; 4] = [127, 0, 0, 2];

struct Target {
    address: SocketAddr,
    shutdown: Shutdown,
    _folder: tempfile::TempDir,
}

impl Target {
    async fn start(connections: ConnectionLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = AccessSettings { on_loopback: true, ..AccessSettings::default() };
        let front = Front {
            site: Arc::new(Site::default()),
            auth: Arc::new(AdminAuth::open(&data, None).unwrap()),
            access: Arc::new(Access::open(&data, settings).unwrap()),
            exports: data.join("exports"),
            model: Arc::default(),
            starting: Starting::default(),
        };
        let open = async move {
            let backend = FakeBackend::new(Duration::from_millis(50));
            Ok(Studio::open(StudioConfig::new(data), move || Ok(backend)).await?)
        };
        let (tell, ready) = oneshot::channel();
        let timeouts = Timeouts { connections, ..Timeouts::default() };
        let shutdown = Shutdown::default();
        tokio::spawn(serve(listener, front, open, shutdown.clone(), timeouts, |_| {
            let _ = tell.send(());
        }));
        tokio::time::timeout(PATIENCE, ready).await.unwrap().unwrap();
        Self { address, shutdown, _folder: folder }
    }

    /// A connection from an address.
    async fn connect(&self, from: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        // What a client does not take must not fit into its own buffers.
        socket.set_recv_buffer_size(8 << 10).unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        tokio::time::timeout(PATIENCE, socket.connect(self.address)).await.unwrap().unwrap()
    }

    /// One request on a connection of its own; the whole answer.
    async fn ask(&self, from: [u8; 4], head: &str, body: &[u8]) -> String {
        let mut stream = self.connect(from).await;
        let (host, length) = (self.address, body.len());
        let head = format!("{head}\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        let mut answer = Vec::new();
        let exchange = async {
            // A server that has refused may stop reading.
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(body).await;
            let _ = stream.read_to_end(&mut answer).await;
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time");
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn submit(&self, from: [u8; 4], cookie: &str) -> String {
        let head = format!(
            "POST /api/v1/generations HTTP/1.1\r\nContent-Type: application/json\r\nCookie: adire_visitor={cookie}"
        );
        self.ask(from, &head, br#"{"prompt": "moons", "steps": 100}"#).await
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.shutdown.start();
    }
}

/// Pixels that no encoder makes small.
fn noise(side: u32) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let image = RgbImage::from_fn(side, side, |_, _| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [r, g, b, ..] = state.to_le_bytes();
        image::Rgb([r, g, b])
    });
    let mut png = std::io::Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png).unwrap();
    png.into_inner()
}

/// Uploads it and returns its address.
async fn uploaded(target: &Target, png: &[u8]) -> String {
    let answer = target.ask(HONEST, "POST /api/v1/uploads HTTP/1.1", png).await;
    let hash = answer.split_once("\"hash\":\"").unwrap_or_else(|| panic!("{answer}")).1[..64].to_owned();
    format!("/api/v1/images/{hash}.png")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_visitor_is_served_beside_an_attacker() {
    // Both ends of every connection are in this process.
    let files = rlimit::increase_nofile_limit(8192).unwrap();
    let target = Arc::new(Target::start(ConnectionLimits::for_files(files / 2)).await);
    let large = uploaded(&target, &noise(1500)).await;

    let mut held = Vec::new();
    for _ in 0..1100 {
        held.push(target.connect(ATTACKER).await);
    }
    for _ in 0..20 {
        let mut reader = target.connect([127, 0, 0, 3]).await;
        let request = format!("GET {large} HTTP/1.1\r\nHost: {}\r\n\r\n", target.address);
        reader.write_all(request.as_bytes()).await.unwrap();
        held.push(reader);
    }
    for number in 0..40 {
        let id = format!("0b9f1a52-7d0e-4b0a-9d2c-1f2e3d4c5b{number:02}");
        let answer = target.submit([127, 0, 0, 4], &id).await;
        assert!(!answer.starts_with("HTTP/1.1 5") || answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    let mut uploads = JoinSet::new();
    let small = noise(256);
    for _ in 0..30 {
        let (target, small) = (target.clone(), small.clone());
        uploads
            .spawn(async move { target.ask([127, 0, 0, 5], "POST /api/v1/uploads HTTP/1.1", &small).await });
    }

    let page = target.ask(HONEST, "GET / HTTP/1.1\r\nAccept: text/html", b"").await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let place = target.submit(HONEST, "").await;
    assert!(place.starts_with("HTTP/1.1 202"), "{place}");
    while let Some(answer) = uploads.join_next().await {
        let answer = answer.unwrap();
        assert!(!answer.is_empty() && !answer.starts_with("HTTP/1.1 500"), "{answer}");
    }
    drop(held);
}

#[tokio::test]
async fn connections_over_the_limit_get_503_and_are_closed() {
    let limits = ConnectionLimits { in_all: 40, per_network: 10, stall: Duration::from_secs(30) };
    let target = Target::start(limits).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut stream = target.connect(ATTACKER).await;
        stream
            .write_all(format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", target.address).as_bytes())
            .await
            .unwrap();
        let mut first = [0; 12];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut first)).await.unwrap().unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        held.push(stream);
    }
    let mut over = target.connect(ATTACKER).await;
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, over.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: "), "{head}");
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["status"], 503);
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head} for {}", body.len());
    assert!(target.ask(HONEST, "GET /healthz HTTP/1.1", b"").await.starts_with("HTTP/1.1 200"));
    // Places are given back.
    drop(held);
    let mut tries = 0;
    while !target.ask(ATTACKER, "GET /healthz HTTP/1.1", b"").await.starts_with("HTTP/1.1 200") {
        tries += 1;
        assert!(tries < 200, "no place became free");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let stall = Duration::from_millis(200);
    let target = Target::start(ConnectionLimits { stall, ..ConnectionLimits::default() }).await;
    let png = noise(2000);
    let address = uploaded(&target, &png).await;
    let request = format!("GET {address} HTTP/1.1\r\nHost: {}\r\n\r\n", target.address);
    // How soon the system's buffers are full is the machine's affair; a pause that is long enough shows it.
    for seconds in [1, 4, 15] {
        let mut reader = target.connect(ATTACKER).await;
        reader.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let mut taken = Vec::new();
        // What was on its way arrives; then it ends, in order or not.
        let _ = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut taken)).await.expect("it ends");
        let whole = String::from_utf8_lossy(&taken[..taken.len().min(2000)]).into_owned();
        let length = whole.split_once("content-length: ").unwrap().1;
        let length: usize = length.split_once("\r\n").unwrap().0.parse().unwrap();
        if taken.len() < length {
            return;
        }
    }
    panic!("it was never cut off");
}

#[tokio::test]
async fn requests_that_servers_have_stumbled_over() {
    let target = Target::start(ConnectionLimits::default()).await;
    let long = "a".repeat(500_000);
    let header =
        |name: &str| format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{name}Connection: close\r\n\r\n");
    for (sent, allowed) in [
        // Without TLS there is no HTTP/2, so none of what can be held open by it.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0".to_owned(), &[400, 0][..]),
        ("GET /admin HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n".to_owned(), &[421, 400]),
        ("GET /admin HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), &[421, 400]),
        ("GET http://evil.example/admin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), &[421]),
        ("GET http://localhost/admin HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".to_owned(), &[421]),
        ("GET /admin HTTP/1.0\r\n\r\n".to_owned(), &[421]),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), &[421, 400]),
        ("GET /admin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), &[403]),
        ("CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), &[400, 404, 405, 421]),
        ("TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), &[405]),
        ("GET /a\rb HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), &[400]),
        ("POST /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x".to_owned(), &[400]),
        ("POST /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".to_owned(), &[400]),
        (header(&format!("X: {long}\r\n")), &[431]),
        (format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), &[414, 431]),
        (header(&(0..200).map(|it| format!("X{it}: a\r\n")).collect::<String>()), &[431]),
        (header(""), &[200]),
    ] {
        let mut stream = target.connect(ATTACKER).await;
        // It may have answered before it has all of it.
        let _ = stream.write_all(sent.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it ends");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status: u16 = answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
        let shown: String = sent.chars().take(120).collect();
        // 0: closed without a word, or the answer was lost with what was still on its way.
        assert!(allowed.contains(&status) || (sent.len() > 1000 && status == 0), "{status} for {shown:?}");
    }
}
