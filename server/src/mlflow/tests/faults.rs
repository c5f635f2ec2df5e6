//! A tracking server that is down, slow, confused, or refuses.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    super::{Client, mirror::Mirror},
    PATIENCE, filled, problem, send_all,
    stub::{Held, Run, Stub},
    studio,
};
use crate::{
    mlflow::{Settings, run},
    testing::{Fault, Line, free_port},
};

/// Every kind of request.
const ASKED: [&str; 12] = [
    "experiments/get-by-name",
    "experiments/create",
    "runs/search",
    "runs/create",
    "runs/log-batch",
    "runs/set-tag",
    "runs/update",
    "mlflow-artifacts",
    "registered-models/create",
    "model-versions/search",
    "model-versions/create",
    "registered-models/alias",
];

/// What may happen, and its message.
pub(super) fn faults() -> Vec<(Fault, &'static str)> {
    vec![
        (Fault::Before, "cannot be reached"),
        (Fault::After, "cannot be reached"),
        (Fault::Silence, "cannot be reached"),
        (Fault::answer(200, "", "<html>"), "is not an MLflow server"),
        (Fault::broken("{\"cut\": "), "broke off"),
        (Fault::status(401), "Put name and password into ADIRE_MLFLOW_TRACKING_URI"),
        (Fault::status(403), "refuses access (403)"),
        (
            Fault::answer(403, "", "Invalid Host header - possible DNS rebinding attack"),
            "Start it with --allowed-hosts 127.0.0.1:",
        ),
        (Fault::status(409), "has a problem (409)"),
        (Fault::status(413), "as too large (413)"),
        (Fault::status(429), "has a problem (429)"),
        (Fault::status(500), "has a problem (500)"),
        (Fault::answer(400, "", "{\"error_code\":\"NO\",\"message\":\"not today\"}"), "not today"),
    ]
}

/// How long a server may be silent that is so.
pub(super) fn patience(fault: &Fault) -> Duration {
    if *fault == Fault::Silence { Duration::from_millis(300) } else { PATIENCE }
}

/// What a server holds, whatever order it came in: runs by our ids, and images without the part of their names that
/// follows from MLflow's.
#[derive(Debug, PartialEq, Eq)]
struct Comparable {
    runs: Vec<Run>,
    artifacts: BTreeMap<String, usize>,
    versions: BTreeSet<(String, String)>,
    aliases: BTreeMap<(String, String), String>,
}

fn comparable(held: Held) -> Comparable {
    let id = |run: &str| held.runs[run.parse::<usize>().unwrap()].tags["adire.id"].clone();
    let path = |path: &str| {
        let (_, rest) = path.split_once('/').unwrap();
        let (run, rest) = rest.split_once('/').unwrap();
        let mut pieces: Vec<&str> = rest.split('+').collect();
        if pieces.len() > 5 {
            pieces.remove(5);
        }
        format!("{}/{}", id(run), pieces.join("+"))
    };
    let of = |name: &str, number: &str| {
        let mut versions = held.versions.iter().filter(|(of, _)| of == name);
        id(&versions.nth(number.parse::<usize>().unwrap() - 1).unwrap().1)
    };
    let mut comparable = Comparable {
        artifacts: held.artifacts.iter().map(|(name, bytes)| (path(name), *bytes)).collect(),
        versions: held.versions.iter().map(|(name, run)| (name.clone(), id(run))).collect(),
        aliases: held.aliases.iter().map(|(alias, number)| (alias.clone(), of(&alias.0, number))).collect(),
        runs: held.runs.clone(),
    };
    // One that is there twice is counted twice.
    comparable.runs.sort_by_key(|run| run.tags["adire.id"].clone());
    assert_eq!(comparable.versions.len(), held.versions.len());
    assert_eq!(comparable.artifacts.len(), held.artifacts.len());
    comparable
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_there_twice_whatever_a_server_answers() {
    let (folder, studio) = studio().await;
    filled(folder.path(), &studio, 20).await;
    let stub = Stub::start().await;
    assert_eq!(send_all(&studio, stub.port, PATIENCE).await, Vec::<String>::new());
    let expected = comparable(stub.held());
    // A run, an evaluation, and a version that came from a file.
    assert_eq!(
        (expected.runs.len(), expected.versions.len(), expected.aliases.len()),
        (3, 2, 2),
        "{expected:?}"
    );
    assert!(expected.runs.iter().all(|run| run.status == "FINISHED"), "{:?}", expected.runs);
    for path in ASKED {
        for (fault, words) in faults() {
            let stub = Stub::start().await;
            let line = Line::to(stub.port, vec![(path, 2, fault.clone())]);
            let message = send_all(&studio, line.port, patience(&fault)).await;
            assert!(line.faults() > 0, "{path} {fault:?}: it happened");
            // An alias that is not there need not be taken away.
            let is_told = message.iter().any(|sentence| sentence.contains(words));
            assert!(is_told || path == "registered-models/alias", "{path} {fault:?}: {message:?}");
            assert!(comparable(stub.held()) == expected, "{path} {fault:?}: {:?}", stub.held().runs);
        }
    }
}

/// What is refused keeps nothing else back.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_file_does_not_keep_the_rest_back() {
    let (folder, studio) = studio().await;
    filled(folder.path(), &studio, 20).await;
    let stub = Stub::start().await;
    let line = Line::to(stub.port, vec![("images/sample", u32::MAX, Fault::status(413))]);
    let settings =
        Settings { uri: format!("http://127.0.0.1:{}", line.port), experiment: "adire".to_owned() };
    let telling = tokio::spawn(run(studio.clone(), settings));
    let problem = problem(&studio, |problem| problem.map(str::to_owned)).await;
    assert!(problem.contains("client_max_body_size"), "{problem}");
    telling.abort();
    let held = stub.held();
    assert!(held.runs.iter().all(|run| run.status == "FINISHED"), "{held:?}");
    assert_eq!((held.versions.len(), held.aliases.len()), (2, 2), "{held:?}");
    assert!(held.artifacts.keys().all(|path| !path.contains("images/sample")), "{held:?}");
    assert!(held.artifacts.keys().any(|path| path.contains("images/challenger")), "{held:?}");
}

