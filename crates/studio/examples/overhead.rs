//! What the studio costs besides the engine: the time from submitting to the last event, less the engine's
//! own, with a backend that takes no time. Run with
//! `cargo run --release -p adire-studio --features fake --example overhead`.

use std::time::Instant;

use adire_protocol::GenerationRequest;
use adire_studio::{Client, Studio, StudioConfig, StudioError, Visitor, fake::FakeBackend};
use futures::StreamExt;

const RUNS: u32 = 200;

#[tokio::main]
async fn main() -> Result<(), StudioError> {
    let data = std::env::temp_dir().join(format!("adire-overhead-{}", std::process::id()));
    let studio = Studio::open(StudioConfig::new(&data), || Ok(FakeBackend::default())).await?;
    for size in [256, 512] {
        let mut times = Vec::new();
        for seed in 0..RUNS {
            let request = GenerationRequest {
                prompt: "red moons".to_owned(),
                seed: Some(seed.into()),
                steps: Some(20),
                width: Some(size),
                height: Some(size),
                ..Default::default()
            };
            let start = Instant::now();
            let id = studio
                .submit(request, &Client { visitor: Some(Visitor("me".to_owned())), network: None })
                .await?
                .id;
            studio.events(&id, 0).await?.collect::<Vec<_>>().await;
            let total = start.elapsed().as_secs_f64();
            let engine: f64 = studio.generation(&id).await?.images.iter().map(|i| i.recipe.seconds).sum();
            times.push((total - engine) * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let at = |share: usize| times[times.len() * share / 100];
        println!("{size}×{size}, 20 steps: median {:.1} ms, 95 % {:.1} ms", at(50), at(95));
    }
    studio.shutdown().await;
    std::fs::remove_dir_all(&data).map_err(|error| StudioError::Storage(error.to_string()))
}
