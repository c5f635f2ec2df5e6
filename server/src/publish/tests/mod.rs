//! Pushes against a server that speaks the Hub's protocol.

mod fake_hub;

use std::{sync::Arc, time::Duration};

use super::*;
use adire_protocol::{PushRecord, PushState};
use adire_studio::{
    NewAdapter, StudioConfig,
    fake::{ADAPTER_MAGIC, FakeBackend},
};
use fake_hub::{FakeHub, State};

use crate::testing::{Fault, free_port, header};

const TOKEN: &str = "hf_secret_of_the_tests";
const PATIENCE: Duration = Duration::from_secs(30);

struct Ready {
    _folder: tempfile::TempDir,
    studio: Studio,
    exports: Arc<Exports>,
}

async fn ready() -> Ready {
    let folder = tempfile::tempdir().unwrap();
    let config = StudioConfig::new(folder.path().join("data"));
    let studio = Studio::open(config, || Ok(FakeBackend::default())).await.unwrap();
    let path = folder.path().join("a.safetensors");
    std::fs::write(&path, [ADAPTER_MAGIC, b" of 21 b"].concat()).unwrap();
    let new = NewAdapter {
        name: "adire".to_owned(),
        version: Some(1),
        path,
        description: "A style.".to_owned(),
        trigger: "in some style".to_owned(),
        strict: false,
    };
    studio.add_adapter(new).await.unwrap();
    let exports = Arc::new(Exports::new(folder.path().join("exports"), None));
    Ready { _folder: folder, studio, exports }
}

fn request(private: bool) -> PushRequest {
    PushRequest {
        repository: "ada/cloth".to_owned(),
        private,
        license: Some("cc-by-4.0".to_owned()),
        base_model: Some("org/sd15".to_owned()),
    }
}

fn destination(hub: &FakeHub) -> Destination {
    Destination {
        endpoint: format!("http://127.0.0.1:{}", hub.line.port),
        token: Some(TOKEN.to_owned()),
        allowed: Vec::new(),
        hurry: 1000,
        silence: Duration::from_secs(20),
    }
}

async fn ended(ready: &Ready, hub: &FakeHub, request: PushRequest) -> PushRecord {
    ended_at(ready, destination(hub), request).await
}

async fn ended_at(ready: &Ready, destination: Destination, request: PushRequest) -> PushRecord {
    let runner = tokio::spawn(run(ready.studio.clone(), ready.exports.clone(), destination));
    let record = ready.studio.push("adire@v1", request).await.unwrap();
    let record = until(ready, &record.id).await;
    runner.abort();
    record
}

