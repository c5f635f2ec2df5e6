//! Class images that the base model makes itself, for prior preservation. They are kept as files, so that a run that is
//! taken up again is trained on the same ones.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use adire_engine::{EngineError, Pipeline, Result};
use adire_protocol::{GenerationRequest, GenerationSpec};
use adire_studio::{TrainingImage, TrainingTask, encode_png};
use sha2::{Digest, Sha256};

use super::output::put;
use crate::init_image::pixels;

/// Seeds keep within what a request can have.
const SEEDS: u64 = 1 << 32;

/// Those of one run.
#[derive(Debug)]
pub(super) struct ClassImages {
    folder: PathBuf,
    prompt: String,
    seed: u64,
    /// How many are to be made.
    pub(super) count: usize,
}

impl ClassImages {
    /// What the settings ask for beyond the `given` ones.
    pub(super) fn new(task: &TrainingTask, given: usize) -> Self {
        let asked = task.config.class_images as usize;
        Self {
            folder: task.folder.join("class"),
            prompt: task.class_prompt.clone(),
            seed: task.config.seed,
            count: asked.saturating_sub(given),
        }
    }

    /// The image at `place`, which may not have been made.
    pub(super) fn image(&self, pipeline: &Pipeline, place: usize) -> TrainingImage {
        // Another model, prompt or seed makes other images: they must not be taken for these.
        let of = format!("{}\n{}\n{}", pipeline.info().hash, self.seed, self.prompt);
        let digest = Sha256::digest(of.as_bytes());
        let digest = hex::encode(&digest[..4]);
        TrainingImage {
            name: format!("class image {}", place + 1),
            path: self.folder.join(format!("{digest}-{place:04}.png")).into(),
            caption: self.prompt.clone(),
            repeats: 1,
        }
    }

    /// Makes it with the base alone.
    ///
    /// # Errors
    /// The prompt cannot be used, memory or the disk is full, or [`EngineError::Cancelled`].
    pub(super) fn make(
        &self,
        pipeline: &mut Pipeline,
        place: usize,
        path: &Path,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<()> {
        if interrupted() {
            return Err(EngineError::Cancelled);
        }
        let seed = self.seed.wrapping_add(place as u64) % SEEDS;
        let spec = plain_spec(pipeline, "class prompt", &self.prompt, seed)?;
        // What somebody's last image had in effect has no part in it.
        pipeline.set_adapters(&[])?;
        let mut on_step = |_| if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let output = pipeline.generate(&spec, &mut on_step)?;
        let png = encode_png(&pixels(output.image), "")
            .map_err(|error| EngineError::Request(format!("a class image could not be written ({error})")))?;
        fs::create_dir_all(&self.folder).map_err(|error| {
            EngineError::Request(format!("cannot create {} ({error})", self.folder.display()))
        })?;
        put(path, &png)
    }
}

/// An image of `prompt` with everything else as the model has it. `what` names the prompt in messages.
///
/// # Errors
/// The prompt cannot be used.
pub(super) fn plain_spec(pipeline: &Pipeline, what: &str, prompt: &str, seed: u64) -> Result<GenerationSpec> {
    let info = pipeline.info();
    let request =
        GenerationRequest { prompt: prompt.to_owned(), seed: Some(seed), ..GenerationRequest::default() };
    let spec = request.validate(&info.limits, &info.defaults, seed);
    spec.map_err(|error| EngineError::Request(format!("the {what} “{prompt}” is invalid: {error}")))
}
