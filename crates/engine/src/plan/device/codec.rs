//! An autoencoder on a GPU, in f16 within its range.
//!
//! Activations of some decoders leave f16's range. What is normalised before anything else sees it may be multiplied with a
//! power of two: that is exact, and the norm removes it, if its ε is multiplied with the square. So sums are kept at 2⁻ᵏ of
//! their values; where a result is not finite, k grows, and at last the half computes in f32.

use std::sync::{Mutex, PoisonError};

use adire_cuda::{Element, Kernel};
use candle_core::{Device, Tensor};

use super::{
    super::{
        op::{Offset, Op, Plan, Stage},
        parameters::Visit,
        vae::{self, Autoencoder, Half},
    },
    Arena, Target, launch,
    parameters::{DeviceParameters, Exponents},
    planes, refused,
};
use crate::{Parameter, Result, Weight, ops::floats};

/// k to begin with, and what it grows by.
const EXPONENT: i32 = 4;
/// The largest k; weights would lose bits beyond.
const MAX_EXPONENT: i32 = 12;

/// An autoencoder whose halves compute on a GPU.
#[derive(Debug)]
pub(crate) struct DeviceVae {
    target: Target,
    config: Autoencoder,
    /// Its weights never change: they are packed from here.
    weights: Vec<(String, Parameter, Weight)>,
    encoder: Mutex<Option<Packed>>,
    decoder: Mutex<Option<Packed>>,
}

/// The weights of one half.
#[derive(Debug)]
struct Packed {
    /// k; `None` for f32.
    exponent: Option<i32>,
    parameters: DeviceParameters,
}

impl DeviceVae {
    /// Uploads the weights that `visit` shows.
    ///
    /// # Errors
    /// A weight cannot be read, or the device's memory does not suffice.
    pub(crate) fn new(target: &Target, config: &Autoencoder, visit: &mut Visit<'_>) -> Result<Self> {
        let mut weights = Vec::new();
        visit(&mut |path, parameter, weight| {
            weights.push((path.to_owned(), parameter, weight.clone()));
            Ok(())
        })?;
        let (target, config) = (target.clone(), config.clone());
        let this = Self { target, config, weights, encoder: Mutex::default(), decoder: Mutex::default() };
        let exponent = (this.target.element == Element::F16).then_some(EXPONENT);
        for (half, packed) in [(Half::Encoder, &this.encoder), (Half::Decoder, &this.decoder)] {
            *packed.lock().unwrap_or_else(PoisonError::into_inner) = Some(this.pack(half, exponent)?);
        }
        Ok(this)
    }

    /// The weights of a half, with sums at 2⁻ᵏ; without k in f32.
    fn pack(&self, half: Half, exponent: Option<i32>) -> Result<Packed> {
        // They are those of any shape, and so are the exponents.
        let side = factor(&self.config);
        let plan = vae::plan(&self.config, half, 1, (side, side));
        let target = self.target(exponent);
        let exponents = exponents(&plan, exponent.unwrap_or(0));
        let mut weights = self.weights.clone();
        let parameters = DeviceParameters::new(&target, &plan, exponents, &mut |f| {
            weights.iter_mut().try_for_each(|(path, parameter, weight)| f(path, *parameter, weight))
        })?;
        Ok(Packed { exponent, parameters })
    }

    fn target(&self, exponent: Option<i32>) -> Target {
        let element = if exponent.is_some() { Element::F16 } else { Element::F32 };
        Target { element, ..self.target.clone() }
    }

