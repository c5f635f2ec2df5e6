//! An autoencoder that computes by its plans.

use std::sync::{Mutex, PoisonError};

use candle_core::{Device, Tensor};

use super::{
    arithmetic::Arithmetic,
    op::{Plan, Stage},
    packed::Packed,
    parameters::{Parameters, Visit},
    run::Arena,
    vae::{self, Autoencoder, Half},
};
use crate::{EngineError, Result, ops::floats};

/// An autoencoder that computes by its plans, in f32 on the CPU.
pub(crate) type PlannedVae = Codec<Packed>;

/// Packed weights of both halves.
#[derive(Debug)]
pub(crate) struct Codec<A: Arithmetic> {
    config: Autoencoder,
    arithmetic: A,
    encoder: Parameters<A>,
    decoder: Parameters<A>,
    /// The plan of the last shape; an arena is there only while one computes.
    last: Mutex<Option<(Half, [usize; 4], Plan)>>,
}

impl PlannedVae {
    /// Packs the weights that `visit` shows.
    ///
    /// # Errors
    /// They are not those of f32 on the CPU.
    pub(crate) fn new(config: &Autoencoder, visit: &mut Visit<'_>) -> Result<Self> {
        Self::with(config, Packed, visit)
    }
}

impl<A: Arithmetic> Codec<A> {
    /// As [`PlannedVae::new`].
    pub(super) fn with(config: &Autoencoder, arithmetic: A, visit: &mut Visit<'_>) -> Result<Self> {
        let side = factor(config);
        let mut parameters =
            |half, size| Parameters::new(&vae::plan(config, half, 1, (size, size)), arithmetic, visit);
        let (encoder, decoder) = (parameters(Half::Encoder, side)?, parameters(Half::Decoder, 1)?);
        Ok(Self { config: config.clone(), arithmetic, encoder, decoder, last: Mutex::new(None) })
    }

    /// One half, on `x` [images, channels, height, width]; gives a tensor of that kind, f32.
    ///
    /// # Errors
    /// `x` has other channels than this half takes, or is too small.
    pub(crate) fn forward(&self, half: Half, x: &Tensor) -> Result<Tensor> {
        let (images, channels, height, width) = x.dims4()?;
        let (expected, least) = match half {
            Half::Encoder => (self.config.image.0, factor(&self.config)),
            Half::Decoder => (self.config.latent, 1),
        };
        let x = x.contiguous()?;
        let Some(values) = floats(&x).filter(|_| channels == expected && height.min(width) >= least) else {
            let message = format!(
                "{:?} of {:?} for the autoencoder, which takes {expected} channels in f32 and sides of {least} or more",
                x.dims(),
                x.dtype()
            );
            return Err(EngineError::Request(message));
        };
        // Nothing is left half done by a panic but the plan, which is rebuilt.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let shape = [images, channels, height, width];
        let plan = match last.take() {
            Some((known, of, plan)) if known == half && of == shape => plan,
            _ => vae::plan(&self.config, half, images, (height, width)),
        };
        let mut arena = Arena::new(&plan);
        adire_kernels::from_planes(&values, arena.get_mut(&plan, plan.input));
        let parameters = match half {
            Half::Encoder => &self.encoder,
            Half::Decoder => &self.decoder,
        };
        arena.run(&plan, Stage::Step, &self.arithmetic, parameters);
        let output = arena.get(&plan, plan.output);
        let layout = output.layout();
        let mut planes = vec![0.0; layout.pixels() * layout.channels];
        adire_kernels::to_planes(output, &mut planes);
        *last = Some((half, shape, plan));
        let shape = (images, layout.channels, layout.height, layout.width);
        Ok(Tensor::from_vec(planes, shape, &Device::Cpu)?)
    }
}

/// Pixels per latent in each direction.
fn factor(config: &Autoencoder) -> usize {
    1 << config.widths.len().saturating_sub(1)
}
