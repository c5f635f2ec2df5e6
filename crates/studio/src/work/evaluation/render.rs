//! Rendering: images that some evaluation has are found by their recipe, the others are rendered one by one.

use std::sync::Arc;

use adire_protocol::{
    AdapterUse, EvaluationImage, EvaluationRole, EvaluationStepName, FailedImage, GenerationRequest,
    GenerationSpec, StepState,
};
use sha2::{Digest, Sha256};

use super::{At, EvaluationRun};
use crate::{
    BackendError, RenderRequest, Rendered,
    evaluation::{
        plan::Slot,
        steps::{self, Inputs},
    },
    png::encode_bare,
    queue::Stop,
    shared::Shared,
    store::NewImage,
    tasks::blocking,
    work::Progressed,
};

/// Images that are found rather than rendered in one unit.
const FOUND: usize = 32;

#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) rendered: u32,
    pub(super) found: u32,
    pub(super) failed: Vec<FailedImage>,
}

/// Reasons that a step's log lists.
const REASONS: usize = 10;

impl Counts {
    /// Why images failed, with the number of each, in the order of their first.
    fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<(&str, u32)> = Vec::new();
        for image in &self.failed {
            match reasons.iter_mut().find(|(known, _)| *known == image.reason) {
                Some((_, count)) => *count += 1,
                None => reasons.push((&image.reason, 1)),
            }
        }
        let line = |(reason, count): (&str, u32)| match count {
            1 => format!("1 image: {reason}"),
            count => format!("{count} images: {reason}"),
        };
        reasons.into_iter().take(REASONS).map(line).collect()
    }
}

impl EvaluationRun {
    /// Finds or renders images up to the end of the block; at most one is rendered.
    pub(super) async fn render(&mut self, shared: &Arc<Shared>) -> Result<Progressed, Stop> {
        let prepared = self.prepared()?;
        let end = prepared.plan.blocks.get(self.block).copied().unwrap_or(prepared.plan.slots.len());
        if self.next == 0 && self.step.is_none() {
            let plan_hash = prepared.plan_hash.clone();
            let inputs = [("plan".to_owned(), plan_hash)].into_iter().collect::<Inputs>();
            let before = self.before(shared, EvaluationStepName::Prepare).await?;
            let mut inputs = inputs;
            // Differences are named by the plan's own inputs.
            if let Some(step) = before {
                inputs.extend(step.inputs);
            }
            self.begin_step(shared, EvaluationStepName::Render, inputs).await?;
        }
        for _ in 0..FOUND {
            if self.next >= end {
                self.at = At::Score;
                return Ok(Progressed::More);
            }
            let prepared = self.prepared()?;
            let slot = prepared.plan.slots[self.next].clone();
            let request = self.request(shared, &slot)?;
            let recipe = recipe(shared, &request);
            let again = self.row.request()?.rerun == Some(EvaluationStepName::Render);
            let known = if again { None } else { shared.store.rendered(&recipe).await? };
            let known = match known {
                // A file that is gone or damaged is rendered again.
                Some((hash, seconds)) if shared.blobs.is_sound(&hash).await? => Some((hash, seconds)),
                _ => None,
            };
            let rendered_now = known.is_none();
            let mut keeping = None;
            let image = match known {
                Some((hash, seconds)) => {
                    self.render.found += 1;
                    Some((hash, seconds))
                }
                None => match self.render_one(shared, request).await? {
                    Ok(Rendered { pixels, seconds, .. }) => {
                        self.render.rendered += 1;
                        let png = blocking(move || encode_bare(&pixels)).await?;
                        keeping = Some(shared.blobs.keeping().await);
                        let hash = shared.blobs.put(png).await?;
                        Some((hash, if seconds.is_finite() { seconds } else { 0.0 }))
                    }
                    Err(message) => {
                        tracing::warn!(evaluation = self.row.id, message, "an image failed");
                        self.render.failed.push(FailedImage {
                            role: slot.role,
                            prompt: slot.prompt,
                            text: slot.text.clone(),
                            seed: slot.seed,
                            reason: message,
                        });
                        None
                    }
                },
            };
            if let Some((hash, seconds)) = &image {
                let new = NewImage {
                    role: slot.role,
                    prompt: slot.prompt,
                    seed: slot.seed,
                    text: slot.text.clone(),
                    recipe,
                    hash: hash.clone(),
                    seconds: *seconds,
                };
                shared.store.save_evaluation_image(&self.hold.lease, &new).await?;
            }
            drop(keeping);
            self.images.push(image.map(|(hash, seconds)| EvaluationImage {
                role: slot.role,
                prompt: slot.prompt,
                text: slot.text,
                seed: slot.seed,
                url: String::new(),
                hash,
                seconds,
                clip_score: None,
                style_margin: None,
            }));
            self.next += 1;
            if rendered_now {
                break;
            }
        }
        Ok(Progressed::More)
    }

