//! Two hundred random operations with crashes in between; afterwards every promise is checked.

use std::collections::BTreeMap;

use adire_protocol::{GenerationState, Links};
use sha2::{Digest, Sha256};

use super::*;

/// A small generator of our own (xorshift64*), so that a failure can be run again from its seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_every_request_ends_and_every_image_is_whole() {
    for seed in [1, 2, 3] {
        two_hundred_operations(Dice(seed)).await;
    }
}

async fn two_hundred_operations(mut dice: Dice) {
    let folder = tempfile::tempdir().unwrap();
    let backend = FakeBackend::new(Duration::from_millis(1));
    let mut studio = open(folder.path(), backend.clone()).await.unwrap();
    let mut asked: BTreeMap<String, (u32, bool, bool)> = BTreeMap::new();
    let mut highest: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..200 {
        let some = |dice: &mut Dice| {
            let at = dice.roll(asked.len().max(1) as u64);
            asked.keys().nth(usize::try_from(at).unwrap()).cloned()
        };
        match dice.roll(20) {
            0..=9 => {
                let (count, fails) = (1 + u32::try_from(dice.roll(3)).unwrap(), dice.roll(8) == 0);
                let prompt = ["moons", "fail!"][usize::from(fails)];
                let wanted = GenerationRequest {
                    count: Some(count),
                    steps: Some(1 + u32::try_from(dice.roll(5)).unwrap()),
                    seed: Some(dice.roll(1000)),
                    ..request(prompt)
                };
                match studio.submit(wanted, &who("me")).await {
                    Ok(generation) => drop(asked.insert(generation.id, (count, fails, false))),
                    Err(StudioError::QueueFull { .. } | StudioError::TooManyWaiting { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            10..=12 => {
                if let Some(id) = some(&mut dice) {
                    studio.cancel(&id, By::Admin).await.unwrap();
                    asked.get_mut(&id).unwrap().2 = true;
                }
            }
            13..=15 => {
                if let Some(id) = some(&mut dice) {
                    let cursor = highest.entry(id.clone()).or_default();
                    let mut stream = studio.events(&id, *cursor).await.unwrap();
                    let next = tokio::time::timeout(Duration::from_millis(5), stream.next());
                    if let Ok(Some(event)) = next.await {
                        assert!(event.id > *cursor);
                        *cursor = event.id;
                    }
                }
            }
            16..=18 => tokio::time::sleep(Duration::from_millis(dice.roll(8))).await,
            _ => {
                // A crash or an orderly stop. Orderly most of the time: three crashes in one job fail it.
                if dice.roll(4) > 0 {
                    studio.shutdown().await;
                }
                drop(studio);
                studio = open(folder.path(), backend.clone()).await.unwrap();
            }
        }
    }
    let ids: Vec<String> = asked.keys().cloned().collect();
    for id in ids {
        check(&studio, &id, asked[&id], highest.get(&id).copied().unwrap_or(0)).await;
    }
    assert_eq!(studio.queue().ahead, 0);
    assert!(studio.active("me").await.unwrap().is_empty());
}

async fn check(studio: &Studio, id: &str, (count, fails, cancelled): (u32, bool, bool), cursor: u64) {
    let events = all_events(studio, id, 0).await;
    assert_numbers_grow(&events);
    assert!(events.last().unwrap().event.is_last());
    let rest = all_events(studio, id, cursor).await;
    assert!(rest.iter().all(|event| event.id > cursor));
    let record = studio.generation(id).await.unwrap();
    assert_eq!(record.links, Links::of(id));
    match record.state {
        GenerationState::Done => assert_eq!((record.images.len(), fails), (count as usize, false)),
        GenerationState::Failed => assert!(fails || record.error.unwrap().contains("3 times")),
        GenerationState::Cancelled => assert!(cancelled),
        other => panic!("{id} is {other:?}"),
    }
    for (place, image) in record.images.iter().enumerate() {
        assert_eq!(image.index as usize, place);
        let png = studio.image(&image.hash).await.unwrap();
        assert_eq!(hex::encode(Sha256::digest(&png)), image.hash);
    }
    let indices: Vec<u64> =
        record.images.iter().map(|image| image.recipe.spec.seed - record.spec.seed).collect();
    assert_eq!(indices, (0..record.images.len() as u64).collect::<Vec<_>>());
}