    /// One half, on `x` [images, channels, height, width]; gives a tensor of that kind, f32.
    ///
    /// # Errors
    /// `x` has other channels than this half takes, or is too small, or the device's memory does not suffice.
    pub(crate) fn forward(&self, half: Half, x: &Tensor) -> Result<Tensor> {
        let (images, channels, height, width) = x.dims4()?;
        let (expected, least, packed) = match half {
            Half::Encoder => (self.config.image.0, factor(&self.config), &self.encoder),
            Half::Decoder => (self.config.latent, 1, &self.decoder),
        };
        let x = x.contiguous()?;
        let Some(values) = floats(&x).filter(|_| channels == expected && height.min(width) >= least) else {
            return refused(format!(
                "{:?} of {:?} for the autoencoder, which takes {expected} channels in f32 and sides of {least} or more",
                x.dims(),
                x.dtype()
            ));
        };
        let plan = vae::plan(&self.config, half, images, (height, width));
        let mut packed = packed.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let current = match packed.take() {
                Some(current) => packed.insert(current),
                // An earlier attempt to pack failed.
                None => packed.insert(self.pack(half, None)?),
            };
            let exponent = current.exponent;
            let result = self.run(&plan, current, &values)?;
            let is_finite = result.flatten_all()?.to_vec1::<f32>()?.iter().all(|value| value.is_finite());
            let is_input_finite = values.iter().all(|value| value.is_finite());
            let Some(exponent) = exponent.filter(|_| !is_finite && is_input_finite) else {
                return Ok(result);
            };
            let next = Some(exponent + EXPONENT).filter(|next| *next <= MAX_EXPONENT);
            // The old weights go first.
            *packed = None;
            *packed = Some(self.pack(half, next)?);
        }
    }

    fn run(&self, plan: &Plan, packed: &Packed, values: &[f32]) -> Result<Tensor> {
        let target = self.target(packed.exponent);
        // An arena is there only while one computes.
        let arena = Arena::new(&target, plan, &[])?;
        let (x, y) = (arena.whole(plan, plan.input)?, arena.whole(plan, plan.output)?);
        let layout = y.layout();
        let (input, output) =
            (planes(&target, values.len())?, planes(&target, layout.pixels() * layout.channels)?);
        target.upload(values, &input)?;
        let mut kernels = vec![Kernel::FromPlanes { planes: input, y: x }];
        kernels.extend(arena.kernels(plan, plan.stage(Stage::Step), &packed.parameters)?);
        kernels.push(Kernel::ToPlanes { x: y, planes: output.clone() });
        launch(&target, &kernels)?;
        let values = target.download(&output, Element::F32)?;
        let shape = (layout.batch, layout.channels, layout.height, layout.width);
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }
}

/// Pixels per latent in each direction.
fn factor(config: &Autoencoder) -> usize {
    1 << config.widths.len().saturating_sub(1)
}

/// Powers of two for a plan whose sums are to lie at 2⁻ᵏ: what a group norm reads, sums with their residuals, and copies of
/// either.
pub(super) fn exponents(plan: &Plan, k: i32) -> Exponents {
    let mut buffers = vec![0; plan.buffers.len()];
    if k != 0 {
        for step in &plan.step {
            match step.op {
                Op::GroupNorm { x, .. } => buffers[x.buffer] = -k,
                // A sum has the power of its terms, whoever reads it.
                Op::Linear { residual: Some(x), y, .. } | Op::Conv { residual: Some(x), y, .. } => {
                    buffers[x.buffer] = -k;
                    buffers[y.buffer] = -k;
                }
                _ => {}
            }
        }
    }
    let (mut matrices, mut vectors) = (vec![0; plan.matrices.len()], vec![0; plan.vectors.len()]);
    for step in &plan.step {
        match step.op {
            Op::Resize { x, y } => buffers[y.buffer] = buffers[x.buffer],
            Op::Linear { x, matrix, bias, y, .. } => {
                matrices[matrix] = buffers[y.buffer] - buffers[x.buffer];
                if let Some(bias) = bias {
                    vectors[bias] = buffers[y.buffer];
                }
            }
            Op::Conv { x, matrix, offset, y, .. } => {
                matrices[matrix] = buffers[y.buffer] - buffers[x.buffer];
                if let Offset::Vector(vector) = offset {
                    vectors[vector] = buffers[y.buffer];
                }
            }
            _ => {}
        }
    }
    Exponents { buffers, matrices, vectors }
}
