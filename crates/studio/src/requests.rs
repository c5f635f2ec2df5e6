//! What changes a generation from outside: submitting and cancelling. Each runs in a task of its own, so
//! that rows and the copy of the queue cannot come apart when the caller leaves half-way.

use std::{collections::HashMap, sync::Arc};

use adire_protocol::{
    Generation, GenerationRequest, GenerationSpec, GenerationState, Links, Prompts, QueueOwner, Template,
    lora_tag,
};
use uuid::Uuid;

use crate::{
    StudioError,
    adapters::{be_strict, checkpoint, resolve, warnings},
    client::{Asker, Who},
    job::{JobKind, NewJob},
    limits, prompts,
    queue::{Place, QueuedGeneration},
    shared::Shared,
    time::now,
    uploads, views, wildcards,
    work::{self, Stopped},
};

/// A request that has been checked, and the adapters in effect that it wants.
struct Checked {
    spec: GenerationSpec,
    wants: String,
    warnings: Vec<String>,
    cost: f64,
}

/// What a request's adapters may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Versions.
    Versions,
    /// Steps of training runs, too: cells of sheets.
    Checkpoints,
}

/// Checks a sheet's request as [`submit`] does, and does nothing. Its checkpoint need not be saved yet.
pub(crate) async fn check(shared: &Arc<Shared>, request: GenerationRequest) -> Result<(), StudioError> {
    checked(shared, request, Reach::Checkpoints).await.map(drop)
}

async fn checked(
    shared: &Arc<Shared>,
    request: GenerationRequest,
    reach: Reach,
) -> Result<Checked, StudioError> {
    // The low half of a version 4 UUID is random but for two bits; `validate` takes the lower ones.
    let (_, random) = Uuid::new_v4().as_u64_pair();
    if !request.has_template() {
        return one_prompt(shared, request, random, reach).await;
    }
    let lists = wildcards::lists(shared).await?;
    let seed = request.seed.unwrap_or(random & 0xffff_ffff);
    let images = request.image_prompts(&lists, seed, &shared.model.limits)?;
    let asked = Template {
        prompt: request.prompt.trim().to_owned(),
        negative_prompt: request.negative_prompt.trim().to_owned(),
        per_line: request.per_line == Some(true),
        images: Vec::new(),
    };
    let count = request.images();
    let request = GenerationRequest { seed: Some(seed), ..request };
    let mut checked: Option<Checked> = None;
    let mut prompts: Vec<Prompts> = Vec::new();
    let mut known: HashMap<Prompts, Prompts> = HashMap::new();
    for image in images {
        if let Some(resolved) = known.get(&image) {
            prompts.push(resolved.clone());
            continue;
        }
        let own = GenerationRequest {
            prompt: image.prompt.clone(),
            negative_prompt: image.negative_prompt.clone(),
            ..request.clone()
        };
        let next = one_prompt(shared, own, random, reach).await?;
        let resolved =
            Prompts { prompt: next.spec.prompt.clone(), negative_prompt: next.spec.negative_prompt.clone() };
        known.insert(image, resolved.clone());
        prompts.push(resolved);
        match &mut checked {
            Some(first) => {
                let new = next.warnings.into_iter().filter(|warning| !first.warnings.contains(warning));
                let new: Vec<_> = new.collect();
                first.warnings.extend(new);
            }
            None => checked = Some(next),
        }
    }
    let mut checked = match checked {
        Some(checked) => checked,
        // No images: what is wrong with that, says validation.
        None => return one_prompt(shared, request, random, reach).await,
    };
    checked.spec.count = count;
    let differs = prompts
        .iter()
        .any(|image| (&image.prompt, &image.negative_prompt) != (&asked.prompt, &asked.negative_prompt));
    checked.spec.template = differs.then_some(Template { images: prompts, ..asked });
    checked.cost = limits::check_cost(&checked.spec, shared.work.budget())?;
    Ok(checked)
}

