//! The engine as the studio's backend: adapter files become resident adapters, a job becomes a picture.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use adire_engine::{EngineError, LoadOptions, Pipeline, Rgb8, adapter::Adapter};
use adire_protocol::ModelInfo;
use adire_studio::{AdapterFile, Backend, BackendError, Pixels, RenderJob, Rendered, Step};

/// Most adapters that stay in memory; a rank-16 adapter of SD 1.5 has about 20 MB.
const RESIDENT: usize = 16;

/// A loaded model with the adapters that were used last.
pub(crate) struct EngineBackend {
    pipeline: Pipeline,
    pool: Pool,
}

impl EngineBackend {
    /// Loads the model in `folder`.
    ///
    /// # Errors
    /// A sentence: which file is missing or damaged, and what to do.
    pub(crate) fn load(folder: &Path) -> Result<Self, BackendError> {
        let pipeline = Pipeline::load(folder, &LoadOptions::default()).map_err(|error| failed(&error))?;
        Ok(Self { pipeline, pool: Pool::default() })
    }
}

impl Backend for EngineBackend {
    fn info(&self) -> ModelInfo {
        self.pipeline.info().clone()
    }

    fn check_adapter(&mut self, path: &Path) -> Result<(), BackendError> {
        // The next picture sets its own adapters, so nothing has to be put back.
        let tried = Adapter::read(path)
            .and_then(|adapter| self.pipeline.set_adapters(&[(Arc::new(adapter), 1.0)]).map(|_| ()));
        tried.map_err(|error| match error {
            // The path is a temporary one and says nothing to people.
            EngineError::Adapter { message, .. } => BackendError::Failed(format!("The file {message}")),
            error => failed(&error),
        })
    }

    fn render(
        &mut self,
        job: &RenderJob,
        on_step: &mut dyn FnMut(Step) -> ControlFlow<()>,
    ) -> Result<Rendered, BackendError> {
        let mut adapters = Vec::with_capacity(job.adapters.len());
        for file in &job.adapters {
            adapters.push((self.pool.get(file)?, file.strength));
        }
        self.pipeline.set_adapters(&adapters).map_err(|error| failed(&error))?;
        let output = self
            .pipeline
            .generate(&job.spec, &mut |step| {
                on_step(Step { step: step.step, steps: step.steps, preview: Some(pixels(step.preview)) })
            })
            .map_err(|error| failed(&error))?;
        Ok(Rendered { pixels: pixels(output.image), seconds: output.seconds })
    }
}

/// Adapters that have been read, the one used last at the end.
#[derive(Default)]
struct Pool(Vec<(String, Arc<Adapter>)>);

impl Pool {
    /// The adapter with the hash of `file`; the file is read only when it is not resident.
    fn get(&mut self, file: &AdapterFile) -> Result<Arc<Adapter>, BackendError> {
        let entry = match self.0.iter().position(|(hash, _)| *hash == file.hash) {
            Some(index) => self.0.remove(index),
            None => (file.hash.clone(), Arc::new(read(file)?)),
        };
        let adapter = Arc::clone(&entry.1);
        self.0.push(entry);
        if self.0.len() > RESIDENT {
            self.0.remove(0);
        }
        Ok(adapter)
    }
}

fn read(file: &AdapterFile) -> Result<Adapter, BackendError> {
    let adapter = Adapter::read(&file.path).map_err(|error| match error {
        EngineError::Adapter { message, .. } => {
            BackendError::Failed(format!("The file of {} {message}", file.id))
        }
        error => failed(&error),
    })?;
    if adapter.hash() != file.hash {
        let message = format!(
            "The file of {} is no longer the one that was added: its hash has changed. Add it again.",
            file.id
        );
        return Err(BackendError::Failed(message));
    }
    Ok(adapter)
}

fn failed(error: &EngineError) -> BackendError {
    match error {
        EngineError::Cancelled => BackendError::Cancelled,
        error => BackendError::Failed(sentence(&error.to_string())),
    }
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let capital = chars.next().into_iter().flat_map(char::to_uppercase);
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    capital.chain(chars).chain(stop.chars()).collect()
}

pub(crate) fn pixels(image: Rgb8) -> Pixels {
    Pixels { width: image.width, height: image.height, rgb: image.data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_sentences() {
        assert_eq!(sentence("the size is 7"), "The size is 7.");
        assert_eq!(sentence("/a/b: is truncated."), "/a/b: is truncated.");
        assert_eq!(sentence(""), ".");
    }
}
