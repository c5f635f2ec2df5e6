//! What a version's repository on a Hub is made of: its file, images that may be shown to everybody, and what is known of
//! where it came from and how it was judged. Nothing of visitors, and no caption.

use std::collections::HashSet;

use adire_protocol::{AdapterVersion, EvaluationVerdict, TrainingRequest};

use crate::{
    LocalFile, StudioError, adapters, blobs::Blobs, evaluation::suite::Suite, registry::exact, store::Store,
};

/// Most images.
const SAMPLES: usize = 6;

/// A version as it is published.
#[derive(Debug)]
pub struct Publication {
    /// The version.
    pub version: AdapterVersion,
    /// Its file as it was added.
    pub file: LocalFile,
    /// Prompt and PNG file of images that show it.
    pub samples: Vec<(String, Vec<u8>)>,
    /// Where it came from, a sentence each.
    pub lineage: Vec<String>,
    /// How it was judged, a sentence each.
    pub verdict: Vec<String>,
}

/// Reads everything.
pub(crate) async fn read(store: &Store, blobs: &Blobs, id: &str) -> Result<Publication, StudioError> {
    let version = version(store, id).await?;
    let file = adapters::local(blobs, &version).await?;
    let (mut samples, mut seen) = (Vec::new(), HashSet::new());
    let evaluated = store.evaluation_samples(&version.name, version.version).await?;
    let run = store.run_of(&version.id()).await?;
    let mut lineage = Vec::new();
    let mut found: Vec<(String, String)> = evaluated.into_iter().filter_map(shown).collect();
    if let Some((run, request, dataset)) = run {
        lineage.extend(sentences(&request, &dataset));
        // Sample prompts are private like captions, unless the run's settings publish both.
        if request.config.publish_captions {
            found.extend(store.samples_of_run(&run).await?);
        }
    }
    for (prompt, hash) in found {
        if samples.len() == SAMPLES || !seen.insert(prompt.clone()) {
            continue;
        }
        // One whose file is lost is left out.
        if let Some(blob) = blobs.get(&hash).await? {
            samples.push((prompt, blob.bytes().await?));
        }
    }
    let verdict = store.last_verdict(&version.name, version.version).await?;
    let verdict = verdict.map(|verdict| judged(&verdict)).unwrap_or_default();
    Ok(Publication { version, file, samples, lineage, verdict })
}

/// Prompt and hash of an evaluation's image, unless its prompt is private.
fn shown((suite, place, text, hash): (String, i64, String, String)) -> Option<(String, String)> {
    let suite: Suite = serde_json::from_str(&suite).ok()?;
    let prompt = suite.prompts.get(usize::try_from(place).ok()?)?;
    (!suite.is_private(prompt)).then_some((text, hash))
}

/// A version (`name@vN`), hidden ones too.
pub(crate) async fn version(store: &Store, id: &str) -> Result<AdapterVersion, StudioError> {
    let (name, number) = exact(store, id).await?;
    let known = store.all_adapters().await?.into_iter();
    let mut known = known.filter(|listed| listed.deleted_at.is_none()).map(|listed| listed.version);
    known
        .find(|version| version.name == name && version.version == number)
        .ok_or_else(|| StudioError::not_found("adapter version", id))
}

fn sentences(request: &TrainingRequest, dataset: &str) -> Vec<String> {
    let config = &request.config;
    let mut lines = vec![
        format!(
            "Trained with Adire: {} steps, rank {}, learning rate {}, {} pixels, seed {}.",
            config.steps, config.rank, config.learning_rate, config.resolution, config.seed
        ),
        format!("Dataset: content with sha256 {dataset}."),
    ];
    lines.extend(request.continue_from.as_ref().map(|from| format!("Started from {from}.")));
    lines
}

fn judged(verdict: &EvaluationVerdict) -> Vec<String> {
    let outcome = verdict.outcome.word();
    let criteria = verdict.criteria.iter().filter(|criterion| !criterion.muted);
    let criteria = criteria
        .map(|criterion| format!("{}, {}: {}", criterion.kind, criterion.outcome.word(), criterion.reason));
    [format!("Verdict: {outcome}.")].into_iter().chain(criteria).collect()
}
