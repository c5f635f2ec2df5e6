//! Pushes against a server that speaks the Hub's protocol.

mod fake_hub;

use std::{sync::Arc, time::Duration};

use super::*;
use adire_protocol::{PushRecord, PushState};
use adire_studio::{
    NewAdapter, StudioConfig,
    fake::{ADAPTER_MAGIC, FakeBackend},
};
use fake_hub::FakeHub;

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
        endpoint: format!("http://127.0.0.1:{}", hub.port),
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
    for (method, path, token) in &hub.state.lock().unwrap().seen {
        let elsewhere = path.starts_with("/store/") || path.starts_with("/complete/");
        assert_eq!(*token, !elsewhere, "{method} {path}");
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
        assert_eq!(record.url.as_deref(), Some(&*format!("http://127.0.0.1:{}/ada/cloth", hub.port)));
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
        let state = hub.state.lock().unwrap();
        assert_eq!(state.commits, 1);
        let puts =
            state.seen.iter().filter(|(method, path, _)| method == "PUT" && path.contains("/store/")).count();
        assert_eq!(puts, if multipart { 3 } else { 1 });
    }
}

/// What a Hub is asked, in this order.
const ASKED: [&str; 7] =
    ["/api/repos/create", "/tree/", "/preupload/", "/objects/batch", "/store/", "/verify", "/commit/"];

#[tokio::test]
async fn what_passes_is_tried_again_and_nothing_is_sent_twice() {
    let mut faults = Vec::new();
    for path in ASKED {
        for answer in [
            "HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 429 x\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
            "cut",
            // It was done, and nobody hears of it.
            "cut after",
            "slow",
        ] {
            faults.push((path, answer));
        }
        // What the store says of a file is not read; a repository that exists is looked at.
        if path != "/store/" && path != "/verify" && path != "/api/repos/create" {
            faults.push((path, "HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\n<html>oh?"));
            faults.push((path, "HTTP/1.1 200 x\r\ncontent-length: 500\r\n\r\n{\"commitOid\""));
            faults.push((path, "HTTP/1.1 409 x\r\ncontent-length: 0\r\n\r\n"));
        }
    }
    for (path, answer) in faults {
        let hub = FakeHub::start(false).fault(path, 2, answer);
        let ready = ready().await;
        let silence = Duration::from_millis(if answer == "slow" { 300 } else { 20_000 });
        let destination = Destination { silence, ..destination(&hub) };
        let record = ended_at(&ready, destination, request(true)).await;
        assert_eq!((record.state, record.error.as_deref()), (PushState::Done, None), "{path} {answer:?}");
        token_is_safe(&hub, &record);
        let state = hub.state.lock().unwrap();
        assert!(state.faults.iter().all(|(_, left, _)| *left < 2), "{path} {answer:?}: it happened");
        assert_eq!(state.commits, 1, "{path} {answer:?}");
        let puts = state.seen.iter().filter(|(method, ..)| method == "PUT").count();
        assert!(puts <= if path == "/store/" { 3 } else { 1 }, "{path} {answer:?}: {puts} uploads");
    }
}

#[tokio::test]
async fn what_lasts_is_said_at_once() {
    for (path, answer, words) in [
        ("/api/repos/create", "HTTP/1.1 401 x\r\ncontent-length: 0\r\n\r\n", "does not accept HF_TOKEN"),
        (
            "/api/repos/create",
            "HTTP/1.1 403 x\r\nx-error-message: hf_secret_of_the_tests may not\r\ncontent-length: 0\r\n\r\n",
            "may not write to ada/cloth",
        ),
        ("/commit/", "HTTP/1.1 403 x\r\ncontent-length: 0\r\n\r\n", "may not write"),
        ("/preupload/", "HTTP/1.1 401 x\r\ncontent-length: 0\r\n\r\n", "does not accept HF_TOKEN"),
        ("/commit/", "HTTP/1.1 413 x\r\ncontent-length: 0\r\n\r\n", "ada/cloth is too large"),
        ("/store/", "HTTP/1.1 413 x\r\ncontent-length: 0\r\n\r\n", "adire-v1.safetensors is too large"),
        (
            "/tree/",
            "HTTP/1.1 302 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            "redirects",
        ),
    ] {
        let hub = FakeHub::start(false).fault(path, 9, answer);
        let ready = ready().await;
        let record = ended(&ready, &hub, request(true)).await;
        assert_eq!(record.state, PushState::Failed, "{path}");
        assert!(record.error.as_deref().unwrap().contains(words), "{path}: {record:?}");
        token_is_safe(&hub, &record);
        assert_eq!(hub.state.lock().unwrap().commits, 0);
    }
    // No server at all: it is tried for long; here it is cancelled.
    let hub = FakeHub { port: 1, ..FakeHub::start(false) };
    let ready = ready().await;
    let slow = Destination { hurry: 1, ..destination(&hub) };
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
