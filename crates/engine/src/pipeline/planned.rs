//! Which way text encoder and UNet compute: by their plans, on a GPU or in f32 and bf16 on the CPU, else by their modules.

use adire_kernels::Dtype;
use candle_core::Tensor;

use super::LoadOptions;
use crate::{
    Result, TextEncoder, UNet,
    plan::{self, DeviceText, DeviceUNet, PlannedText, PlannedUNet, Target},
};

/// Layers of a text encoder: embeddings and a number of layers to states.
type Layers<'a> = dyn Fn(&Tensor, usize) -> Result<Tensor> + 'a;

/// The models' way to compute.
#[derive(Debug, Default)]
pub(crate) enum Models {
    /// By their modules: on candle's GPU, and in f16 on the CPU.
    #[default]
    Modules,
    /// By their plans, once something asks for it.
    Unplanned(Dtype),
    /// By their plans.
    Planned { unet: Box<PlannedUNet>, text: Box<PlannedText> },
    /// By their plans on a GPU, once something asks for it.
    NotUploaded(Target),
    /// By their plans on a GPU.
    OnGpu { unet: Box<DeviceUNet>, text: Box<DeviceText> },
}

impl Models {
    pub(crate) fn new(options: &LoadOptions) -> Self {
        match options.target() {
            Some(target) => Self::NotUploaded(target),
            None => plan::operands(&options.device, options.dtype).map_or(Self::Modules, Self::Unplanned),
        }
    }

    /// Leaves the modules behind.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Packs the base's weights unless they are packed: the modules give their tensors up.
    ///
    /// # Errors
    /// Memory runs out.
    pub(crate) fn pack(&mut self, unet: &mut UNet, text: &mut TextEncoder) -> Result<()> {
        let packed = match self {
            Self::Unplanned(operands) => match PlannedUNet::new(unet, *operands)? {
                Some(unet) => {
                    let text = Box::new(PlannedText::new(text, *operands)?);
                    Some(Self::Planned { unet: Box::new(unet), text })
                }
                None => None,
            },
            Self::NotUploaded(target) => match DeviceUNet::new(target, unet)? {
                Some(unet) => {
                    Some(Self::OnGpu { unet: Box::new(unet), text: Box::new(DeviceText::new(target, text)?) })
                }
                None => None,
            },
            _ => return Ok(()),
        };
        *self = match packed {
            Some(packed) => packed,
            None => {
                unet.visit_parameters(&mut |_, _, weight| weight.hold())?;
                text.visit_parameters(&mut |_, _, weight| weight.hold())?;
                Self::Modules
            }
        };
        Ok(())
    }

    /// Takes over the weights in effect.
    ///
    /// # Errors
    /// As [`Self::pack`].
    pub(crate) fn prepare(&mut self, unet: &mut UNet, text: &mut TextEncoder) -> Result<()> {
        self.pack(unet, text)?;
        match self {
            Self::Planned { unet: planned, text: planned_text } => {
                planned.update(unet)?;
                planned_text.update(text)
            }
            Self::OnGpu { unet: device, text: device_text } => {
                device.update(unet)?;
                device_text.update(text)
            }
            _ => Ok(()),
        }
    }

    /// After the last step of an image.
    pub(super) fn rest(&mut self) {
        if let Self::Planned { unet, .. } = self {
            unet.rest();
        }
    }

    /// Frees memory of the GPU that only makes later images faster; whether there was any.
    pub(super) fn make_room(&mut self) -> bool {
        match self {
            Self::OnGpu { unet, .. } => unet.make_room(),
            _ => false,
        }
    }

    /// The UNet's plan, if there is one.
    pub(super) fn unet(&self) -> Option<&PlannedUNet> {
        match self {
            Self::Planned { unet, .. } => Some(unet),
            _ => None,
        }
    }