async fn until(ready: &Ready, id: &str) -> PushRecord {
    let waiting = async {
        loop {
            let record = ready.studio.push_record(id).await.unwrap();
            if !matches!(record.state, PushState::Queued | PushState::Running) {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it ends")
}

/// The token went to the Hub's own address only, and is in nothing that is kept or shown.
fn token_is_safe(hub: &FakeHub, record: &PushRecord) {
    let shown = serde_json::to_string(record).unwrap();
    assert!(!shown.contains(TOKEN), "{shown}");
    for head in hub.line.heads() {
        assert_eq!(header(&head, "authorization"), Some(&*format!("Bearer {TOKEN}")), "{head}");
    }
    for head in hub.store.heads() {
        assert!(!head.contains(TOKEN), "{head}");
    }
}

#[tokio::test]
async fn a_version_is_uploaded_once_with_its_card() {
    for multipart in [false, true] {
        // The store is another port, which counts as another host.
        let hub = FakeHub::start(multipart);
        let ready = ready().await;
        let record = ended(&ready, &hub, request(true)).await;
        assert_eq!((record.state, record.error.as_deref()), (PushState::Done, None), "{record:?}");
        assert_eq!(record.url.as_deref(), Some(&*format!("http://127.0.0.1:{}/ada/cloth", hub.line.port)));
        assert_eq!(record.commit.as_deref().map(str::len), Some(40));
        token_is_safe(&hub, &record);
        {
            let state = hub.state.lock().unwrap();
            assert!(state.repositories["ada/cloth"], "it is private");
            assert!(state.files["adire-v1.safetensors"].starts_with(ADAPTER_MAGIC));
            let card = String::from_utf8(state.files["README.md"].clone()).unwrap();
            for words in
                ["license: \"cc-by-4.0\"", "base_model: \"org/sd15\"", "in some style", "\"ada/cloth\""]
            {
                assert!(card.contains(words), "{words}: {card}");
            }
        }
        // Again: nothing is sent.
        let again = ended(&ready, &hub, request(true)).await;
        assert_eq!((again.state, again.commit), (PushState::Done, None));
        assert_eq!(hub.state.lock().unwrap().commits, 1);
        assert_eq!(puts(&hub), if multipart { 3 } else { 1 });
    }
}

/// How many files, or parts of files, were sent.
fn puts(hub: &FakeHub) -> usize {
    hub.store.heads().iter().filter(|head| head.starts_with("PUT ")).count()
}

/// What a Hub is asked, in this order.
const ASKED: [&str; 7] =
    ["/api/repos/create", "/tree/", "/preupload/", "/objects/batch", "/store/", "/verify", "/commit/"];
/// What it is asked of a file in parts.
const PARTS: [&str; 2] = ["/part/2", "/complete/"];

/// What may happen to a request and is over some time later.
fn passing(path: &str) -> Vec<Fault> {
    let mut faults = vec![
        Fault::status(500),
        Fault::answer(429, "retry-after: 1\r\n", ""),
        Fault::Before,
        Fault::After,
        Fault::Silence,
    ];
    match path {
        // Its addresses expire, and what it says is not read.
        "/store/" | "/part/2" | "/complete/" => faults.extend([400, 401, 403, 404, 410].map(Fault::status)),
        // A repository that exists is looked at.
        "/verify" | "/api/repos/create" => {}
        _ => faults.extend([
            Fault::answer(200, "", "<html>oh?"),
            Fault::broken("{\"commitOid\""),
            Fault::status(409),
        ]),
    }
    faults
}

#[tokio::test]
async fn what_passes_is_tried_again_and_nothing_is_sent_twice() {
    for (multipart, path) in ASKED.map(|path| (false, path)).into_iter().chain(PARTS.map(|path| (true, path)))
    {
        for fault in passing(path) {
            let hub = FakeHub::behind(multipart, vec![(path, 2, fault.clone())]);
            let ready = ready().await;
            let silence = Duration::from_millis(if fault == Fault::Silence { 300 } else { 20_000 });
            let destination = Destination { silence, ..destination(&hub) };
            let record = ended_at(&ready, destination, request(true)).await;
            assert_eq!((record.state, record.error.as_deref()), (PushState::Done, None), "{path} {fault:?}");
            token_is_safe(&hub, &record);
            assert!(hub.line.faults() + hub.store.faults() > 0, "{path} {fault:?}: it happened");
            let State { commits, files, .. } = &*hub.state.lock().unwrap();
            assert_eq!(*commits, 1, "{path} {fault:?}");
            assert!(files["adire-v1.safetensors"].starts_with(ADAPTER_MAGIC), "{path} {fault:?}");
            let most = match path {
                "/store/" => 3,
                "/part/2" | "/complete/" => 9,
                _ => 1,
            };
            assert!(puts(&hub) <= most, "{path} {fault:?}: {} uploads", puts(&hub));
        }
    }
}

/// What is refused for good, and its message.
fn lasting(path: &'static str) -> Vec<(Fault, &'static str)> {
    let large = if path == "/store/" || path == "/verify" {
        "adire-v1.safetensors is too large"
    } else {
        "ada/cloth is too large"
    };
    let may_not = if path == "/verify" { "may not write to adire-v1" } else { "may not write to ada/cloth" };
    let secret = "x-error-message: hf_secret_of_the_tests may not\r\n";
    let mut faults = vec![(Fault::status(413), large)];
    if path != "/store/" {
        faults.push((Fault::status(401), "does not accept HF_TOKEN"));
        faults.push((Fault::answer(403, secret, ""), may_not));
        faults.push((Fault::answer(302, "location: http://127.0.0.1:1/\r\n", ""), "redirects"));
    }
    faults
}

#[tokio::test]
async fn what_lasts_is_said_at_once() {
    for path in ASKED {
        for (fault, words) in lasting(path) {
            let hub = FakeHub::behind(false, vec![(path, 1, fault.clone())]);
            let ready = ready().await;
            let record = ended(&ready, &hub, request(true)).await;
            assert_eq!(record.state, PushState::Failed, "{path} {fault:?}");
            assert!(record.error.as_deref().unwrap().contains(words), "{path} {fault:?}: {record:?}");
            token_is_safe(&hub, &record);
            assert_eq!(hub.state.lock().unwrap().commits, 0, "{path} {fault:?}");
            // Once the cause is gone, the next push does the rest.
            let again = ended(&ready, &hub, request(true)).await;
            assert_eq!((again.state, again.error.as_deref()), (PushState::Done, None), "{path} {fault:?}");
            assert_eq!(hub.state.lock().unwrap().commits, 1, "{path} {fault:?}");
            assert!(puts(&hub) <= if path == "/store/" { 2 } else { 1 }, "{path} {fault:?}: {}", puts(&hub));
        }
    }
}

#[tokio::test]
async fn a_hub_that_is_down_is_tried_again_until_the_push_is_cancelled() {
    let ready = ready().await;
    let hub = FakeHub::start(false);
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let slow = Destination { endpoint, hurry: 1, ..destination(&hub) };
    let runner = tokio::spawn(run(ready.studio.clone(), ready.exports.clone(), slow));
    let record = ready.studio.push("adire@v1", request(true)).await.unwrap();
    let waiting = async {
        while !ready.studio.push_record(&record.id).await.unwrap().progress.contains("Next try in 2 s.") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    ready.studio.cancel_push(&record.id).await.unwrap();
    assert_eq!(until(&ready, &record.id).await.state, PushState::Cancelled);
    runner.abort();
}

#[tokio::test]
async fn a_private_push_does_not_go_to_a_public_repository() {
    let hub = FakeHub::start(false);
    hub.state.lock().unwrap().repositories.insert("ada/cloth".to_owned(), false);
    let ready = ready().await;
    let record = ended(&ready, &hub, request(true)).await;
    assert!(record.error.as_deref().unwrap().contains("exists and is public"), "{record:?}");
    let record = ended(&ready, &hub, request(false)).await;
    assert_eq!(record.state, PushState::Done);
}

#[tokio::test]
async fn a_push_survives_a_restart_and_the_same_request_is_one() {
    let hub = FakeHub::start(false);
    let ready = ready().await;
    let first = ready.studio.push("adire@v1", request(true)).await.unwrap();
    let second = ready.studio.push("adire@v1", request(true)).await.unwrap();
    assert_eq!(first.id, second.id);
    ready.studio.shutdown().await;
    let config = StudioConfig::new(ready._folder.path().join("data"));
    let studio = Studio::open(config, || Ok(FakeBackend::default())).await.unwrap();
    let ready = Ready { studio, ..ready };
    let runner = tokio::spawn(run(ready.studio.clone(), ready.exports.clone(), destination(&hub)));
    assert_eq!(until(&ready, &first.id).await.state, PushState::Done);
    runner.abort();
}

#[tokio::test]
async fn a_card_has_samples_lineage_and_verdict() {
    let ready = ready().await;
    let known = ready.studio.publication("adire@v1").await.unwrap();
    let publication = Publication {
        samples: vec![
            ("a red REPOSITORY".to_owned(), b"one".to_vec()),
            ("moons".to_owned(), b"two".to_vec()),
        ],
        lineage: vec!["Trained with Adire: 8 steps.".to_owned(), "Started from adire@v3.".to_owned()],
        verdict: vec!["Verdict: pass.".to_owned(), "style, pass: better by 0.2.".to_owned()],
        ..known
    };
    let (files, _) = assemble(&ready.exports, publication, &request(true), "model").await.unwrap();
    let content = |path: &str| {
        files.iter().find_map(|file| match &file.content {
            Content::Bytes(bytes) if file.path == path => Some(bytes.clone()),
            _ => None,
        })
    };
    assert_eq!(content("images/sample-2.png").as_deref(), Some(&b"two"[..]));
    let card = String::from_utf8(content("README.md").unwrap()).unwrap();
    for words in [
        "widget:\n- text: \"a red REPOSITORY\"\n  output:\n    url: \"images/sample-1.png\"\n- text: \"moons\"",
        "## Lineage\n\n- Trained with Adire: 8 steps.\n- Started from adire@v3.\n",
        "## Evaluation\n\n- Verdict: pass.\n- style, pass: better by 0.2.\n",
        "image = pipeline(\"a red REPOSITORY\")",
        "load_lora_weights(\"ada/cloth\",",
    ] {
        assert!(card.contains(words), "{words}: {card}");
    }
}
