//! What changes a generation from outside: submitting and cancelling. Each runs in a task of its own, so
//! that row and queue cannot come apart when the caller leaves half-way.

use std::sync::Arc;

use adire_protocol::{
    FieldError, Generation, GenerationEvent, GenerationRequest, GenerationState, Links, QueueOwner,
    ValidationError, lora_tag,
};
use uuid::Uuid;

use crate::{
    StudioError,
    adapters::{be_strict, resolve, warnings},
    client::Who,
    deletion::Asker,
    dispatch::write_end,
    limits, prompts,
    queue::{CancelOutcome, QueuedGeneration},
    shared::{Shared, now},
    uploads, views,
};

/// Checks, keeps a place, writes the row, takes the place.
pub(crate) async fn submit(
    shared: Arc<Shared>,
    request: GenerationRequest,
    who: Who,
) -> Result<Generation, StudioError> {
    let (model, strict) = (&shared.model, request.strict);
    // The low half of a version 4 UUID is random but for two bits; `validate` takes the lowest 32.
    let (_, random) = Uuid::new_v4().as_u64_pair();
    let mut spec = match uploads::defaults_for(&shared, &request).await {
        Ok(defaults) => request.validate(&model.limits, &defaults, random)?,
        // Other errors are reported first: they may explain why the image cannot be found.
        Err(missing) => {
            request.validate(&model.limits, &model.defaults, random)?;
            return Err(missing);
        }
    };
    if !spec.adapters.is_empty() {
        let known = shared.store.adapters().await?;
        for adapter in &mut spec.adapters {
            adapter.name = resolve(&known, &adapter.name)?.id();
        }
        // A tag says which version it meant, as the list does: the newest one may be another tomorrow.
        let tagged = spec.adapters.iter().filter(|adapter| adapter.in_prompt);
        let names: Vec<String> = tagged.map(|adapter| adapter.name.clone()).collect();
        spec.prompt = lora_tag::rename(&spec.prompt, &names);
        if strict {
            be_strict(&shared, &spec.adapters).await?;
        }
    }
    let warnings = warnings(&shared, &spec.adapters).await?;
    prompts::check(&shared, &spec.prompt, &spec.negative_prompt).await?;
    let cost = limits::check_cost(&spec, shared.queue.budget())?;
    shared.disk.check_reserve()?;
    let place = shared.queue.reserve(&who, cost)?;
    let (id, created_at) = (Uuid::now_v7().to_string(), now());
    // Before the row: who finds the row can follow it.
    shared.queue.announce(&id);
    if let Err(error) = shared.store.insert_generation(&id, &who, &spec, created_at).await {
        shared.queue.withdraw(&id);
        return Err(error);
    }
    let generation =
        QueuedGeneration { id: id.clone(), who, created_at, spec: spec.clone(), finished: Vec::new() };
    shared.queue.enqueue(generation, 1, Vec::new());
    drop(place);
    // None: the worker has taken it already.
    let (ahead, wait_ms) = shared.queue.position(&id).unwrap_or((0, Some(0)));
    Ok(Generation {
        links: Links::of(&id),
        id,
        state: GenerationState::Queued,
        spec,
        created_at,
        started_at: None,
        finished_at: None,
        ahead: Some(ahead),
        wait_ms,
        progress: None,
        images: Vec::new(),
        error: None,
        warnings,
    })
}

/// Takes it out of the queue, or tells the worker to stop.
pub(crate) async fn cancel(shared: Arc<Shared>, id: String, by: Asker) -> Result<Generation, StudioError> {
    let row = shared.store.generation(&id).await?.ok_or_else(|| views::not_found("generation", &id))?;
    if !by.may(row.visitor.as_deref()) {
        return Err(StudioError::NotYours { what: "cancel" });
    }
    if !stop(&shared, &id).await? && row.state() == GenerationState::Queued && !by.is_admin() {
        shared.queue.count_withdrawal(&Who { visitor: row.visitor, network: row.network });
    }
    views::generation(&shared, &id).await
}

/// Cancels a generation without an owner check: at once while queued, within one step while running. Returns whether it still runs.
pub(crate) async fn stop(shared: &Shared, id: &str) -> Result<bool, StudioError> {
    match shared.queue.cancel(id) {
        CancelOutcome::Removed(generation) => {
            let event = GenerationEvent::Cancelled;
            if let Err(error) = write_end(shared, id, &event).await {
                shared.queue.reinsert(*generation);
                return Err(error);
            }
            shared.queue.publish(id, event);
            Ok(false)
        }
        CancelOutcome::Stopping => Ok(true),
        CancelOutcome::Absent => Ok(false),
    }
}

/// Cancels every queued or running generation that `of` selects; returns how many.
pub(crate) async fn cancel_all(shared: Arc<Shared>, of: QueueOwner) -> Result<u32, StudioError> {
    if of.network.is_none() && of.visitor.is_none() {
        let message = "Set network or visitor, as listed in the queue.".to_owned();
        return Err(StudioError::Invalid(ValidationError(vec![FieldError {
            field: "network".to_owned(),
            message,
        }])));
    }
    let mut cancelled = 0;
    for (generation, _) in shared.queue.generations() {
        let is = |wanted: &Option<String>, known: &Option<String>| wanted.is_none() || wanted == known;
        if is(&of.network, &generation.who.network) && is(&of.visitor, &generation.who.visitor) {
            stop(&shared, &generation.id).await?;
            cancelled += 1;
        }
    }
    Ok(cancelled)
}