    /// The text encoder's plan, if there is one.
    pub(crate) fn text(&self) -> Option<Box<Layers<'_>>> {
        match self {
            Self::Planned { text, .. } => Some(Box::new(|x, layers| text.forward(x, layers))),
            Self::OnGpu { text, .. } => Some(Box::new(|x, layers| text.forward(x, layers))),
            _ => None,
        }
    }

    /// The prediction for `x` [batch, channels, height, width]; with `guided` for two of them, `context`'s halves.
    ///
    /// # Errors
    /// Shapes do not fit, or memory runs out.
    pub(crate) fn forward(
        &mut self,
        unet: &UNet,
        x: &Tensor,
        timestep: f64,
        context: &Tensor,
        guided: bool,
    ) -> Result<Tensor> {
        let y = match self {
            Self::Planned { unet: planned, .. } => planned.forward(unet, x, timestep, context, guided)?,
            Self::OnGpu { unet: device, .. } => device.forward(unet, x, timestep, context, guided)?,
            _ => None,
        };
        if let Some(y) = y {
            return Ok(y);
        }
        if guided {
            return unet.forward(&Tensor::cat(&[x, x], 0)?, timestep, context);
        }
        unet.forward(x, timestep, context)
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use adire_cuda::{Fake, Runtime as _};
    use adire_protocol::{GenerationSpec, Rng, Sampler};
    use candle_core::DType;

    use super::*;
    use crate::{EngineError, Gpu, Pipeline, Rgb8, device::DeviceChoice};

    fn pipeline(gpu: Option<&Fake>, dtype: DType) -> Result<Pipeline> {
        let gpu = gpu.map(|fake| Gpu::new(Arc::new(fake.clone()), 0));
        let options = LoadOptions { gpu, dtype, ..LoadOptions::default() };
        Pipeline::load(Path::new("tests/goldens/pipeline"), &options)
    }

    fn image(pipeline: &mut Pipeline, side: u32) -> Result<Rgb8> {
        let spec = GenerationSpec {
            prompt: "red flower".to_owned(),
            seed: 3,
            rng: Rng::Cpu,
            steps: 2,
            guidance: 5.0,
            sampling: Sampler::Ddim.into(),
            width: side,
            height: side,
            count: 1,
            clip_skip: 1,
            ..GenerationSpec::default()
        };
        pipeline.set_adapters(&[])?;
        Ok(pipeline.generate(&spec, &mut |_| std::ops::ControlFlow::Continue(()))?.image)
    }

    #[test]
    fn an_image_of_a_gpu_is_that_of_the_cpu() {
        let expected = image(&mut pipeline(None, DType::F32).unwrap(), 64).unwrap();
        for (dtype, bar) in [(DType::F32, 0.1), (DType::F16, 3.0)] {
            let fake = Fake::default();
            let mut pipeline = pipeline(Some(&fake), dtype).unwrap();
            assert_eq!((&*pipeline.info().device, &*pipeline.info().dtype), ("cuda:0", dtype.as_str()));
            assert_eq!(pipeline.gpu().unwrap().choice(), DeviceChoice::Cuda(0));
            let found = image(&mut pipeline, 64).unwrap();
            let differences = found.data.iter().zip(&expected.data).map(|(a, b)| f64::from(a.abs_diff(*b)));
            let mean = differences.sum::<f64>() / expected.data.len() as f64;
            assert!(mean < bar, "{dtype:?}: {mean}");
            assert!(fake.counts().replays > 0);
            assert!(image(&mut pipeline, 64).unwrap().data == found.data, "not the same again");
        }
    }

    #[test]
    fn too_little_memory_fails_one_image_and_no_other() {
        let fake = Fake::default();
        let mut roomy = pipeline(Some(&fake), DType::F16).unwrap();
        let expected = image(&mut roomy, 64).unwrap();
        let narrow = Fake::with_memory(fake.used() + 32_000_000);
        let mut narrow = pipeline(Some(&narrow), DType::F16).unwrap();
        let error = image(&mut narrow, 4096).unwrap_err();
        assert!(matches!(error, EngineError::Gpu(adire_cuda::Error::OutOfMemory { .. })), "{error}");
        assert!(image(&mut narrow, 64).unwrap().data == expected.data);
        let none = Fake::with_memory(1000);
        assert!(pipeline(Some(&none), DType::F16).unwrap_err().to_string().contains("not enough GPU memory"));
        assert_eq!(none.memory().unwrap().free, 1000);
    }
}
