//! Blobs in a bucket, on PyPI's moto: a server that this program starts and that ends with it. `cargo xtask test s3`
//! runs these; they are ignored otherwise.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use adire_protocol::GenerationState;

use super::{
    blobs::{damage, read_back},
    *,
};
use crate::{BlobPlace, Bucket, ImageUse, NewAdapter, Pixels, blobs::Blobs, png::encode_bare};

/// The server's end is tied to a pipe: when this program ends, however it ends, the shell reads end-of-file.
const RUN: &str = r#"
server=
trap 'if [ -n "$server" ]; then kill $server 2>/dev/null; fi' EXIT
"$1" -m moto.server -H 127.0.0.1 -p "$2" >/dev/null 2>&1 </dev/null &
server=$!
echo started
cat >/dev/null
"#;

struct Server {
    port: u16,
    /// Held so that the shell keeps waiting.
    _shell: Child,
    _pipe: ChildStdin,
}

/// Never dropped: the pipe ends the server.
static SERVER: OnceLock<Server> = OnceLock::new();

impl Server {
    fn start() -> Self {
        use std::os::unix::process::CommandExt;
        let python = std::env::var_os("ADIRE_MOTO_PYTHON").unwrap_or_else(|| "python3".into());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut shell = Command::new("/bin/sh")
            .args(["-c", RUN, "adire-moto"])
            .args([&python, &port.to_string().into()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in a terminal goes to the tests only.
            .process_group(0)
            .spawn()
            .unwrap();
        let pipe = shell.stdin.take().unwrap();
        let first = BufReader::new(shell.stdout.take().unwrap()).lines().next();
        assert_eq!(first.and_then(Result::ok).as_deref(), Some("started"), "moto did not start");
        let server = Self { port, _shell: shell, _pipe: pipe };
        let since = Instant::now();
        while server.ask("PUT", "/adire", b"").is_none_or(|answer| !answer.starts_with("HTTP/1.1 200")) {
            assert!(
                since.elapsed() < Duration::from_secs(60),
                "moto did not answer: pip install 'moto[server]'"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// One request without a signature, which moto does not ask for.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: moto\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    }
}

fn server() -> &'static Server {
    SERVER.get_or_init(Server::start)
}

/// Of the environment.
type Variables = Vec<(String, String)>;

fn variables(port: u16) -> Variables {
    let endpoint = format!("http://127.0.0.1:{port}");
    [
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "y"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ENDPOINT_URL", &endpoint),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

/// A prefix of its own in the bucket.
fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("some/prefix-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn place(prefix: &str, cache: u64) -> BlobPlace {
    let bucket = Bucket::new(&format!("s3://adire/{prefix}"), variables(server().port)).unwrap();
    BlobPlace { bucket: Some(bucket), cache: Some(cache) }
}

fn cached(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("blob-cache")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.len() == 64).collect();
    names.sort();
    names
}

/// Empties the cache, as a new machine has it.
fn forget(folder: &Path) {
    std::fs::remove_dir_all(folder.join("blob-cache")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: cargo xtask test s3"]
async fn blobs_of_a_bucket_are_read_whole_in_part_and_as_files() {
    let folder = tempfile::tempdir().unwrap();
    let (prefix, big) = (prefix(), 30_000_000_u32);
    let open = async || Blobs::open(folder.path(), &place(&prefix, 1 << 30)).await.unwrap();
    let blobs = open().await;
    let small = b"a small one".to_vec();
    // Sent in parts.
    let large: Vec<u8> = (0..big).map(|i| (i.wrapping_mul(40_503) >> 7) as u8).collect();
    let hashes = [blobs.put(small.clone()).await.unwrap(), blobs.put(large.clone()).await.unwrap()];
    assert_eq!(blobs.put(small.clone()).await.unwrap(), hashes[0], "twice is once");
    assert_eq!(cached(folder.path()).len(), 2, "what was written is here already");
    for content in [&small, &large] {
        let hash = &hashes[usize::from(content.len() > 100)];
        // From the bucket, and then from the copy.
        forget(folder.path());
        let blobs = open().await;
        for _ in 0..2 {
            let blob = blobs.get(hash).await.unwrap().unwrap();
            assert_eq!((blob.size(), blob.hash()), (content.len() as u64, hash.as_str()));
            assert!(read_back(blob.stream()).await.unwrap() == *content);
            assert_eq!(cached(folder.path()), std::slice::from_ref(hash));
        }
        forget(folder.path());
        let blobs = open().await;
        let part = blobs.get(hash).await.unwrap().unwrap().range(2..9).await.unwrap();
        assert_eq!(read_back(part).await.unwrap(), content[2..9]);
        assert!(std::fs::read(blobs.local(hash).await.unwrap().unwrap()).unwrap() == *content);
    }
    let listed = blobs.list(&hashes[1][..2]).await.unwrap();
    assert!(listed.iter().any(|(hash, changed)| *hash == hashes[1] && *changed > 1_700_000_000_000));
    blobs.remove(&hashes[1]).await.unwrap();
    blobs.remove(&hashes[1]).await.unwrap();
    assert!(
        blobs.get(&hashes[1]).await.unwrap().is_none() && blobs.get(&"0".repeat(64)).await.unwrap().is_none()
    );
    assert!(blobs.claim("mine").await.unwrap() && blobs.claim("mine").await.unwrap());
    assert!(!blobs.claim("another's").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: cargo xtask test s3"]
async fn a_damaged_blob_of_a_bucket_is_an_error_and_never_cached() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = prefix();
    let blobs = Blobs::open(folder.path(), &place(&prefix, 1 << 30)).await.unwrap();
    let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(b"never stored"));
    let path = format!("/adire/{prefix}/{}/{}", &hash[..2], &hash[2..]);
    server().ask("PUT", &path, &vec![7; 300_000]).unwrap();
    damage(&blobs, &hash).await;
    assert!(cached(folder.path()).is_empty());
    assert_eq!(std::fs::read_dir(folder.path().join("blob-cache/incoming")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: cargo xtask test s3"]
async fn a_command_downloads_one_verified_blob_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = prefix();
    let of = |url: &str| Bucket::new(url, variables(server().port)).unwrap();
    let bucket = of(&format!("s3://adire/{prefix}"));
    let to = folder.path().join("copy");
    assert!(!crate::download_blob(&bucket, &"0".repeat(64), &to).await.unwrap());
    let listed = server().ask("GET", &format!("/adire?list-type=2&prefix={prefix}"), b"").unwrap();
    assert!(listed.contains("<KeyCount>0</KeyCount>"), "{listed}");

    let blobs = Blobs::open(folder.path(), &place(&prefix, 1 << 30)).await.unwrap();
    let hash = blobs.put(b"kept in a bucket".to_vec()).await.unwrap();
    assert!(crate::download_blob(&bucket, &hash, &to).await.unwrap());
    assert_eq!(std::fs::read(&to).unwrap(), b"kept in a bucket");

    let other = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(b"never stored"));
    let path = format!("/adire/{prefix}/{}/{}", &other[..2], &other[2..]);
    let put = server().ask("PUT", &path, b"something else").unwrap();
    assert!(put.starts_with("HTTP/1.1 200"), "{put}");
    let damaged = crate::download_blob(&bucket, &other, &to).await.unwrap_err();
    assert!(damaged.to_string().contains("damaged"), "{damaged}");
    let absent = crate::download_blob(&of("s3://absent/x"), &hash, &to).await.unwrap_err();
    assert!(absent.to_string().contains("the bucket does not exist"), "{absent}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: cargo xtask test s3"]
async fn sixteen_at_once_write_one_blob_and_fetch_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = prefix();
    let blobs = Blobs::open(folder.path(), &place(&prefix, 1 << 30)).await.unwrap();
    let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i >> 3) as u8).collect();
    let put = |_| blobs.put(content.clone());
    let hashes = futures::future::try_join_all((0..16).map(put)).await.unwrap();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    forget(folder.path());
    let blobs = Blobs::open(folder.path(), &place(&prefix, 1 << 30)).await.unwrap();
    let files = futures::future::try_join_all((0..16).map(|_| blobs.local(&hashes[0]))).await.unwrap();
    for file in files {
        assert!(std::fs::read(file.unwrap()).unwrap() == content);
    }
    assert_eq!(cached(folder.path()), [hashes[0].clone()]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: cargo xtask test s3"]
async fn a_small_cache_serves_many_and_keeps_what_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path(), &place(&prefix(), 2_100_000)).await.unwrap();
    let mut hashes = Vec::new();
    for shade in 0..4 {
        hashes.push(blobs.put(vec![shade; 1_000_000]).await.unwrap());
    }
    assert_eq!(cached(folder.path()).len(), 2);
    let held = blobs.local(&hashes[0]).await.unwrap().unwrap();
    let mut readers = Vec::new();
    for reader in 0..8 {
        let (blobs, hashes) = (blobs.clone(), hashes.clone());
        readers.push(tokio::spawn(async move {
            for i in 0..12 {
                let which = (reader * 7 + i * 3) % 4;
                let file = blobs.local(&hashes[which]).await.unwrap().unwrap();
                let bytes = tokio::fs::read(&file).await.unwrap();
                assert!(bytes.len() == 1_000_000 && bytes[0] == which as u8);
            }
        }));
    }
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(held.is_file());
    let left = cached(folder.path());
    assert!(left.len() <= 3 && left.contains(&hashes[0]), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: cargo xtask test s3"]
async fn a_bucket_that_cannot_be_used_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = async |url: &str, change: &dyn Fn(&mut Variables)| {
        let mut variables = variables(server().port);
        change(&mut variables);
        let place = BlobPlace { bucket: Some(Bucket::new(url, variables).unwrap()), cache: None };
        let since = Instant::now();
        let error = Blobs::open(folder.path(), &place).await.unwrap_err().to_string();
        assert!(since.elapsed() < Duration::from_secs(30), "{error}");
        assert!(error.contains(url), "{error}");
        error
    };
    let set = |variables: &mut Variables, key: &str, value: &str| {
        variables.retain(|(name, _)| name != key);
        variables.push((key.to_owned(), value.to_owned()));
    };
    let bucket = refusal("s3://nowhere/a", &|_| {}).await;
    assert!(bucket.contains("the bucket does not exist"), "{bucket}");
    let refused = refusal("s3://adire/a", &|v| set(v, "AWS_ENDPOINT_URL", "http://127.0.0.1:9")).await;
    assert!(refused.contains("http://127.0.0.1:9 cannot be reached: Connection refused"), "{refused}");
    let plain = refusal("s3://adire/a", &|v| v.retain(|(key, _)| key != "AWS_ALLOW_HTTP")).await;
    assert!(plain.contains("AWS_ALLOW_HTTP=true"), "{plain}");
    let without_key = |v: &mut Variables| {
        v.retain(|(key, _)| !key.contains("KEY"));
        set(v, "AWS_METADATA_ENDPOINT", "http://127.0.0.1:9");
    };
    let no_key = refusal("s3://adire/a", &without_key).await;
    assert!(no_key.contains("Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{no_key}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: cargo xtask test s3"]
async fn a_studio_on_a_bucket_generates_serves_deletes_and_starts_again_elsewhere() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let blobs = place(&prefix(), 1 << 30);
    let open = async |folder: &Path| {
        let config = StudioConfig { blobs: blobs.clone(), ..StudioConfig::new(folder) };
        Studio::open(config, || Ok(FakeBackend::default())).await.unwrap()
    };
    let studio = open(folder.path()).await;
    let me = who("me");
    let pixels = Pixels { width: 64, height: 64, rgb: vec![9; 3 * 64 * 64] };
    let file = coming(encode_bare(&pixels).unwrap());
    let init = studio.upload(file, ImageUse::Colours, &me).await.unwrap().hash;
    let versions = adapters::three_versions(&studio, folder.path()).await;
    let wanted = |seed| GenerationRequest {
        init_image: Some(init.clone()),
        adapters: vec![adire_protocol::AdapterUse::new("adire@v2", 1.0)],
        seed: Some(seed),
        ..request("moons")
    };
    let generation = finished(&studio, &studio.submit(wanted(1), &me).await.unwrap().id).await;
    assert_eq!(generation.state, GenerationState::Done, "{:?}", generation.error);
    let gone = finished(&studio, &studio.submit(wanted(2), &me).await.unwrap().id).await;
    let image = studio.image(&generation.images[0].hash).await.unwrap();
    let dataset = datasets::dataset(&studio, "cloth", 3).await;
    studio.delete_generation(&gone.id, By::Client(&me)).await.unwrap();
    assert!(studio.image(&gone.images[0].hash).await.is_err());
    assert!(!folder.path().join("blobs").join(&init[..2]).exists(), "nothing is in the folder's own blobs");
    studio.shutdown().await;

    // The database alone is carried to another machine.
    forget(folder.path());
    if !postgres::chosen() {
        std::fs::copy(folder.path().join("adire.db"), elsewhere.path().join("adire.db")).unwrap();
    }
    let folder = if postgres::chosen() { &folder } else { &elsewhere };
    let studio = open(folder.path()).await;
    assert!(cached(folder.path()).is_empty());
    assert_eq!(studio.image(&generation.images[0].hash).await.unwrap(), image);
    let (_, file) = studio.adapter_file("adire@v1").await.unwrap();
    assert_eq!(file.hash(), versions[0].hash);
    let again = finished(&studio, &studio.submit(wanted(1), &me).await.unwrap().id).await;
    assert_eq!(again.images[0].hash, generation.images[0].hash, "with the same adapter and init image");
    assert!(!studio.thumbnail(&dataset.id, &dataset.images[0].hash).await.unwrap().is_empty());
    let new = NewAdapter {
        name: "another".to_owned(),
        version: None,
        path: folder.path().join("four"),
        description: String::new(),
        trigger: String::new(),
        strict: false,
    };
    std::fs::write(&new.path, [crate::fake::ADAPTER_MAGIC, b"four"].concat()).unwrap();
    studio.add_adapter(new).await.unwrap();
    studio.delete_dataset(&dataset.id).await.unwrap();
    let left = studio.shared().blobs.get(&dataset.images[0].hash).await.unwrap();
    assert!(left.is_none());
    studio.shutdown().await;
}
