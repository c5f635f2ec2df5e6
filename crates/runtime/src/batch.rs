//! Images in one batch.

use std::ops::ControlFlow;

use adire_engine as engine;
use adire_studio::{BackendError, ImageUpdate, RenderRequest};

use crate::{
    backend::{EngineBackend, Prepared, shown},
    error::backend_error,
};

impl EngineBackend {
    /// Renders images in batches as large as fit; those that have not ended then are left to be made alone.
    ///
    /// # Errors
    /// Of a batch that failed.
    pub(crate) fn render_together(
        &mut self,
        jobs: &[RenderRequest],
        on_update: &mut dyn FnMut(usize, ImageUpdate) -> ControlFlow<()>,
    ) -> Result<(), BackendError> {
        let Some(spec) = jobs.first().map(|job| &job.spec) else { return Ok(()) };
        let size = (spec.width, spec.height);
        let fits = self.fits.get(&size).copied().unwrap_or(jobs.len());
        // In parts of about the same size, none larger than what fits.
        let part = jobs.len().div_ceil(jobs.len().div_ceil(fits));
        for (at, jobs) in jobs.chunks(part).enumerate() {
            // Files in effect are those of the first.
            if jobs.len() < 2 || !jobs.windows(2).all(|pair| files(&pair[0]).eq(files(&pair[1]))) {
                continue;
            }
            let first = at * part;
            let made = self.batch_of(jobs, &mut |image, update| on_update(first + image, update))?;
            made.map_err(|error| {
                if error.is_out_of_memory() {
                    let less = jobs.len().div_ceil(2);
                    tracing::warn!(
                        images = jobs.len(),
                        "a batch does not fit into the GPU's memory: those of this size have {less} images from now on"
                    );
                    self.fits.insert(size, less);
                }
                backend_error(&error)
            })?;
        }
        Ok(())
    }

    fn batch_of(
        &mut self,
        jobs: &[RenderRequest],
        on_update: &mut dyn FnMut(usize, ImageUpdate) -> ControlFlow<()>,
    ) -> Result<engine::Result<()>, BackendError> {
        let Some((first, others)) = jobs.split_first() else { return Ok(Ok(())) };
        let prepared = self.prepare(first, others)?;
        let checked = self.pipeline.info().safety_checker;
        let specs: Vec<_> = jobs.iter().map(|job| &job.spec).collect();
        // Before the images: each is reported while the pipeline is busy with the others.
        let fingerprint = self.fingerprint()?;
        let mut switch_seconds = Some(prepared.switch_seconds);
        Ok(self.pipeline.generate_batch(&specs, &mut |image, update| {
            let update = match update {
                engine::ImageUpdate::Begun { together } => ImageUpdate::Begun { together: together as u32 },
                engine::ImageUpdate::Step(step) => ImageUpdate::Step(shown(step, checked)),
                engine::ImageUpdate::Ended(Ok(output)) => {
                    // Only one of a batch waited for the switch.
                    let switch_seconds = switch_seconds.take().unwrap_or(0.0);
                    let prepared = Prepared { switch_seconds, ..prepared.clone() };
                    ImageUpdate::Ended(Ok(prepared.rendered(output, fingerprint.clone())))
                }
                engine::ImageUpdate::Ended(Err(error)) => ImageUpdate::Ended(Err(backend_error(&error))),
            };
            on_update(image, update)
        }))
    }
}

