//! From a request of any dialect to images: models become adapters, files become uploads, and the request enters the queue
//! as every other one does.

use std::convert::Infallible;

use adire_protocol::{Generation, GenerationEvent, GenerationRequest, GenerationState, Upload};
use adire_studio::{EventStream, ImageUse};
use futures::{StreamExt, stream};

use super::models;
use crate::{
    error::{Problem, ProblemKind},
    state::AppState,
    submission::{Caller, submit},
};

/// A request of any dialect.
#[derive(Debug, Default)]
pub(crate) struct Ask {
    /// The request.
    pub(crate) request: GenerationRequest,
    /// The model's title; `None` for the base.
    pub(crate) model: Option<String>,
    /// File of the init image.
    pub(crate) init_image: Option<Vec<u8>>,
    /// File of the mask; transparent or white areas are regenerated.
    pub(crate) mask: Option<Vec<u8>>,
}

/// Puts it into the queue.
pub(crate) async fn begin(state: &AppState, caller: &Caller, ask: Ask) -> Result<Generation, Problem> {
    begin_with_warnings(state, caller, ask).await.map(|(generation, _)| generation)
}

/// The same; with what the studio read in the files otherwise than it is there, one sentence each.
pub(crate) async fn begin_with_warnings(
    state: &AppState,
    caller: &Caller,
    ask: Ask,
) -> Result<(Generation, Vec<String>), Problem> {
    let Ask { mut request, model, init_image, mask } = ask;
    let mut warnings = Vec::new();
    if let Some(model) = model {
        let mut adapters = models::adapters(&state.studio, &model).await?;
        adapters.append(&mut request.adapters);
        request.adapters = adapters;
    }
    if let Some(file) = init_image {
        let upload = upload(state, caller, "init_image", file, ImageUse::Colours).await?;
        request.init_image = Some(upload.hash);
        warnings.extend(upload.warnings);
    }
    if let Some(file) = mask {
        let upload = upload(state, caller, "mask", file, ImageUse::Mask).await?;
        request.mask = Some(upload.hash);
        warnings.extend(upload.warnings);
    }
    Ok((submit(state, caller, request).await?, warnings))
}

/// Keeps a file as an upload of the caller's; the same pixels again cost nothing.
async fn upload(
    state: &AppState,
    caller: &Caller,
    field: &str,
    file: Vec<u8>,
    used_as: ImageUse,
) -> Result<Upload, Problem> {
    let chunks = stream::iter([Ok::<_, Infallible>(file)]);
    let upload = state.studio.upload(chunks, used_as, &caller.client).await.map_err(Problem::from);
    upload.map_err(|problem| match problem.is(ProblemKind::Invalid) && problem.errors.is_empty() {
        true => Problem::field(field, problem.detail),
        false => problem,
    })
}

/// Its events from the first on. They end early when the server shuts down.
pub(crate) async fn events(state: &AppState, id: &str) -> Result<EventStream, Problem> {
    Ok(state.studio.events(id, 0).await?.take_until(state.shutdown.started()).boxed())
}

/// Waits until it has ended. One that was cancelled has the images that were finished before.
pub(crate) async fn finish(state: &AppState, generation: Generation) -> Result<Generation, Problem> {
    finish_showing(state, generation, |_| ()).await
}

/// The same; `show` gets each preview.
pub(crate) async fn finish_showing(
    state: &AppState,
    mut generation: Generation,
    mut show: impl FnMut(String),
) -> Result<Generation, Problem> {
    let mut events = events(state, &generation.id).await?;
    generation.images.clear();
    while let Some(event) = events.next().await {
        match event.event {
            GenerationEvent::Failed { message } => return Err(failed(message)),
            GenerationEvent::Progress(progress) => progress.preview.into_iter().for_each(&mut show),
            GenerationEvent::Image { image } => {
                if generation.images.is_empty() {
                    generation.warnings.clone_from(&image.recipe.warnings);
                }
                generation.images.push(*image);
            }
            GenerationEvent::Done | GenerationEvent::Cancelled => {
                let done = event.event == GenerationEvent::Done;
                generation.state = if done { GenerationState::Done } else { GenerationState::Cancelled };
                return Ok(generation);
            }
            GenerationEvent::Queued { .. } | GenerationEvent::Started => {}
        }
    }
    Err(stopping())
}

/// Why no images were made.
pub(crate) fn failed(message: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::Internal, message)
}

/// The server goes down in the middle.
pub(crate) fn stopping() -> Problem {
    let sentence =
        "The server is shutting down; it finishes what was queued after it has started again. Try again.";
    Problem::new(ProblemKind::ShuttingDown, sentence).retry_after(5)
}

/// Somebody has cancelled it.
pub(crate) fn cancelled() -> Problem {
    failed("The generation was cancelled.")
}

/// Whether it ended with all its images.
pub(crate) fn is_done(generation: &Generation) -> bool {
    generation.state == GenerationState::Done
}
