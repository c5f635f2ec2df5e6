//! Shadows as the admin sees them: switched on, changed, switched off, read. `work::shadow` renders and scores their pairs.

use std::sync::Arc;

use adire_protocol::{
    AdapterVersion, FieldError, MAX_SHADOW, ShadowMeasure, ShadowOutcome, ShadowPair, ShadowRecord,
    ShadowRequest, Stage, ValidationError,
};
use uuid::Uuid;

use crate::{
    BackendError, JudgeInfo, Mover, StudioError, adapters,
    evaluation::{
        self,
        eprocess::{EProcess, PairOutcome},
    },
    registry::exact,
    shared::Shared,
    store::{End, KeptPair, NewShadow, PairRow, ShadowRow, StyleReference, image_url},
    time::now,
    unused_blobs::remove_unused,
};

/// Most held-out images and images of the base that style is measured by.
const MAX_HELD_OUT: usize = 24;
const MAX_BASE: i64 = 48;

/// The shadow of a version that is on, or its last one.
pub(crate) async fn record(shared: &Shared, id: &str) -> Result<ShadowRecord, StudioError> {
    let (name, version) = exact(&shared.store, id).await?;
    match shared.store.shadow_of(&name, version).await? {
        Some(row) => assemble(shared, row).await,
        None => Err(StudioError::not_found("shadow of", id)),
    }
}

/// The shadow of an adapter that is on: its challenger.
pub(crate) async fn challenger(shared: &Shared, name: &str) -> Result<Option<String>, StudioError> {
    Ok(shared.store.shadow_on(name).await?.map(|row| row.challenger()))
}

/// Switches the shadow of a version on; one that is on gets another k and bound and keeps its pairs.
pub(crate) async fn switch_on(
    shared: Arc<Shared>,
    id: String,
    request: ShadowRequest,
    by: Mover,
) -> Result<ShadowRecord, StudioError> {
    let (name, number) = exact(&shared.store, &id).await?;
    check(request)?;
    if let Some(on) = shared.store.shadow_on(&name).await? {
        if on.version != i64::from(number) {
            return Err(StudioError::Conflict(format!(
                "{} is in shadow already; one version of an adapter can be at a time. Switch that one off first.",
                on.challenger()
            )));
        }
        shared.store.change_shadow(&on.id, (request.every, request.max_pairs), now()).await?;
        return record(&shared, &id).await;
    }
    let (challenger, champion) = contenders(&shared, &name, number).await?;
    fits(&shared, &challenger).await?;
    let JudgeInfo { name: judge_name, hash, revision } =
        evaluation::judge(&shared.worker).await.map_err(conflict)?;
    let style = style_reference(&shared, &challenger).await?;
    let new = NewShadow {
        id: Uuid::now_v7().to_string(),
        name,
        challenger: (number, challenger.hash),
        champion: (champion.version, champion.hash),
        base: shared.model.hash.clone(),
        judge: format!("{hash} {revision}"),
        judge_name,
        style,
        every: request.every,
        max_pairs: request.max_pairs,
        at: now(),
        by: by.to_string(),
    };
    if !shared.store.insert_shadow(&new).await? {
        return Err(StudioError::Conflict(format!(
            "Production or the shadow of {} changed just now; look again.",
            new.name
        )));
    }
    // It may have been set aside while the judge was loaded.
    if let Err(error) = contenders(&shared, &new.name, number).await {
        let reason = error.to_string();
        shared.store.end_shadow(&new.id, End { at: now(), by: "server", reason: &reason }).await?;
        return Err(error);
    }
    tracing::info!(shadow = id, every = new.every, max_pairs = new.max_pairs, "switched on");
    // Images of the one before were given up.
    remove_unused(&shared.store, &shared.blobs).await?;
    shared.work.shadow_waits();
    record(&shared, &id).await
}

