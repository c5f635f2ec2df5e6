//! A UNet that computes by its plan.

use std::collections::HashMap;

use adire_kernels::{Dtype, ImageMut};
use candle_core::{Device, Tensor, TensorId};

use super::{
    arithmetic::Arithmetic,
    op::Stage,
    packed::Packed,
    parameters::Parameters,
    run::Arena,
    unet::{self, Shape, UNetPlan},
};
use crate::{Result, UNet, ops::floats, unet::Sinusoids};

/// Most times whose rows are remembered: those of a long schedule.
const MAX_TIMES: usize = 256;

/// From this size on, in numbers of f32, an arena is not kept beside that of the autoencoder: 128 MB.
const LARGE: usize = 32 << 20;

/// A UNet that computes by its plan, on the CPU.
pub(crate) type PlannedUNet = Planned<Packed>;

/// Packed weights, and the plan of the last shape.
#[derive(Debug)]
pub(crate) struct Planned<A: Arithmetic> {
    arithmetic: A,
    operands: Dtype,
    parameters: Parameters<A>,
    current: Option<Current>,
    /// Time rows by the bits of the time.
    times: HashMap<u64, Vec<f32>>,
}

/// A plan with its arena.
#[derive(Debug)]
struct Current {
    plan: UNetPlan,
    arena: Arena,
    /// The prompt whose keys and values it holds.
    context: Option<TensorId>,
}

impl PlannedUNet {
    /// Packs the weights of `unet`, which then has no tensors of them unless `operands` round them; `None` where the plan
    /// does not cover it.
    ///
    /// # Errors
    /// The weights are not those of f32 on the CPU.
    pub(crate) fn new(unet: &mut UNet, operands: Dtype) -> Result<Option<Self>> {
        Self::with(unet, operands, Packed)
    }
}

impl<A: Arithmetic> Planned<A> {
    /// As [`PlannedUNet::new`].
    pub(super) fn with(unet: &mut UNet, operands: Dtype, arithmetic: A) -> Result<Option<Self>> {
        // The weights are those of any shape.
        let size = 1 << unet.config().block_out_channels.len();
        let shape = Shape { images: 1, guided: false, size: (size, size), tokens: 1, times: 1 };
        let Some(plan) = unet::plan(unet.config(), shape, operands) else { return Ok(None) };
        let parameters = Parameters::new(&plan.plan, arithmetic, &mut |f| unet.visit_parameters(f))?;
        let arena = Arena::new(&plan.plan);
        let current = Some(Current { plan, arena, context: None });
        Ok(Some(Self { arithmetic, operands, parameters, current, times: HashMap::new() }))
    }

    /// The type of what products read.
    pub(super) fn operands(&self) -> Dtype {
        self.operands
    }

    /// The weights.
    pub(super) fn parameters(&self) -> &Parameters<A> {
        &self.parameters
    }

    /// Packs what has changed in `unet`.
    ///
    /// # Errors
    /// As [`PlannedUNet::new`].
    pub(crate) fn update(&mut self, unet: &mut UNet) -> Result<()> {
        if self.parameters.update(&mut |f| unet.visit_parameters(f))? {
            self.times.clear();
            if let Some(current) = &mut self.current {
                current.context = None;
            }
        }
        Ok(())
    }

    /// Gives a large arena up before what needs as much memory; the next image fills it again.
    pub(crate) fn rest(&mut self) {
        self.current.take_if(|current| current.plan.plan.arena >= LARGE);
    }

    /// As [`UNet::forward`]. With `guided`, `x` is one half of the batch, and both halves get it; the result has both.
    /// `None` where the plan does not cover the shape.
    ///
    /// # Errors
    /// Shapes do not fit.
    pub(crate) fn forward(
        &mut self,
        unet: &UNet,
        x: &Tensor,
        timestep: f64,
        context: &Tensor,
        guided: bool,
    ) -> Result<Option<Tensor>> {
        let (batch, channels, height, width) = x.dims4()?;
        let (_, tokens, _) = context.dims3()?;
        let images = if guided { 2 * batch } else { batch };
        let shape = Shape { images, guided, size: (height, width), tokens, times: 1 };
        if self.current.as_ref().is_none_or(|current| current.plan.shape != shape) {
            let Some(plan) = unet::plan(unet.config(), shape, self.operands) else { return Ok(None) };
            // The old arena goes first.
            self.current = None;
            let arena = Arena::new(&plan.plan);
            self.current = Some(Current { plan, arena, context: None });
        }
        let Some(Current { plan, arena, context: known }) = &mut self.current else { return Ok(None) };
        let (arithmetic, parameters) = (&self.arithmetic, &self.parameters);
        let expected = (images, plan.context.channels);
        let found = (context.dim(0)?, context.dim(2)?);
        let model = unet.config().in_channels;
        if expected != found || channels != model {
            let message = format!(
                "a batch of {images} images of {channels} channels with a context of {:?}; the model takes {model} \
                 channels and a context of [{images}, tokens, {}]",
                context.dims(),
                expected.1
            );
            return Err(crate::EngineError::Request(message));
        }
        if *known != Some(context.id()) {
            let values = context.flatten_all()?.to_vec1::<f32>()?;
            fill(arena.get_mut(&plan.plan, plan.context), &values);
            arena.run(&plan.plan, Stage::Prompt, arithmetic, parameters);
            *known = Some(context.id());
        }
        let rows = match self.times.get(&timestep.to_bits()) {
            Some(rows) => rows,
            None => {
                fill(arena.get_mut(&plan.plan, plan.sinusoids), &Sinusoids::new(unet.config()).of(timestep));
                arena.run(&plan.plan, Stage::Time, arithmetic, parameters);
                let rows = arena.get(&plan.plan, plan.rows).pixel(0).to_vec();
                if self.times.len() >= MAX_TIMES {
                    self.times.clear();
                }
                self.times.entry(timestep.to_bits()).or_insert(rows)
            }
        };
        fill(arena.get_mut(&plan.plan, plan.rows), rows);
        let x = x.contiguous()?;
        let Some(values) = floats(&x) else { return Ok(None) };
        let input = arena.get_mut(&plan.plan, plan.plan.input);
        let half = adire_kernels::Layout { batch, ..input.layout() };
        let mut input = input;
        adire_kernels::from_planes(&values, ImageMut::new(input.data_mut(), half));
        arena.run(&plan.plan, Stage::Step, arithmetic, parameters);
        let output = arena.get(&plan.plan, plan.plan.output);
        let channels = output.layout().channels;
        let mut planes = vec![0.0; output.layout().pixels() * channels];
        adire_kernels::to_planes(output, &mut planes);
        Ok(Some(Tensor::from_vec(planes, (images, channels, height, width), &Device::Cpu)?))
    }
}

/// Row by row.
pub(super) fn fill(mut to: ImageMut<'_>, values: &[f32]) {
    for (pixel, row) in values.chunks_exact(to.layout().channels).enumerate() {
        to.pixel(pixel).copy_from_slice(row);
    }
}
