//! Images of specs, alone or in one batch.

use std::{ops::ControlFlow, time::Instant};

use adire_protocol::GenerationSpec;
use candle_core::Tensor;

use super::{
    Context, InitImage, Output, Pipeline,
    batch::{Batch, ImageUpdate},
    passes::Passes,
    planned::Models,
};
use crate::{EngineError, Result};

impl Pipeline {
    /// Generates one image of each spec (`count` is ignored) in one batch, with the active adapters. `on_update` gets the place
    /// of the image in `specs`; a break after a step cancels that image, which takes its share of the time nevertheless.
    ///
    /// An image is the one that [`Pipeline::generate`] makes of its spec: on the CPU bit by bit, on a GPU up to rounding. Prompts
    /// with more chunks than others are computed apart from these, which they would pad.
    ///
    /// # Errors
    /// As [`Pipeline::generate_from`], for all images that have not [ended](ImageUpdate::Ended) by then; specs that do not
    /// [share a batch](GenerationSpec::shares_batch).
    pub fn generate_batch(
        &mut self,
        specs: &[&GenerationSpec],
        on_update: &mut dyn FnMut(usize, ImageUpdate) -> ControlFlow<()>,
    ) -> Result<()> {
        let Some(first) = specs.first() else { return Ok(()) };
        if !specs.iter().all(|spec| first.shares_batch(spec)) {
            let needed = "the images of a batch must have one size, number of steps, sampler, noise source and set of adapters, and \
                          begin with noise";
            return Err(EngineError::Request(needed.to_owned()));
        }
        let mut begun = Instant::now();
        self.check(first, None)?;
        self.models.prepare(&mut self.unet, &mut self.text)?;
        let contexts = specs.iter().map(|spec| self.context_of(spec)).collect::<Result<Vec<_>>>()?;
        let mut left: Vec<usize> = (0..specs.len()).collect();
        while let Some(next) = left.first() {
            let shape = contexts[*next].states.dims().to_vec();
            let (images, others): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|image| contexts[*image].states.dims() == shape);
            let (of, with): (Vec<_>, Vec<_>) =
                images.iter().map(|image| (specs[*image], &contexts[*image])).unzip();
            self.images(begun, &of, &with, None, &mut |at, update| on_update(images[at], update))?;
            (begun, left) = (Instant::now(), others);
        }
        Ok(())
    }

    /// [`Self::generate_batch`] to its end.
    ///
    /// # Errors
    /// As [`Self::generate_batch`].
    pub fn generate_all(&mut self, specs: &[&GenerationSpec]) -> Result<Vec<Output>> {
        let mut outputs: Vec<Option<Output>> = specs.iter().map(|_| None).collect();
        self.generate_batch(specs, &mut |image, update| {
            if let ImageUpdate::Ended(output) = update {
                outputs[image] = output.ok();
            }
            ControlFlow::Continue(())
        })?;
        outputs.into_iter().map(|output| output.ok_or(EngineError::Cancelled)).collect()
    }

    /// The images of a batch that was begun at that moment; with an init image, or a hires pass, a single one.
    ///
    /// # Errors
    /// As [`Self::generate_batch`].
    pub(super) fn images(
        &mut self,
        begun: Instant,
        specs: &[&GenerationSpec],
        contexts: &[&Context],
        init_image: Option<InitImage<'_>>,
        on_update: &mut dyn FnMut(usize, ImageUpdate) -> ControlFlow<()>,
    ) -> Result<()> {
        let batch = Batch::new(specs, contexts)?;
        let together = batch.len();
        for image in 0..together {
            // A break here counts from the first step on.
            let _ = on_update(image, ImageUpdate::Begun { together });
        }
        let (latents, ended) = {
            let mut lent = Lent::of(self);
            let (pipeline, models) = (&*lent.pipeline, &mut lent.models);
            let mut passes = Passes { pipeline, models, batch, done: 0, on_update: &mut *on_update };
            (passes.all(init_image), passes.batch.ended)
        };
        let latents = match latents {
            // Each image has ended then.
            Err(EngineError::Cancelled) => return Ok(()),
            latents => latents?,
        };
        let share = begun.elapsed().as_secs_f64() / together as f64;
        // An image that cannot be decoded fails no other.
        let mut failure = None;
        for image in (0..together).filter(|image| !ended[*image]) {
            let begun = Instant::now();
            let latents = latents.narrow(0, image, 1)?;
            let made = self.with_room(|pipeline| {
                pipeline.finish(specs[image], contexts[image], init_image, latents.clone())
            });
            match made {
                Ok(output) => {
                    let seconds = share + begun.elapsed().as_secs_f64();
                    let _ = on_update(image, ImageUpdate::Ended(Ok(Output { seconds, ..output })));
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Does work once more without what the models hold to be faster next time, if the GPU's memory did not suffice.
    ///
    /// # Errors
    /// Those of the work.
    pub(super) fn with_room<T>(&mut self, work: impl Fn(&Self) -> Result<T>) -> Result<T> {
        match work(self) {
            Err(error) if error.is_out_of_memory() && self.models.make_room() => work(self),
            result => result,
        }
    }

    /// Decodes the latents of one image, and checks it.
    fn finish(
        &self,
        spec: &GenerationSpec,
        context: &Context,
        init_image: Option<InitImage<'_>>,
        mut latents: Tensor,
    ) -> Result<Output> {
        let mut image = self.decode_image(&latents)?;
        if let Some(init_image) = init_image.filter(|_| spec.keep_unmasked.unwrap_or(true)) {
            init_image.restore_unmasked(&mut image);
        }
        let withheld = match &self.safety {
            Some(checker) => checker.check(&image)?.flagged,
            None => false,
        };
        if withheld {
            image.data.fill(0);
            latents = latents.zeros_like()?;
        }
        Ok(Output { image, latents, withheld, seconds: 0.0, embeddings: context.embeddings.clone() })
    }
}

/// A pipeline and its models apart from it; together again at the end, also after a panic.
struct Lent<'a> {
    pipeline: &'a mut Pipeline,
    models: Models,
}

impl<'a> Lent<'a> {
    fn of(pipeline: &'a mut Pipeline) -> Self {
        Self { models: pipeline.models.take(), pipeline }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pipeline.models = self.models.take();
        self.pipeline.models.rest();
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use adire_cuda::Fake;
    use adire_protocol::{Rng, Sampler};
    use candle_core::DType;

    use super::*;
    use crate::{Gpu, LoadOptions};

    fn pipeline(gpu: Option<&Fake>, dtype: DType) -> Pipeline {
        let gpu = gpu.map(|fake| Gpu::new(Arc::new(fake.clone()), 0));
        let options = LoadOptions { gpu, dtype, ..LoadOptions::default() };
        let mut pipeline = Pipeline::load(Path::new("tests/goldens/pipeline"), &options).unwrap();
        pipeline.set_adapters(&[]).unwrap();
        pipeline
    }

    fn spec(prompt: &str, seed: u64, guidance: f64, sampler: Sampler) -> GenerationSpec {
        GenerationSpec {
            prompt: prompt.to_owned(),
            negative_prompt: "blue".repeat(seed as usize % 2),
            seed,
            rng: Rng::Cpu,
            steps: 3,
            guidance,
            sampling: sampler.into(),
            width: 64,
            height: 48,
            count: 1,
            clip_skip: 1 + seed as u32 % 2,
            ..GenerationSpec::default()
        }
    }

    /// Four that differ in all that may differ.
    fn four(guidance: f64, sampler: Sampler) -> Vec<GenerationSpec> {
        let more = if guidance > 1.0 { 2.5 } else { 0.0 };
        let varied = GenerationSpec {
            subseed: Some(8),
            subseed_strength: Some(0.25),
            ..spec("red flower", 3, guidance, sampler)
        };
        vec![
            spec("red flower", 3, guidance, sampler),
            // More chunks than the others have.
            spec(&"a white star ".repeat(40), 4, guidance, sampler),
            varied,
            spec("", 5, guidance + more, sampler),
        ]
    }

    /// Checks a batch against the same images made alone: the largest difference of a channel.
    fn difference(pipeline: &mut Pipeline, specs: &[GenerationSpec]) -> u8 {
        let alone: Vec<_> =
            specs.iter().map(|spec| pipeline.generate(spec, &mut |_| ControlFlow::Continue(()))).collect();
        let together = pipeline.generate_all(&specs.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(together.len(), alone.len());
        let pairs = together.into_iter().zip(alone).flat_map(|(together, alone)| {
            let alone = alone.unwrap();
            assert_eq!((together.latents.dims(), together.image.width), (alone.latents.dims(), 64));
            assert!(together.seconds > 0.0);
            together.image.data.into_iter().zip(alone.image.data).collect::<Vec<_>>()
        });
        pairs.map(|(a, b)| a.abs_diff(b)).max().unwrap()
    }

    #[test]
    fn an_image_is_the_same_in_a_batch_and_alone() {
        let mut exact = pipeline(None, DType::F32);
        for sampler in [Sampler::Ddim, Sampler::EulerA, Sampler::DpmppSde, Sampler::UniPc] {
            assert_eq!(difference(&mut exact, &four(5.0, sampler)), 0, "{sampler}");
            assert_eq!(difference(&mut exact, &four(1.0, sampler)), 0, "{sampler}, without guidance");
        }
        assert_eq!(difference(&mut pipeline(None, DType::BF16), &four(5.0, Sampler::Ddim)), 0);
        for dtype in [DType::F32, DType::F16] {
            let mut on_gpu = pipeline(Some(&Fake::default()), dtype);
            assert_eq!(difference(&mut on_gpu, &four(5.0, Sampler::Ddim)), 0, "{dtype:?}");
        }
    }

    /// The images of specs: each with its steps, how many were computed with it, and its end. `cancel`: image and step.
    fn followed(
        pipeline: &mut Pipeline,
        specs: &[&GenerationSpec],
        cancel: &[(usize, u32)],
    ) -> Vec<(u32, usize, Option<Result<Output>>)> {
        let mut found: Vec<_> = specs.iter().map(|_| (0, 0, None)).collect();
        let result = pipeline.generate_batch(specs, &mut |image, update| {
            let (steps, with, end) = &mut found[image];
            assert!(end.is_none(), "something follows the end of image {image}");
            match update {
                ImageUpdate::Begun { together } => *with = together,
                ImageUpdate::Step(step) => {
                    *steps += 1;
                    assert_eq!((step.step, step.steps), (*steps, 3));
                    assert_eq!((step.preview.width, step.preview.height), (16, 12));
                    if cancel.contains(&(image, step.step)) {
                        return ControlFlow::Break(());
                    }
                }
                ImageUpdate::Ended(output) => *end = Some(output),
            }
            ControlFlow::Continue(())
        });
        result.unwrap();
        found
    }

    #[test]
    fn a_break_ends_one_image_and_no_other() {
        let mut pipeline = pipeline(None, DType::F32);
        let specs = four(5.0, Sampler::EulerA);
        let specs: Vec<_> = specs.iter().collect();
        let expected = pipeline.generate_all(&specs).unwrap();
        // The second one's prompt is longer, so that it is computed after the others.
        for (cancel, steps) in [
            (&[][..], [3, 3, 3, 3]),
            (&[(2, 2)], [3, 3, 2, 3]),
            (&[(1, 1)], [3, 1, 3, 3]),
            (&[(0, 1), (2, 1), (3, 1)], [1, 3, 1, 1]),
            (&[(0, 1), (1, 3), (2, 2), (3, 1)], [1, 3, 2, 1]),
        ] {
            let found = followed(&mut pipeline, &specs, cancel);
            for (image, (made, together, end)) in found.into_iter().enumerate() {
                assert_eq!((made, together), (steps[image], if image == 1 { 1 } else { 3 }));
                let is_cancelled = cancel.iter().any(|(other, _)| *other == image);
                match end.unwrap() {
                    Err(EngineError::Cancelled) => assert!(is_cancelled),
                    output => {
                        assert!(!is_cancelled && output.unwrap().image.data == expected[image].image.data)
                    }
                }
            }
        }
    }

    #[test]
    fn what_fits_alone_fits_after_a_batch_that_did_not() {
        let specs = four(5.0, Sampler::Ddim);
        let specs = [&specs[0], &specs[2], &specs[3]];
        let mut failed = 0;
        let measure = Fake::default();
        drop(pipeline(Some(&measure), DType::F16));
        let mut fresh = pipeline(Some(&measure), DType::F16);
        let held = measure.used();
        let expected = fresh.generate_all(&specs).unwrap();
        let most = measure.used() - held;
        for part in 1..=24 {
            let memory = held + most * part / 16;
            let alone = |pipeline: &mut Pipeline| {
                Some(pipeline.generate(specs[0], &mut |_| ControlFlow::Continue(())).ok()?.image.data)
            };
            let mut narrow = pipeline(Some(&Fake::with_memory(memory)), DType::F16);
            let Some(image) = alone(&mut narrow) else { continue };
            assert!(image == expected[0].image.data);
            let mut narrow = pipeline(Some(&Fake::with_memory(memory)), DType::F16);
            failed += usize::from(narrow.generate_all(&specs).is_err());
            assert!(alone(&mut narrow) == Some(image), "with {memory} bytes");
        }
        assert!(failed > 0, "each batch fitted");
    }

    #[test]
    fn the_models_are_there_after_a_panic() {
        let mut pipeline = pipeline(None, DType::F32);
        let spec = &spec("red flower", 3, 5.0, Sampler::Ddim);
        let expected = pipeline.generate_all(&[spec]).unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pipeline.generate(spec, &mut |_| panic!("in the middle of an image"))
        }));
        assert!(panicked.is_err());
        assert!(pipeline.models.unet().is_some(), "images would be made without the plan");
        assert!(pipeline.generate_all(&[spec]).unwrap()[0].image.data == expected[0].image.data);
    }

    #[test]
    fn what_shares_no_batch_is_refused() {
        let mut pipeline = pipeline(None, DType::F32);
        let one = spec("red", 1, 5.0, Sampler::Ddim);
        let others = [
            GenerationSpec { width: 48, ..one.clone() },
            GenerationSpec { steps: 4, ..one.clone() },
            GenerationSpec { guidance: 1.0, ..one.clone() },
            GenerationSpec { sampling: Sampler::Euler.into(), ..one.clone() },
            GenerationSpec { rng: Rng::Cuda, ..one.clone() },
            GenerationSpec { init_image: Some("0".repeat(64)), ..one.clone() },
        ];
        for other in &others {
            for pair in [[&one, other], [other, &one]] {
                let refused = pipeline.generate_all(&pair);
                assert!(matches!(refused, Err(EngineError::Request(_))), "{other:?}");
            }
        }
        assert!(pipeline.generate_all(&[]).unwrap().is_empty());
    }
}