    fn request(&self, shared: &Shared, slot: &Slot) -> Result<RenderRequest, Stop> {
        let prepared = self.prepared()?;
        let file = match slot.role {
            EvaluationRole::Base | EvaluationRole::BaseUntriggered | EvaluationRole::BaseCaption => None,
            EvaluationRole::Champion => prepared.champion.clone(),
            EvaluationRole::Challenger | EvaluationRole::Untriggered | EvaluationRole::Caption => {
                Some(prepared.challenger.clone())
            }
        };
        let uses = file.iter().map(|file| AdapterUse {
            name: file.id.clone(),
            strength: 1.0,
            te_strength: None,
            in_prompt: false,
        });
        let request = GenerationRequest {
            prompt: slot.text.clone(),
            seed: Some(slot.seed),
            adapters: uses.collect(),
            ..GenerationRequest::default()
        };
        let spec =
            request.validate(&shared.model.limits, &shared.model.defaults, slot.seed).map_err(|error| {
                Stop::Failed(format!("The prompt “{}” cannot be rendered: {error}", slot.text))
            })?;
        Ok(RenderRequest { spec, adapters: file.into_iter().collect(), embeddings: Vec::new(), init: None })
    }

    /// The image, or why there is none.
    async fn render_one(
        &self,
        shared: &Shared,
        request: RenderRequest,
    ) -> Result<Result<Rendered, String>, Stop> {
        match shared.worker.render(request, self.hold.stop.clone(), || {}).await? {
            Ok(rendered) => Ok(Ok(rendered)),
            Err(BackendError::Failed(message)) => Ok(Err(message)),
            Err(BackendError::Cancelled) => Err(self.hold.stopped().unwrap_or(Stop::Closing)),
        }
    }

    pub(super) async fn end_render(&mut self, shared: &Shared) -> Result<(), Stop> {
        let Counts { rendered, found, failed } = &self.render;
        let failed = failed.len();
        let hashes: Vec<&str> = self.images.iter().flatten().map(|image| image.hash.as_str()).collect();
        let state = if *rendered == 0 && failed == 0 { StepState::Reused } else { StepState::Done };
        let mut log = vec![format!(
            "{rendered} images rendered, {found} taken from earlier evaluations, {failed} failed."
        )];
        log.extend(self.render.reasons());
        self.end_step(shared, state, steps::digest(&hashes.join(" ")), log).await
    }
}

/// sha256 of everything that an image depends on.
fn recipe(shared: &Shared, request: &RenderRequest) -> String {
    let hashes: Vec<&str> = request.adapters.iter().map(|file| file.hash.as_str()).collect();
    // The names of adapters do not matter, their content does.
    let spec = GenerationSpec { adapters: Vec::new(), ..request.spec.clone() };
    let model = &shared.model;
    let revision = steps::revision(EvaluationStepName::Render);
    let vae = model.vae.as_ref().map(|vae| &vae.hash);
    let content = serde_json::json!([revision, model.hash, vae, model.device, model.dtype, spec, hashes]);
    hex::encode(Sha256::digest(content.to_string()))
}
