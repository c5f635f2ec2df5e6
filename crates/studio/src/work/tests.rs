//! Several workers on one database, as several nodes would be; on the database that `ADIRE_TEST_DATABASE` names.

use std::{collections::HashMap, sync::Arc};

use adire_protocol::{Defaults, GenerationRequest, GenerationSpec, ImageRecord, Limits, Recipe, Sampling};
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::claim::Claimer;
use crate::{
    client::Who,
    job::*,
    store::{Inserted, Release, Store},
};

const MODEL: &str = "model";

async fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), None).await.unwrap();
    (folder, store)
}

fn spec() -> GenerationSpec {
    let defaults = Defaults { steps: 4, guidance: 5.0, width: 64, height: 64, sampling: Sampling::default() };
    let request = GenerationRequest { prompt: "moons".to_owned(), ..Default::default() };
    request.validate(&Limits::default(), &defaults, 7).unwrap()
}

/// Puts a job into the queue; its id.
async fn put(store: &Store, owner: &str, wants: &str, cost: i64) -> String {
    let job = NewJob {
        id: uuid::Uuid::now_v7().to_string(),
        kind: JobKind::Generation,
        owner: owner.to_owned(),
        cost,
        wants: wants.to_owned(),
        model: MODEL.to_owned(),
        created_at: 1,
    };
    store.insert_generation(&job, &Who::default(), &spec()).await.unwrap();
    job.id
}

fn claimer(node: &str) -> Claimer {
    Claimer::new(node, JobKind::Generation, MODEL)
}

fn image(id: &str, index: u32) -> ImageRecord {
    let recipe = Recipe {
        spec: spec(),
        adapter_hashes: Vec::new(),
        embeddings: Vec::new(),
        vae: None,
        model: String::new(),
        model_hash: String::new(),
        device: String::new(),
        dtype: String::new(),
        version: String::new(),
        fingerprint: String::new(),
        withheld: false,
        seconds: 0.0,
        switch_seconds: 0.0,
        warnings: Vec::new(),
    };
    ImageRecord {
        hash: format!("{index:064}"),
        url: String::new(),
        generation: id.to_owned(),
        index,
        created_at: i64::from(index),
        recipe,
        infotext: String::new(),
    }
}

async fn finish(store: &Store, lease: &Lease) -> Option<u64> {
    store.end(EndedBy::Holder(lease, 0), Outcome::Done { version: None }).await.unwrap()
}

/// Eight workers empty the queue; how often each job was done and how often a worker changed its adapters.
async fn empty(store: &Store) -> (HashMap<String, u32>, usize) {
    let done: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let worker = async |n: usize| {
        let mut claimer = claimer(&format!("worker {n}"));
        let mut switches = 0;
        loop {
            let before = claimer.resident.clone();
            let Some(claimed) = claimer.claim(store, None).await.unwrap() else { return switches };
            switches += usize::from(before.as_deref() != Some(&claimed.wants));
            store.beat(&claimed.lease).await.unwrap();
            assert!(finish(store, &claimed.lease).await.is_some());
            *done.lock().await.entry(claimed.lease.job).or_default() += 1;
        }
    };
    let switches = futures::future::join_all((0..8).map(worker)).await.into_iter().sum();
    (Arc::into_inner(done).unwrap().into_inner(), switches)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_workers_do_each_job_once_and_seldom_switch() {
    const JOBS: usize = 1_000;
    let (_folder, store) = store().await;
    for i in 0..JOBS {
        put(&store, &format!("owner {}", i % 50), &format!("adapter {}", (i * 7919) % 8), 10).await;
    }
    let (done, switches) = empty(&store).await;
    assert_eq!(done.len(), JOBS);
    assert!(done.values().all(|times| *times == 1));
    assert!(switches * 100 <= 15 * JOBS, "{switches} switches of {JOBS} jobs");
    store.close().await;
}

#[tokio::test]
async fn a_holder_that_was_paused_changes_nothing_any_more() {
    let (_folder, store) = store().await;
    let id = put(&store, "me", "", 10).await;
    let first = claimer("first").claim(&store, None).await.unwrap().unwrap();
    assert_eq!(claimer("second").claim(&store, None).await.unwrap(), None, "it is held");
    store
        .insert_image((&first.lease, 0), &image(&id, 0), None, Inserted::default(), async { Ok(()) })
        .await
        .unwrap();
    assert_eq!(store.release(Release::Ended).await.unwrap(), [], "its lease lasts");

    store.end_lease(&id).await;
    let released = store.release(Release::Ended).await.unwrap();
    assert_eq!((released[0].id.as_str(), released[0].state), (id.as_str(), JobState::Queued));
    let second = claimer("second").claim(&store, None).await.unwrap().unwrap();
    assert!(second.lease.number > first.lease.number);
    assert_eq!(second.attempts, 1, "an image was gained, so claims before it do not count");

    // The first one wakes up.
    assert!(matches!(store.beat(&first.lease).await, Err(WriteError::LeaseLost)));
    let late = store
        .insert_image((&first.lease, 0), &image(&id, 1), None, Inserted::default(), async { Ok(()) })
        .await;
    assert!(matches!(late, Err(WriteError::LeaseLost)));
    assert_eq!(store.release(Release::Held(&first.lease)).await.unwrap(), []);
    assert_eq!(finish(&store, &first.lease).await, None);
    assert_eq!(store.images_of(&id).await.unwrap().len(), 1);

    store
        .insert_image((&second.lease, 0), &image(&id, 1), None, Inserted::default(), async { Ok(()) })
        .await
        .unwrap();
    let end = finish(&store, &second.lease).await.unwrap();
    assert_eq!(finish(&store, &second.lease).await, None, "once");
    let mut numbers: Vec<u64> =
        store.job_events(&id, 0).await.unwrap().into_iter().map(|(number, _)| number).collect();
    let images = store.images_of(&id).await.unwrap();
    numbers.extend(images.iter().map(|image| image.event.cast_unsigned()));
    numbers.sort_unstable();
    assert_eq!(numbers.last(), Some(&end));
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "no number twice: {numbers:?}");
    store.close().await;
}