/// Switches the shadow of a version off. Its results stay.
pub(crate) async fn switch_off(
    shared: Arc<Shared>,
    id: String,
    by: Mover,
) -> Result<ShadowRecord, StudioError> {
    let (name, version) = exact(&shared.store, &id).await?;
    let row = shared.store.shadow_of(&name, version).await?;
    let Some(row) = row else { return Err(StudioError::not_found("shadow of", &id)) };
    let end = End { at: now(), by: &by.to_string(), reason: "It was switched off." };
    if !shared.store.end_shadow(&row.id, end).await? {
        return Err(StudioError::Conflict(format!("The shadow of {id} is not on.")));
    }
    remove_unused(&shared.store, &shared.blobs).await?;
    record(&shared, &id).await
}

fn check(request: ShadowRequest) -> Result<(), StudioError> {
    let fields = [("every", "Every", request.every), ("max_pairs", "Pairs", request.max_pairs)];
    let wrong = fields.into_iter().filter(|(.., value)| !(1..=MAX_SHADOW).contains(value));
    let errors: Vec<FieldError> = wrong
        .map(|(field, label, value)| FieldError {
            field: field.to_owned(),
            message: format!("{label} must be 1 to {MAX_SHADOW}; got {value}."),
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(StudioError::Invalid(ValidationError(errors))) }
}

/// The challenger and the version in production, if they can be compared.
async fn contenders(
    shared: &Shared,
    name: &str,
    number: u32,
) -> Result<(AdapterVersion, AdapterVersion), StudioError> {
    let id = format!("{name}@v{number}");
    let known = shared.store.all_adapters().await?;
    let version = |number: u32| {
        let found = known.iter().find(|listed| {
            (listed.version.name.as_str(), listed.version.version) == (name, number)
                && listed.deleted_at.is_none()
        });
        found.map(|listed| listed.version.clone())
    };
    let challenger = version(number).ok_or_else(|| StudioError::not_found("adapter version", &id))?;
    match challenger.stage {
        Stage::Candidate => {}
        Stage::Production => {
            return refused(format!("{id} is in production itself. Choose a candidate of {name}."));
        }
        stage @ (Stage::Archived | Stage::Rejected) => {
            return refused(format!("{id} is {}. Reopen it as a candidate first.", stage.word()));
        }
    }
    let production = shared.store.book(name).await?.production();
    let Some(champion) = production.and_then(version) else {
        return refused(format!(
            "No version of {name} is in production, so there is nothing to compare {id} with. Promote one first."
        ));
    };
    Ok((challenger, champion))
}

/// Refuses a file that is damaged or does not fit the loaded model.
async fn fits(shared: &Shared, version: &AdapterVersion) -> Result<(), StudioError> {
    let id = version.id();
    if !shared.blobs.is_sound(&version.hash).await? {
        return refused(format!(
            "The file of {id} is missing or damaged. Restore it from a backup, or add it again."
        ));
    }
    let receipt = match shared.store.receipt(&version.hash, &shared.model.hash).await? {
        Some(receipt) => receipt,
        None => {
            let file = adapters::local(&shared.blobs, version).await?;
            match shared.worker.check_adapter(file.to_path_buf()).await? {
                Ok(receipt) => {
                    shared.store.save_receipt(&version.hash, &shared.model.hash, &receipt).await?;
                    receipt
                }
                Err(BackendError::Cancelled) => return Err(StudioError::ShuttingDown),
                Err(BackendError::Failed(why)) => {
                    return refused(format!(
                        "{id} does not fit the loaded model, {}: {why}",
                        shared.model.name
                    ));
                }
            }
        }
    };
    if receipt.applied.is_empty() {
        return refused(format!("{id} changes no layer of the loaded model, {}.", shared.model.name));
    }
    Ok(())
}

fn refused<T>(message: String) -> Result<T, StudioError> {
    Err(StudioError::Conflict(message))
}

/// A judge that is missing is a state of the server, not a fault of it.
fn conflict(error: StudioError) -> StudioError {
    match error {
        StudioError::Backend(message) => StudioError::Conflict(message),
        other => other,
    }
}

/// What the style of a version is measured by: held-out images of its dataset, and the base's images of an evaluation.
async fn style_reference(shared: &Shared, version: &AdapterVersion) -> Result<StyleReference, StudioError> {
    let id = version.id();
    let without = |why: String| Ok(StyleReference { note: Some(why), ..StyleReference::default() });
    let Some(run) = shared.store.run_of_version(&id).await? else {
        return without(format!("No training run of this studio made {id}, so it has no held-out images."));
    };
    let request = run.request()?;
    let images = match shared.datasets.images(&request.dataset).await {
        Ok(images) if !images.is_empty() => images,
        Ok(_) | Err(StudioError::NotFound { .. }) => {
            return without(format!("The dataset of {id} was deleted."));
        }
        Err(error) => return Err(error),
    };
    let repeats = images.iter().map(crate::store::DatasetImageRow::repeats).collect();
    let places = shared.worker.held_out(repeats, request.config).await??;
    let mut held_out: Vec<String> =
        places.into_iter().filter_map(|at| images.get(at).map(|image| image.hash.clone())).collect();
    held_out.truncate(MAX_HELD_OUT);
    if held_out.is_empty() {
        return without(format!("The training run of {id} held out no images."));
    }
    let base = shared.store.base_images(&version.name, &shared.model.hash, MAX_BASE).await?;
    if base.is_empty() {
        return without(format!(
            "The base model has no images to compare with. Evaluate a version of {}, then switch the shadow on again.",
            version.name
        ));
    }
    Ok(StyleReference { held_out, base, note: None })
}

async fn assemble(shared: &Shared, row: ShadowRow) -> Result<ShadowRecord, StudioError> {
    let pairs = shared.store.pairs(&row.id).await?;
    let scores: Vec<_> = pairs.iter().filter_map(PairRow::scores).collect();
    let waiting = pairs.iter().filter(|pair| pair.is_waiting()).count();
    let clip = measure("clip_score", scores.iter().map(|scores| scores.clip));
    let style = row.style()?;
    let margins = (style.note.is_none())
        .then(|| measure("style_margin", scores.iter().filter_map(|scores| scores.style)));
    let other = row.ended_at.is_none() && row.base != shared.model.hash;
    let kept = shared.store.kept_pairs(&row.id).await?;
    Ok(ShadowRecord {
        version: row.challenger(),
        champion: row.champion(),
        on: row.ended_at.is_none(),
        rests: other.then(|| "The server has another base model loaded.".to_owned()),
        every: small(row.every),
        max_pairs: small(row.max_pairs),
        generations: row.generations.cast_unsigned(),
        scored: count(scores.len()),
        waiting: count(waiting),
        left_out: count(pairs.len() - scores.len() - waiting),
        judge: row.judge_name,
        measures: std::iter::once(clip).chain(margins).collect(),
        style_note: style.note,
        started_at: row.started_at,
        started_by: row.started_by,
        ended_at: row.ended_at,
        ended_by: row.ended_by,
        reason: row.reason,
        pairs: kept.into_iter().map(pair).collect::<Result<_, _>>()?,
    })
}

/// Scores of champion and challenger, in order.
fn measure(name: &str, scores: impl Iterator<Item = [f64; 2]>) -> ShadowMeasure {
    let process = EProcess::after(scores.map(|[champion, challenger]| PairOutcome::of(champion, challenger)));
    ShadowMeasure {
        name: name.to_owned(),
        better: process.better,
        worse: process.worse,
        ties: process.ties,
        e: process.e(),
        outcome: match process.decided {
            None | Some((PairOutcome::Tie, _)) => ShadowOutcome::Undecided,
            Some((PairOutcome::Better, _)) => ShadowOutcome::Better,
            Some((PairOutcome::Worse, _)) => ShadowOutcome::Worse,
        },
        decided_after: process.decided.map(|(_, after)| after),
        more_pairs: process.more_pairs(),
    }
}

fn pair(kept: KeptPair) -> Result<ShadowPair, StudioError> {
    let (recipe, scores) = (kept.recipe()?, kept.scores());
    Ok(ShadowPair {
        number: kept.number.cast_unsigned(),
        prompt: recipe.spec.prompt,
        seed: recipe.spec.seed,
        champion: image_url(&kept.champion),
        challenger: image_url(&kept.challenger),
        clip_scores: scores.clip,
        style_margins: scores.style,
    })
}

fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
