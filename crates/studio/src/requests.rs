//! What changes a generation from outside: submitting and cancelling. Each runs in a task of its own, so
//! that row and queue cannot come apart when the caller leaves half-way.

use std::sync::Arc;

use adire_protocol::{Generation, GenerationEvent, GenerationRequest, GenerationState, Links, lora_tag};
use uuid::Uuid;

use crate::{
    StudioError,
    adapters::resolve,
    board::{CancelOutcome, Job},
    dispatch::write_end,
    prompts,
    shared::{Shared, now},
    uploads, views,
};

/// Checks, keeps a place, writes the row, takes the place.
pub(crate) async fn submit(
    shared: Arc<Shared>,
    request: GenerationRequest,
    visitor: Option<String>,
) -> Result<Generation, StudioError> {
    let model = &shared.model;
    // The low half of a version 4 UUID is random but for two bits; `validate` takes the lowest 32.
    let (_, random) = Uuid::new_v4().as_u64_pair();
    let mut spec = match uploads::defaults_for(&shared, &request).await {
        Ok(defaults) => request.validate(&model.limits, &defaults, random)?,
        // What else is wrong is said first: it may be why the picture cannot be found.
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
    }
    prompts::check(&shared, &spec.prompt, &spec.negative_prompt).await?;
    let place = shared.board.reserve(visitor.as_deref())?;
    for hash in spec.init_image.iter().chain(&spec.mask) {
        shared.store.use_upload(hash).await?;
    }
    let (id, created_at) = (Uuid::now_v7().to_string(), now());
    shared.store.insert_generation(&id, visitor.as_deref(), &spec, created_at).await?;
    shared.board.enqueue(
        Job { id: id.clone(), visitor, spec: spec.clone(), finished: Vec::new() },
        1,
        Vec::new(),
    );
    drop(place);
    // None: the worker has taken it already.
    let (ahead, wait_ms) = shared.board.position(&id).unwrap_or((0, Some(0)));
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
    })
}

/// Takes it out of the queue, or tells the worker to stop.
pub(crate) async fn cancel(shared: Arc<Shared>, id: String) -> Result<Generation, StudioError> {
    if let CancelOutcome::Removed(job) = shared.board.cancel(&id) {
        let event = GenerationEvent::Cancelled;
        if let Err(error) = write_end(&shared, &id, &event).await {
            shared.board.keep(*job);
            return Err(error);
        }
        shared.board.publish(&id, event);
    }
    views::generation(&shared, &id).await
}