#[tokio::test]
async fn the_same_node_takes_its_jobs_up_at_once_and_another_one_after_the_lease() {
    let (_folder, store) = store().await;
    let (mine, other) = (put(&store, "me", "", 10).await, put(&store, "you", "", 10).await);
    assert_eq!(claimer("this").claim(&store, None).await.unwrap().unwrap().lease.job, mine);
    assert_eq!(claimer("that").claim(&store, None).await.unwrap().unwrap().lease.job, other);
    store.take_up("this", MODEL).await.unwrap();
    let again = claimer("this").claim(&store, None).await.unwrap().unwrap();
    assert_eq!((again.lease.job.as_str(), again.attempts), (mine.as_str(), 2));
    assert_eq!(claimer("this").claim(&store, None).await.unwrap(), None, "the other one is still held");
    store.end_lease(&other).await;
    store.take_up("this", MODEL).await.unwrap();
    let ids: Vec<String> =
        store.candidates(JobKind::Generation, MODEL, 64).await.unwrap().into_iter().map(|c| c.id).collect();
    assert_eq!(ids, [mine, other]);
    store.close().await;
}

#[tokio::test]
async fn a_newcomer_waits_for_one_image_and_not_for_a_hundred() {
    let (_folder, store) = store().await;
    let mut greedy = Vec::new();
    for _ in 0..100 {
        greedy.push(put(&store, "greedy", "", 3_000).await);
    }
    let mut claimer = claimer("worker");
    for expected in &greedy[..10] {
        let claimed = claimer.claim(&store, None).await.unwrap().unwrap();
        assert_eq!(claimed.lease.job, *expected);
        finish(&store, &claimed.lease).await;
    }
    let running = claimer.claim(&store, None).await.unwrap().unwrap();
    let newcomer = [put(&store, "new", "", 3_000).await, put(&store, "new", "", 3_000).await];
    finish(&store, &running.lease).await;
    let mut order = Vec::new();
    for _ in 0..4 {
        let claimed = claimer.claim(&store, None).await.unwrap().unwrap();
        finish(&store, &claimed.lease).await;
        order.push(claimed.lease.job);
    }
    assert_eq!(order[0], newcomer[0]);
    assert!(order[1..3].contains(&newcomer[1]), "they take turns from then on");
    store.close().await;
}

#[tokio::test]
async fn what_was_asked_for_holds_over_a_crash() {
    let (_folder, store) = store().await;
    let id = put(&store, "me", "", 10).await;
    let claimed = claimer("this").claim(&store, None).await.unwrap().unwrap();
    assert!(store.ask(&id, Asked::Cancel).await.unwrap());
    assert_eq!(store.beat(&claimed.lease).await.unwrap(), Some(Asked::Cancel));
    store.take_up("this", MODEL).await.unwrap();
    assert_eq!(store.generation(&id).await.unwrap().unwrap().state().name(), "cancelled");
    assert!(!store.ask(&id, Asked::Cancel).await.unwrap(), "nobody holds it");
    store.close().await;
}

/// Prints how many jobs a second eight workers claim, renew and finish:
/// `cargo test --lib -- --ignored --nocapture jobs_a_second`, with `ADIRE_TEST_DATABASE=postgres` for the other database, and
/// `ADIRE_TEST_FSYNC=on` to have that one wait for the disk, as in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn jobs_a_second() {
    const JOBS: usize = 2_000;
    let (_folder, store) = store().await;
    let start = std::time::Instant::now();
    for i in 0..JOBS {
        put(&store, &format!("owner {}", i % 50), &format!("adapter {}", (i * 7919) % 8), 10).await;
    }
    let put = start.elapsed().as_secs_f64();
    let start = std::time::Instant::now();
    let (done, switches) = empty(&store).await;
    let rate = JOBS as f64 / start.elapsed().as_secs_f64();
    assert_eq!(done.len(), JOBS);
    println!(
        "{rate:.0} jobs a second claimed, renewed and finished; {:.0} submitted; {:.1} % adapter switches",
        JOBS as f64 / put,
        100.0 * switches as f64 / JOBS as f64
    );
    store.close().await;
}