/// What a request lets take effect, by hash: its adapters, and the embeddings that it knows.
fn files(job: &RenderRequest) -> impl Iterator<Item = (&str, f64, f64)> {
    let adapters = job.adapters.iter().map(|file| (file.hash.as_str(), file.strength, file.te_strength));
    adapters.chain(job.embeddings.iter().map(|file| (file.hash.as_str(), 1.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use adire_engine::LoadOptions;
    use adire_protocol::GenerationRequest;
    use adire_studio::{AdapterFile, Backend, Rendered};

    use super::*;

    fn golden(name: &str) -> PathBuf {
        std::path::absolute(Path::new("../engine/tests/goldens").join(name)).unwrap()
    }

    fn jobs(backend: &EngineBackend, adapters: &[AdapterFile]) -> Vec<RenderRequest> {
        let info = backend.info();
        let spec = |(prompt, seed): (&str, u64)| {
            let request = GenerationRequest {
                prompt: prompt.to_owned(),
                steps: Some(2),
                width: Some(64),
                height: Some(64),
                ..Default::default()
            };
            request.validate(&info.limits, &info.defaults, seed).unwrap()
        };
        [("red flower", 3), ("white star", 8), ("red flower", 4)]
            .map(|like| RenderRequest {
                spec: spec(like),
                adapters: adapters.to_vec(),
                embeddings: Vec::new(),
                init: None,
            })
            .into()
    }

    type Ends = Vec<Option<Result<Rendered, BackendError>>>;

    /// The steps and the ends of a batch's images, and its own. `cancel`: at its first step.
    fn batch(
        backend: &mut EngineBackend,
        jobs: &[RenderRequest],
        cancel: Option<usize>,
    ) -> (Vec<u32>, Ends, Result<(), BackendError>) {
        let (mut steps, mut ends) = (vec![0; jobs.len()], vec![None; jobs.len()]);
        let result = backend.render_batch(jobs, &mut |image, update| {
            match update {
                ImageUpdate::Begun { together } => assert_eq!(together as usize, jobs.len()),
                ImageUpdate::Step(_) => steps[image] += 1,
                ImageUpdate::Ended(end) => ends[image] = Some(end),
            }
            if cancel == Some(image) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (steps, ends, result)
    }

    #[test]
    fn a_batch_has_the_images_of_its_jobs() {
        let folder = tempfile::tempdir().unwrap();
        let mut backend = EngineBackend::load(&golden("pipeline"), &LoadOptions::default()).unwrap();
        assert_eq!(backend.batch(), 1);
        let path = folder.path().join("kohya");
        std::fs::copy(golden("adapters/kohya.safetensors"), &path).unwrap();
        let hash = engine::file_hash(&path).unwrap();
        let id = "kohya@v1".to_owned();
        let file = AdapterFile { id, hash, path: path.into(), strength: 1.0, te_strength: 1.0 };
        let mut jobs = jobs(&backend, &[file]);
        let go = &mut |_| ControlFlow::Continue(());
        let alone: Vec<_> = jobs.iter().map(|job| backend.render(job, go).unwrap()).collect();
        let is_alone = |end: &Option<Result<Rendered, BackendError>>, image: usize| {
            let made = end.as_ref().unwrap().as_ref().unwrap();
            let expected: &Rendered = &alone[image];
            made.pixels == expected.pixels && made.fingerprint == expected.fingerprint && made.seconds > 0.0
        };
        let (steps, ends, result) = batch(&mut backend, &jobs, None);
        assert_eq!((steps, result), (vec![2; 3], Ok(())));
        assert!((0..3).all(|image| is_alone(&ends[image], image)));

        let (steps, ends, result) = batch(&mut backend, &jobs, Some(1));
        assert_eq!((steps, result), (vec![2, 1, 2], Ok(())));
        assert_eq!(ends[1], Some(Err(BackendError::Cancelled)));
        assert!(is_alone(&ends[0], 0) && is_alone(&ends[2], 2));

        // Other files: nothing of it is begun.
        jobs[2].adapters.clear();
        assert_eq!(batch(&mut backend, &jobs, None), (vec![0; 3], vec![None; 3], Ok(())));
        // More layers than there are.
        jobs[1].spec.clip_skip = 99;
        let (steps, ends, result) = batch(&mut backend, &jobs[..2], None);
        assert!(steps == [0; 2] && ends == [None, None] && matches!(result, Err(BackendError::Failed(_))));
    }

    #[test]
    fn a_size_that_did_not_fit_has_smaller_batches_afterwards() {
        let mut backend = EngineBackend::load(&golden("pipeline"), &LoadOptions::default()).unwrap();
        let jobs = jobs(&backend, &[]);
        let mut sizes = Vec::new();
        backend.fits.insert((64, 64), 2);
        let result = backend.render_batch(&jobs, &mut |image, update| {
            if let ImageUpdate::Begun { together } = update {
                sizes.push((image, together));
            }
            ControlFlow::Continue(())
        });
        assert_eq!((result, sizes), (Ok(()), vec![(0, 2), (1, 2)]), "the third is left to be made alone");
    }
}
