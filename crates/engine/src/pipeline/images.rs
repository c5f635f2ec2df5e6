//! Images of specs, alone or in one batch.

use std::{ops::ControlFlow, time::Instant};

use adire_protocol::GenerationSpec;
use candle_core::Tensor;

use super::{Context, InitImage, Output, Pipeline, StepReport, batch::Batch, passes::Passes};
use crate::{EngineError, Result};

impl Pipeline {
    /// Generates one image of each spec (`count` is ignored) in one batch, with the active adapters. `on_step` gets the place
    /// of the image in `specs`; a break cancels that image, which takes its share of the time nevertheless. The results are in the
    /// order of `specs`.
    ///
    /// An image is the one that [`Pipeline::generate`] makes of its spec: on the CPU bit by bit, on a GPU up to rounding. Prompts
    /// with more chunks than others are computed apart from these, which they would pad.
    ///
    /// # Errors
    /// As [`Pipeline::generate_from`], for the whole batch; specs that do not [share one](GenerationSpec::shares_batch).
    /// [`EngineError::Cancelled`] is the result of a cancelled image, and of the call if all of them were cancelled.
    pub fn generate_batch(
        &mut self,
        specs: &[&GenerationSpec],
        on_step: &mut dyn FnMut(usize, StepReport) -> ControlFlow<()>,
    ) -> Result<Vec<Result<Output>>> {
        let Some(first) = specs.first() else { return Ok(Vec::new()) };
        if !specs.iter().all(|spec| first.shares_batch(spec)) {
            let needed = "the images of a batch must have one size, number of steps, sampler, noise source and set of adapters, and \
                          begin with noise";
            return Err(EngineError::Request(needed.to_owned()));
        }
        let mut begun = Instant::now();
        self.check(first, None)?;
        self.models.prepare(&mut self.unet, &mut self.text)?;
        let contexts = specs.iter().map(|spec| self.context_of(spec)).collect::<Result<Vec<_>>>()?;
        let mut outputs: Vec<Option<Result<Output>>> = specs.iter().map(|_| None).collect();
        while let Some(next) = outputs.iter().position(Option::is_none) {
            let shape = contexts[next].states.dims();
            let together =
                |image: &usize| outputs[*image].is_none() && contexts[*image].states.dims() == shape;
            let images: Vec<usize> = (next..specs.len()).filter(together).collect();
            let (of, with): (Vec<_>, Vec<_>) =
                images.iter().map(|image| (specs[*image], &contexts[*image])).unzip();
            let made = self.images(begun, &of, &with, None, &mut |at, step| on_step(images[at], step))?;
            begun = Instant::now();
            for (image, output) in images.into_iter().zip(made) {
                outputs[image] = Some(output);
            }
        }
        Ok(outputs.into_iter().flatten().collect())
    }

    /// The images of a batch that was begun at that moment; with an init image, or a hires pass, a single one.
    pub(super) fn images(
        &mut self,
        begun: Instant,
        specs: &[&GenerationSpec],
        contexts: &[&Context],
        init_image: Option<InitImage<'_>>,
        on_step: &mut dyn FnMut(usize, StepReport) -> ControlFlow<()>,
    ) -> Result<Vec<Result<Output>>> {
        let batch = Batch::new(specs, contexts)?;
        let mut models = self.models.take();
        let mut passes = Passes { pipeline: self, models: &mut models, batch, done: 0, on_step };
        let latents = passes.all(init_image);
        let ended = passes.batch.ended;
        self.models = models;
        self.models.rest();
        let latents = latents?;
        let mut outputs = Vec::with_capacity(specs.len());
        for (image, (spec, context)) in specs.iter().zip(contexts).enumerate() {
            outputs.push(match ended[image] {
                true => Err(EngineError::Cancelled),
                false => Ok(self.finish(spec, context, init_image, latents.narrow(0, image, 1)?)?),
            });
        }
        let seconds = begun.elapsed().as_secs_f64() / specs.len() as f64;
        outputs.iter_mut().flatten().for_each(|output| output.seconds = seconds);
        Ok(outputs)
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

    fn go(_: usize, _: StepReport) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// Checks a batch against the same images made alone: the largest difference of a channel.
    fn difference(pipeline: &mut Pipeline, specs: &[GenerationSpec]) -> u8 {
        let alone: Vec<_> =
            specs.iter().map(|spec| pipeline.generate(spec, &mut |step| go(0, step))).collect();
        let together = pipeline.generate_batch(&specs.iter().collect::<Vec<_>>(), &mut go).unwrap();
        assert_eq!(together.len(), alone.len());
        let pairs = together.into_iter().zip(alone).flat_map(|(together, alone)| {
            let (together, alone) = (together.unwrap(), alone.unwrap());
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

    #[test]
    fn a_break_ends_one_image_and_the_last_break_all() {
        let mut pipeline = pipeline(None, DType::F32);
        let specs = four(5.0, Sampler::EulerA);
        let specs = [&specs[0], &specs[2], &specs[3]];
        let expected = pipeline.generate_batch(&specs, &mut go).unwrap();
        let mut steps = [0; 3];
        let found = pipeline.generate_batch(&specs, &mut |image, step| {
            steps[image] += 1;
            assert_eq!((step.step, step.steps), (steps[image], 3));
            assert_eq!((step.preview.width, step.preview.height), (16, 12));
            if image == 1 && step.step == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let found = found.unwrap();
        assert_eq!(steps, [3, 2, 3]);
        assert!(matches!(found[1], Err(EngineError::Cancelled)));
        for image in [0, 2] {
            let data = |outputs: &[Result<Output>]| outputs[image].as_ref().unwrap().image.data.clone();
            assert!(data(&found) == data(&expected));
        }
        let none = pipeline.generate_batch(&specs, &mut |_, _| ControlFlow::Break(()));
        assert!(matches!(none, Err(EngineError::Cancelled)));
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
                let refused = pipeline.generate_batch(&pair, &mut go);
                assert!(matches!(refused, Err(EngineError::Request(_))), "{other:?}");
            }
        }
        assert!(pipeline.generate_batch(&[], &mut go).unwrap().is_empty());
    }
}
