//! The studio as its callers see it, with the fake backend on a real data folder.

mod adapters;
mod alerts;
mod batches;
mod blobs;
mod cases;
mod comparisons;
mod crashes;
mod datasets;
mod deletion;
mod embeddings;
mod evaluation;
mod evaluation_crashes;
mod evaluation_limits;
mod events;
mod features;
mod files;
mod history;
mod jobs;
mod killed;
mod limits;
mod lineage;
mod monitoring;
mod png;
pub(crate) mod postgres;
mod prompts;
mod queue;
mod random;
mod registry;
mod registry_verdicts;
mod restart;
mod s3;
mod shadows;
mod shares;
mod sheets;
mod stored;
mod training;
mod uploads;

use std::{path::Path, time::Duration};

use adire_protocol::{Event, Generation, GenerationEvent, GenerationRequest};
use futures::StreamExt;
use tempfile::TempDir;

use crate::{
    By, Client, Network, Studio, StudioConfig, StudioError, Visitor,
    fake::{FakeBackend, StepLatch},
};

/// Long enough for any machine, short enough for a test that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

async fn open(folder: &Path, backend: FakeBackend) -> Result<Studio, StudioError> {
    Studio::open(StudioConfig::new(folder), move || Ok(backend)).await
}

/// A fresh studio whose steps take no time.
async fn fresh() -> (TempDir, Studio, FakeBackend) {
    let folder = tempfile::tempdir().unwrap();
    let backend = FakeBackend::default();
    let studio = open(folder.path(), backend.clone()).await.unwrap();
    (folder, studio, backend)
}

/// A fresh studio whose steps wait to be allowed.
async fn latched() -> (TempDir, Studio, FakeBackend, StepLatch) {
    let folder = tempfile::tempdir().unwrap();
    let (backend, latch) = FakeBackend::latched();
    let studio = open(folder.path(), backend.clone()).await.unwrap();
    (folder, studio, backend, latch)
}

fn request(prompt: &str) -> GenerationRequest {
    GenerationRequest { prompt: prompt.to_owned(), seed: Some(7), ..Default::default() }
}

/// A browser with this id.
fn who(visitor: &str) -> Client {
    Client { visitor: Some(Visitor(visitor.to_owned())), network: None }
}

/// A call from within the process.
fn nobody() -> Client {
    Client::default()
}

/// A browser with this id at that address.
fn at(visitor: Option<&str>, address: &str) -> Client {
    let network = Some(Network::of(address.parse().unwrap()));
    Client { visitor: visitor.map(|visitor| Visitor(visitor.to_owned())), network }
}

/// The bytes of a file on their way in.
fn coming(bytes: Vec<u8>) -> impl futures::Stream<Item = Result<Vec<u8>, std::convert::Infallible>> {
    futures::stream::iter(bytes.chunks(7_000).map(|part| Ok(part.to_vec())).collect::<Vec<_>>())
}

async fn submit(studio: &Studio, prompt: &str) -> Generation {
    studio.submit(request(prompt), &who("visitor")).await.unwrap()
}

/// Every event above `after`, to the end of the stream.
async fn all_events(studio: &Studio, id: &str, after: u64) -> Vec<Event> {
    let stream = studio.events(id, after).await.unwrap();
    tokio::time::timeout(PATIENCE, stream.collect()).await.expect("the stream should end")
}

/// Waits for the end and gives the record.
async fn finished(studio: &Studio, id: &str) -> Generation {
    all_events(studio, id, 0).await;
    studio.generation(id).await.unwrap()
}

/// Waits until that step of that image is done.
async fn until_step(studio: &Studio, id: &str, image: u32, step: u32) -> Event {
    let mut stream = studio.events(id, 0).await.unwrap();
    let found = async {
        loop {
            let event = stream.next().await.expect("the stream should not end");
            if matches!(&event.event, GenerationEvent::Progress(p) if (p.image, p.step) == (image, step)) {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the step should come")
}

/// Waits for the first event of a kind.
async fn until(studio: &Studio, id: &str, name: &str) -> Event {
    let mut stream = studio.events(id, 0).await.unwrap();
    let found = async {
        while let Some(event) = stream.next().await {
            if event.event.name() == name {
                return event;
            }
        }
        panic!("no {name} event");
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {name} event in time"))
}

fn names(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| event.event.name()).collect()
}

/// The names without progress, whose number depends on how fast the reader is.
fn milestones(events: &[Event]) -> Vec<&'static str> {
    names(events).into_iter().filter(|name| *name != "progress").collect()
}

fn assert_numbers_grow(events: &[Event]) {
    assert!(events.windows(2).all(|pair| pair[0].id < pair[1].id), "{events:?}");
}

fn image_hashes(events: &[Event]) -> Vec<String> {
    let hash = |event: &Event| match &event.event {
        GenerationEvent::Image { image } => Some(image.hash.clone()),
        _ => None,
    };
    events.iter().filter_map(hash).collect()
}