/// A file that is lost keeps nothing else back, does not count as sent, and is sent once it is restored.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_image_does_not_count_as_sent() {
    let (folder, studio) = studio().await;
    let (run, _) = filled(folder.path(), &studio, 20).await;
    let whole = Stub::start().await;
    send_all(&studio, whole.port, PATIENCE).await;
    let (_, samples) = studio.numbered_training(&run).await.unwrap();
    let hash = &samples[0].1.hash;
    let file = folder.path().join("data/blobs").join(&hash[..2]).join(&hash[2..]);
    std::fs::rename(&file, folder.path().join("away")).unwrap();
    let stub = Stub::start().await;
    let client = Client::new(&format!("http://127.0.0.1:{}", stub.port), PATIENCE).unwrap();
    let mut mirror = Mirror::new(studio.clone(), client, "adire".to_owned(), Duration::ZERO);
    let ended = tokio::task::spawn_blocking(move || mirror.pass()).await.unwrap();
    assert!(matches!(&ended, Ok(Some(why)) if why.contains("is missing")), "{ended:?}");
    let held = stub.held();
    assert_eq!((held.versions.len(), held.aliases.len()), (2, 2), "{held:?}");
    assert!(held.artifacts.len() < whole.held().artifacts.len(), "{held:?}");
    std::fs::rename(folder.path().join("away"), &file).unwrap();
    send_all(&studio, stub.port, PATIENCE).await;
    assert_eq!(stub.held().artifacts.len(), whole.held().artifacts.len());
}

/// What happens while nothing listens is sent once something does, and the page's sentence goes with its cause.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_gets_everything_once_it_is_up() {
    let (folder, studio) = studio().await;
    let port = free_port();
    let settings =
        Settings { uri: format!("http://ada:secret@127.0.0.1:{port}"), experiment: "adire".to_owned() };
    let sending = tokio::spawn(run(studio.clone(), settings));
    filled(folder.path(), &studio, 20).await;
    let away = problem(&studio, |problem| problem.map(str::to_owned)).await;
    assert!(away.contains("cannot be reached") && !away.contains("secret"), "{away}");
    let stub = Stub::at(port).await;
    problem(&studio, |problem| problem.is_none().then_some(())).await;
    sending.abort();
    let held = stub.held();
    assert!(held.runs.iter().all(|run| run.status == "FINISHED"), "{held:?}");
    assert_eq!((held.runs.len(), held.versions.len(), held.aliases.len()), (3, 2, 2), "{held:?}");
}