/// Checks a request whose images have one prompt.
async fn one_prompt(
    shared: &Arc<Shared>,
    request: GenerationRequest,
    random: u64,
    reach: Reach,
) -> Result<Checked, StudioError> {
    let (model, strict) = (&shared.model, request.strict);
    let mut spec = match uploads::defaults_for(shared, &request).await {
        Ok(defaults) => request.validate(&model.limits, &defaults, random)?,
        // Other errors are reported first: they may explain why the image cannot be found.
        Err(missing) => {
            request.validate(&model.limits, &model.defaults, random)?;
            return Err(missing);
        }
    };
    let mut wants = String::new();
    if !spec.adapters.is_empty() {
        let known = shared.store.adapters().await?;
        let mut uses = Vec::new();
        for adapter in &mut spec.adapters {
            if let Some((run, step)) = checkpoint(&adapter.name).filter(|_| reach == Reach::Checkpoints) {
                let hash = shared.store.checkpoint(&run, step).await?;
                uses.push((hash.unwrap_or_default(), adapter.clone()));
                continue;
            }
            let version = resolve(&known, &adapter.name)?;
            adapter.name = version.id();
            uses.push((version.hash.clone(), adapter.clone()));
        }
        wants = work::wants(&uses);
        // A tag says which version it meant, as the list does: the newest one may be another tomorrow.
        let tagged = spec.adapters.iter().filter(|adapter| adapter.in_prompt);
        let names: Vec<String> = tagged.map(|adapter| adapter.name.clone()).collect();
        spec.prompt = lora_tag::rename(&spec.prompt, &names);
        if strict {
            let mut versions = spec.adapters.clone();
            versions.retain(|adapter| checkpoint(&adapter.name).is_none());
            be_strict(shared, &versions).await?;
        }
    }
    let warnings = warnings(shared, &spec.adapters).await?;
    prompts::check(shared, &spec).await?;
    let cost = limits::check_cost(&spec, shared.work.budget())?;
    Ok(Checked { spec, wants, warnings, cost })
}

/// Checks, keeps a place, writes the row, takes the place.
pub(crate) async fn submit(
    shared: Arc<Shared>,
    request: GenerationRequest,
    who: Who,
    reach: Reach,
) -> Result<Generation, StudioError> {
    let Checked { spec, wants, warnings, cost } = checked(&shared, request, reach).await?;
    shared.disk.check_reserve()?;
    let place = shared.work.reserve(&who, cost)?;
    let (id, created_at) = (Uuid::now_v7().to_string(), now());
    let job = NewJob {
        id: id.clone(),
        kind: JobKind::Generation,
        owner: who.owner().unwrap_or_default(),
        cost: work::expected_ms(&shared, &spec),
        wants,
        model: shared.model.hash.clone(),
        created_at,
    };
    let queued = shared.store.insert_generation(&job, &who, &spec).await?;
    let generation =
        QueuedGeneration { id: id.clone(), who, created_at, spec: spec.clone(), finished: Vec::new() };
    // Its place is seen before it can be claimed.
    let at = shared.work.enqueue(generation, queued).unwrap_or(Place::FIRST);
    drop(place);
    // The scheduler goes first: who asked takes a while to read the answer, and the device waits.
    tokio::task::yield_now().await;
    Ok(Generation {
        links: Links::of(&id),
        id,
        state: GenerationState::Queued,
        spec,
        created_at,
        started_at: None,
        finished_at: None,
        ahead: Some(at.ahead),
        wait_ms: at.wait_ms,
        wait_reason: at.reason,
        progress: None,
        images: Vec::new(),
        error: None,
        warnings,
    })
}

/// Takes it out of the queue, or tells the worker to stop.
pub(crate) async fn cancel(shared: Arc<Shared>, id: String, by: Asker) -> Result<Generation, StudioError> {
    let row = shared.store.generation(&id).await?.ok_or_else(|| StudioError::not_found("generation", &id))?;
    if !by.may(row.visitor.as_deref()) {
        return Err(StudioError::NotYours { what: "cancel" });
    }
    if stop(&shared, &id).await? == Stopped::Removed && !by.is_admin() {
        shared.work.count_withdrawal(&row.who());
    }
    views::generation(&shared, &id).await
}

/// Cancels a generation without an owner check: at once while queued, within one step while running.
pub(crate) async fn stop(shared: &Shared, id: &str) -> Result<Stopped, StudioError> {
    work::cancel(shared, id, work::kind_of(JobKind::Generation)).await
}

/// Cancels every queued or running generation that `of` selects; returns how many.
pub(crate) async fn cancel_all(shared: Arc<Shared>, of: QueueOwner) -> Result<u32, StudioError> {
    if of.network.is_none() && of.visitor.is_none() {
        let message = "Set network or visitor, as listed in the queue.";
        return Err(StudioError::invalid("network", message));
    }
    let mut cancelled = 0;
    for (generation, _) in shared.work.generations() {
        let is = |wanted: &Option<String>, known: &Option<String>| wanted.is_none() || wanted == known;
        if is(&of.network, &generation.who.network) && is(&of.visitor, &generation.who.visitor) {
            stop(&shared, &generation.id).await?;
            cancelled += 1;
        }
    }
    Ok(cancelled)
}
