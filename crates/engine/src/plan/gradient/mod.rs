//! A UNet in training, by its plan: the list forwards, and back with the gradient of every operation.
//!
//! Every buffer of the plan keeps its values until the way back. States that a plan adds to in place keep theirs as the input
//! of the norms that read them; what is added passes gradients on unchanged. Gradients are f32 and lie like their buffers, without
//! borders. Only what lies behind a trained layer has one.

mod attention;
mod low_rank;
mod memory;

use adire_kernels::{
    Activation, Affine, Algorithm, AnyImage, Buffer, Dtype, Epilogue, Image, ImageMut, Layout, Sampling,
    activation, bf16, conv3x3, geglu, linear, linear_ungated,
};
use candle_core::{Device, Tensor};

pub(crate) use self::low_rank::FactorGradients;
use self::{
    low_rank::{Changes, Factors},
    memory::{Gradients, Pool},
};
use super::{
    model::{PlannedUNet, fill},
    op::{Op, Plan, Stage, Step, View},
    packed::Packed,
    parameters::Parameters,
    run::Arena,
    unet::{self, Shape, UNetPlan},
};
use crate::{
    EngineError, Result, UNet,
    ops::{PackedMatrix, floats, geglu_rows_backward, group_norm_rows_backward, layer_norm_rows_backward},
    unet::{Sinusoids, UNetConfig},
};

/// A trained layer: its path, A and B, and what their product is multiplied by.
#[derive(Debug)]
pub(crate) struct TrainedLayer<'a> {
    pub(crate) path: &'a str,
    /// [rank, in], with any further dimensions of size 1.
    pub(crate) down: &'a Tensor,
    /// [out, rank], as above.
    pub(crate) up: &'a Tensor,
    pub(crate) scale: f64,
}

/// A UNet whose frozen weights are shared with the pipeline's plan.
#[derive(Debug)]
pub(crate) struct TrainingUNet {
    config: UNetConfig,
    operands: Dtype,
    parameters: Parameters<Packed>,
    current: Option<Current>,
}

/// A plan whose arena holds the values of the last way forward.
#[derive(Debug)]
struct Current {
    plan: UNetPlan,
    arena: Arena,
    tape: Tape,
    pool: Pool,
}

/// What the way back needs beside the buffers, by operation.
#[derive(Debug, Default)]
struct Tape {
    prompt: Vec<Option<Saved>>,
    step: Vec<Option<Saved>>,
    /// Views that depend on a trained layer.
    tracked: Vec<View>,
    changes: Changes,
    /// Trained layers.
    layers: usize,
}

#[derive(Debug)]
enum Saved {
    /// What a norm read, which the plan changes later.
    State(Buffer),
    /// Values and gates of a gated layer; x·Aᵀ of its trained parts.
    Gated(Buffer, Vec<Buffer>),
    /// x·Aᵀ of a layer's trained parts.
    Hidden(Vec<Buffer>),
}

/// Gradients of the trained layers, in their order, and of the prompt's context [images, tokens, width].
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) factors: Vec<Option<FactorGradients>>,
    pub(crate) context: Option<Tensor>,
}

impl TrainingUNet {
    /// For `unet`, whose layers have no changes; `None` where gradients by the plan do not cover it, or not all of `paths`, the
    /// layers that are trained.
    ///
    /// # Errors
    /// Memory runs out.
    pub(crate) fn new<'a>(
        planned: &PlannedUNet,
        unet: &mut UNet,
        paths: impl Iterator<Item = &'a str>,
    ) -> Result<Option<Self>> {
        let (config, operands) = (unet.config().clone(), planned.operands());
        let side = 1 << config.block_out_channels.len();
        let shape = Shape { images: 1, guided: false, size: (side, side), tokens: 1, times: 1 };
        let Some(plan) = unet::plan(&config, shape, operands) else { return Ok(None) };
        let parameters = planned.parameters().share(&plan.plan, &mut |f| unet.visit_parameters(f))?;
        let this = Self { config, operands, parameters, current: None };
        let covered =
            this.covers(&plan.plan) && paths.into_iter().all(|path| place(&plan.plan, path).is_some());
        Ok(covered.then_some(this))
    }

    fn covers(&self, plan: &Plan) -> bool {
        plan.prompt.iter().chain(&plan.step).all(|step| match step.op {
            Op::Linear { matrix, activation, .. } => {
                activation.is_none() && self.parameters.matrix(matrix).has_gradient()
            }
            Op::Conv { matrix, sampling, .. } => {
                sampling != Sampling::HalfBottomRight && self.parameters.matrix(matrix).has_gradient()
            }
            Op::Attention { causal, .. } => !causal,
            _ => true,
        })
    }

    /// The prediction for `x` [batch, channels, height, width], with one time for each image of the batch, and a `context` for
    /// each. With `keep`, what [`Self::backward`] needs is kept. `None` where the plan does not cover the shape.
    ///
    /// # Errors
    /// Shapes do not fit.
    pub(crate) fn forward(
        &mut self,
        x: &Tensor,
        times: &[f64],
        context: &Tensor,
        layers: &[TrainedLayer<'_>],
        keep: bool,
    ) -> Result<Option<Tensor>> {
        let (images, channels, height, width) = x.dims4()?;
        let (_, tokens, _) = context.dims3()?;
        let shape = Shape { images, guided: false, size: (height, width), tokens, times: times.len() };
        if self.current.as_ref().is_none_or(|current| current.plan.shape != shape) {
            // The old arena goes first.
            self.current = None;
            let Some(mut plan) = unet::plan(&self.config, shape, self.operands) else { return Ok(None) };
            plan.plan.keep_all();
            let arena = Arena::new(&plan.plan);
            self.current = Some(Current { plan, arena, tape: Tape::default(), pool: Pool::default() });
        }
        let Some(Current { plan: UNetPlan { plan, context: prompt, sinusoids, .. }, arena, tape, pool }) =
            &mut self.current
        else {
            return Ok(None);
        };
        let expected = [images, tokens, prompt.channels];
        let (x, context) = (x.contiguous()?, context.contiguous()?);
        let (Some(values), Some(words)) = (floats(&x), floats(&context)) else { return Ok(None) };
        if context.dims() != expected
            || channels != plan.input.channels
            || (times.len() != images && times.len() != 1)
        {
            let message = format!(
                "{:?} with {} times and a context of {:?}; the model takes {} channels and a context of {expected:?}",
                x.dims(),
                times.len(),
                context.dims(),
                plan.input.channels
            );
            return Err(EngineError::Request(message));
        }
        *tape = Tape::new(plan, layers)?;
        fill(arena.get_mut(plan, *prompt), &words);
        let of_times: Vec<f32> = times.iter().flat_map(|t| Sinusoids::new(&self.config).of(*t)).collect();
        fill(arena.get_mut(plan, *sinusoids), &of_times);
        adire_kernels::from_planes(&values, arena.get_mut(plan, plan.input));
        let parameters = &self.parameters;
        arena.run(plan, Stage::Time, &Packed, parameters);
        for stage in [Stage::Prompt, Stage::Step] {
            for step in plan.stage(stage) {
                let saved = forward_step(arena, plan, step, parameters, tape, pool, keep);
                tape.saved(stage).push(saved);
            }
        }
        let output = arena.get(plan, plan.output);
        let channels = output.layout().channels;
        let mut planes = vec![0.0; output.layout().pixels() * channels];
        adire_kernels::to_planes(output, &mut planes);
        Ok(Some(Tensor::from_vec(planes, (images, channels, height, width), &Device::Cpu)?))
    }

    /// Gradients, from that of the last prediction; with `context` that of the prompt's context, too.
    ///
    /// # Errors
    /// Nothing was predicted, or the gradient has another shape.
    pub(crate) fn backward(&mut self, gradient: &Tensor, context: bool) -> Result<Found> {
        let nothing = || EngineError::Request("a gradient without a prediction".to_owned());
        let Current { plan: UNetPlan { plan, context: prompt, .. }, arena, tape, pool } =
            self.current.as_mut().ok_or_else(nothing)?;
        let mut tape = std::mem::take(tape);
        let gradient = gradient.contiguous()?;
        let values = floats(&gradient).ok_or_else(nothing)?;
        if context {
            tape.track_from(plan, *prompt);
        }
        let mut gradients = Gradients::new(plan, std::mem::take(pool));
        {
            let (output, _) = gradients.target(plan, plan.output);
            if values.len() != output.layout().len() {
                return Err(nothing());
            }
            adire_kernels::from_planes(&values, output);
        }
        let mut found = vec![None; tape.layers];
        for stage in [Stage::Step, Stage::Prompt] {
            let steps = plan.stage(stage);
            for (i, step) in steps.iter().enumerate().rev() {
                let saved = tape.saved(stage).get_mut(i).and_then(Option::take);
                let mut back = Back {
                    plan,
                    arena,
                    parameters: &self.parameters,
                    gradients: &mut gradients,
                    tape: &tape,
                    found: &mut found,
                };
                back.step(step, saved);
            }
        }
        let context = match context {
            true => {
                let layout = arena.get(plan, *prompt).layout();
                let values = gradients
                    .take(prompt.buffer)
                    .map_or_else(|| vec![0.0; layout.pixels() * layout.channels], |buffer| buffer.to_vec());
                Some(Tensor::from_vec(values, (layout.batch, layout.width, layout.channels), &Device::Cpu)?)
            }
            false => None,
        };
        *pool = gradients.into_pool();
        Ok(Found { factors: found, context })
    }
}

/// Matrix and part that a layer is of; `None` where it is none that gradients reach.
fn place(plan: &Plan, path: &str) -> Option<(usize, usize)> {
    let reached = |matrix: usize| {
        plan.prompt
            .iter()
            .chain(&plan.step)
            .any(|step| matches!(step.op, Op::Linear { matrix: m, .. } if m == matrix))
    };
    plan.matrices.iter().enumerate().find_map(|(matrix, spec)| {
        let part = spec.parts.iter().position(|part| part == path)?;
        reached(matrix).then_some((matrix, part))
    })
}

impl Tape {
    fn new(plan: &Plan, layers: &[TrainedLayer<'_>]) -> Result<Self> {
        let mut this = Self { layers: layers.len(), ..Self::default() };
        for (i, layer) in layers.iter().enumerate() {
            let missing = || EngineError::Request(format!("{} is not trained by a plan", layer.path));
            let (matrix, part) = place(plan, layer.path).ok_or_else(missing)?;
            let spec = &plan.matrices[matrix];
            // Parts of one matrix have equally many outputs: those of Q, K and V.
            let rows = spec.outputs / spec.parts.len();
            let (rank, inputs) = (layer.down.dim(0)?, layer.down.elem_count() / layer.down.dim(0)?);
            if layer.up.dim(0)? != rows || layer.up.elem_count() != rows * rank || inputs != spec.inputs {
                return Err(missing());
            }
            let values = |x: &Tensor| Ok::<_, EngineError>(x.flatten_all()?.to_vec1::<f32>()?);
            let factors = Factors::new(i, &values(layer.down)?, &values(layer.up)?, rank, layer.scale as f32);
            this.changes.entry(matrix).or_default().push((part * rows..(part + 1) * rows, factors));
        }
        for step in plan.prompt.iter().chain(&plan.step) {
            this.follow(step);
        }
        Ok(this)
    }

    /// Tracks what an operation writes if it is trained, or reads what is tracked.
    fn follow(&mut self, step: &Step) {
        let trained = matches!(step.op, Op::Linear { matrix, .. } if self.changes.contains_key(&matrix));
        if trained || step.op.reads().any(|view| self.tracks(view)) {
            self.tracked.push(step.op.writes());
        }
    }

    /// Tracks `view`, and all that depends on it.
    fn track_from(&mut self, plan: &Plan, view: View) {
        self.tracked.push(view);
        for step in plan.prompt.iter().chain(&plan.step) {
            self.follow(step);
        }
    }

    fn tracks(&self, view: View) -> bool {
        let meets = |other: &View| {
            view.buffer == other.buffer
                && view.channel < other.channel + other.channels
                && other.channel < view.channel + view.channels
        };
        self.tracked.iter().any(meets)
    }

    fn saved(&mut self, stage: Stage) -> &mut Vec<Option<Saved>> {
        if stage == Stage::Prompt { &mut self.prompt } else { &mut self.step }
    }
}

/// One operation forwards.
fn forward_step(
    arena: &mut Arena,
    plan: &Plan,
    step: &Step,
    parameters: &Parameters<Packed>,
    tape: &Tape,
    pool: &mut Pool,
    keep: bool,
) -> Option<Saved> {
    match step.op {
        Op::LayerNorm { x, .. } if keep && tape.tracks(x) => {
            let from = arena.get(plan, x);
            let layout = Layout { stride: x.channels, ..from.layout() };
            let mut state = pool.floats(layout.len());
            activation(from, Activation::Identity, ImageMut::new(&mut state, layout));
            arena.step(plan, step, &Packed, parameters);
            Some(Saved::State(state))
        }
        Op::Linear { x, matrix, bias, residual, y, .. } => {
            let parts = tape.changes.get(&matrix);
            let gated = plan.matrices[matrix].gated && keep && (parts.is_some() || tape.tracks(x));
            let PackedMatrix::Linear(weights) = parameters.matrix(matrix) else { return None };
            let outputs = weights.outputs();
            let added = parts.map(|parts| {
                let residual = residual.filter(|view| *view != y).map(|view| arena.get(plan, view));
                low_rank::forward(arena.any(plan, x), outputs, parts, residual, pool)
            });
            let rows = Layout::tokens(1, arena.any(plan, x).layout().pixels(), outputs);
            let (add, hidden) = match added {
                Some(added) => (Some(added.values), added.hidden),
                None => (None, Vec::new()),
            };
            let residual = add.as_ref().map(|values| Image::new(values, rows));
            let mut raw = None;
            if !plan.matrices[matrix].gated || (!gated && residual.is_none()) {
                arena.step_with(plan, step, &Packed, parameters, residual);
            } else {
                let mut all = pool.floats(rows.len());
                let bias = bias.map(|i| parameters.vector(i));
                let epilogue = Epilogue { bias, residual, ..Epilogue::default() };
                linear_ungated(arena.any(plan, x), weights, &epilogue, ImageMut::new(&mut all, rows));
                let half = rows.with_channels(outputs / 2).with_stride(outputs / 2);
                let mut values = pool.floats(half.len());
                geglu(Image::new(&all, rows), ImageMut::new(&mut values, half));
                activation(Image::new(&values, half), Activation::Identity, arena.any_mut(plan, y));
                pool.give(values);
                raw = Some(all);
            }
            if let Some(values) = add {
                pool.give(values);
            }
            match raw {
                Some(raw) if keep => Some(Saved::Gated(raw, hidden)),
                raw => {
                    if let Some(raw) = raw {
                        pool.give(raw);
                    }
                    (keep && parts.is_some()).then_some(Saved::Hidden(hidden))
                }
            }
        }
        _ => {
            arena.step(plan, step, &Packed, parameters);
            None
        }
    }
}

/// The way back through one operation.
struct Back<'a> {
    plan: &'a Plan,
    arena: &'a Arena,
    parameters: &'a Parameters<Packed>,
    gradients: &'a mut Gradients,
    tape: &'a Tape,
    found: &'a mut [Option<FactorGradients>],
}

impl Back<'_> {
    fn step(&mut self, step: &Step, saved: Option<Saved>) {
        let y = step.op.writes();
        if !self.tape.tracks(y) {
            return;
        }
        // Nothing has read it: what it gives, nothing depends on.
        let Some(mut gradient) = self.gradients.take(y.buffer) else { return };
        let layout = self.gradients.layout(self.plan, y.buffer);
        // Of some channels of a concatenation.
        let part = layout.with_channels(y.channels);
        match step.op {
            Op::GroupNorm { x, norm, groups, eps, activation, .. } if self.tape.tracks(x) => {
                let affine = Affine {
                    weight: self.parameters.vector(norm.weight),
                    bias: self.parameters.vector(norm.bias),
                    epsilon: eps as f32,
                };
                let from = self.arena.get(self.plan, x);
                let (mut to, add) = self.gradients.target(self.plan, x);
                group_norm_rows_backward(from, &mut gradient, groups, &affine, activation, &mut to, add);
            }
            Op::LayerNorm { x, norm, eps, .. } => {
                if let Some(Saved::State(state)) = saved {
                    let weight = self.parameters.vector(norm.weight);
                    let (mut to, add) = self.gradients.target(self.plan, x);
                    layer_norm_rows_backward(&state, &gradient, weight, eps as f32, &mut to, add);
                    self.gradients.pool.give(state);
                }
            }
            Op::Linear { x, matrix, residual, .. } => {
                let result = Image::new(&gradient[y.channel..], part);
                if let Some(residual) = residual.filter(|view| *view != y && self.tape.tracks(*view)) {
                    self.pass(result, residual);
                }
                match saved {
                    Some(Saved::Gated(mut raw, hidden)) => {
                        geglu_rows_backward(&mut raw, &gradient, y.channels);
                        let rows = layout.with_channels(2 * y.channels).with_stride(2 * y.channels);
                        self.linear(x, matrix, Image::new(&raw, rows), &hidden);
                        self.gradients.pool.give(raw);
                    }
                    Some(Saved::Hidden(hidden)) => self.linear(x, matrix, result, &hidden),
                    _ => self.linear(x, matrix, result, &[]),
                }
            }
            Op::Conv { x, matrix, sampling, residual, .. } => {
                let result = Image::new(&gradient[y.channel..], part);
                if let Some(residual) = residual.filter(|view| *view != y && self.tape.tracks(*view)) {
                    self.pass(result, residual);
                }
                if self.tape.tracks(x) {
                    self.conv(x, matrix, sampling, result);
                }
            }
            Op::Attention { q, k, v, heads, .. } => {
                let qkv = [q, k, v].map(|view| self.arena.any(self.plan, view));
                let result = Image::new(&gradient, layout);
                let found = attention::attention_backward(qkv, result, heads, &mut self.gradients.pool);
                for (view, values) in [q, k, v].into_iter().zip(found) {
                    if self.tape.tracks(view) {
                        let layout =
                            self.gradients.layout(self.plan, view.buffer).with_channels(view.channels);
                        self.pass(Image::new(&values, layout.with_stride(view.channels)), view);
                    }
                    self.gradients.pool.give(values);
                }
            }
            Op::Resize { x, .. } if self.tape.tracks(x) => {
                self.shrink(Image::new(&gradient[y.channel..], part), x);
            }
            _ => {}
        }
        self.gradients.give(y.buffer, gradient);
    }

    /// Writes a gradient to that of a view, or adds it.
    fn pass(&mut self, from: Image<'_>, to: View) {
        let (to, add) = self.gradients.target(self.plan, to);
        memory::add(from, to, add);
    }

    /// The gradient of what a layer read, and of its factors.
    fn linear(&mut self, x: View, matrix: usize, gradient: Image<'_>, hidden: &[Buffer]) {
        let wanted = self.tape.tracks(x);
        if wanted {
            let weights = self.parameters.matrix(matrix);
            let operand = Operand::new(gradient, 0, weights.dtype(), &mut self.gradients.pool);
            let (to, add) = self.gradients.target(self.plan, x);
            let epilogue = Epilogue { accumulate: add, ..Epilogue::default() };
            weights.with_turned(|turned| {
                if let PackedMatrix::Linear(turned) = turned {
                    linear(operand.image(gradient), turned, &epilogue, to);
                }
            });
            operand.give(&mut self.gradients.pool);
        }
        if let Some(parts) = self.tape.changes.get(&matrix) {
            let held = low_rank::plain(self.arena.any(self.plan, x), &mut self.gradients.pool);
            let to = wanted.then(|| self.gradients.target(self.plan, x).0);
            low_rank::backward(gradient, parts, hidden, &held, to, self.found);
            self.gradients.pool.give(held);
        }
    }

    /// The gradient of what a convolution read.
    fn conv(&mut self, x: View, matrix: usize, sampling: Sampling, gradient: Image<'_>) {
        let weights = self.parameters.matrix(matrix);
        let from = gradient.layout();
        let layout = self.gradients.layout(self.plan, x.buffer);
        let enlarged = Layout {
            height: 2 * layout.height,
            width: 2 * layout.width,
            ..layout.with_channels(x.channels).with_stride(x.channels)
        };
        let pool = &mut self.gradients.pool;
        // With a stride, every second pixel has a gradient; the others have none.
        let spread = (sampling == Sampling::Half).then(|| {
            let layout = Layout::plain(from.batch, layout.height, layout.width, from.channels);
            let mut spread = pool.floats(layout.len());
            spread.fill(0.0);
            for pixel in 0..from.pixels() {
                let (line, column) = (pixel / from.width, pixel % from.width);
                let (image, line) = (line / from.height, line % from.height);
                let at = layout.at(image, 2 * line, 2 * column);
                spread[at..at + from.channels].copy_from_slice(gradient.pixel(pixel));
            }
            (spread, layout)
        });
        let gradient = spread.as_ref().map_or(gradient, |(values, layout)| Image::new(values, *layout));
        let operand = Operand::new(gradient, 1, weights.dtype(), pool);
        let mut large = (sampling == Sampling::Double).then(|| pool.floats(enlarged.len()));
        let (mut to, add) = self.gradients.target(self.plan, x);
        let layout = to.layout();
        let epilogue = Epilogue { accumulate: add && large.is_none(), ..Epilogue::default() };
        weights.with_turned(|turned| {
            let to = match &mut large {
                Some(large) => ImageMut::new(large, enlarged),
                None => ImageMut::new(to.data_mut(), layout),
            };
            if let PackedMatrix::Conv(turned) = turned {
                let x = operand.image(gradient);
                conv3x3(x, turned, Sampling::Same, Algorithm::Auto, &epilogue, to);
            }
        });
        if let Some(large) = &large {
            memory::shrink(Image::new(large, enlarged), to, add);
        }
        let pool = &mut self.gradients.pool;
        operand.give(pool);
        spread.map(|(values, _)| values).into_iter().chain(large).for_each(|values| pool.give(values));
    }

    /// The gradient of what was enlarged, or copied.
    fn shrink(&mut self, gradient: Image<'_>, x: View) {
        let (to, add) = self.gradients.target(self.plan, x);
        let (from, layout) = (gradient.layout(), to.layout());
        if (from.height, from.width) == (layout.height, layout.width) {
            memory::add(gradient, to, add);
        } else {
            memory::shrink(gradient, to, add);
        }
    }
}

/// A gradient as products read it.
enum Operand {
    /// As it is.
    Plain,
    Floats(Buffer, Layout),
    Halves(Buffer<bf16>, Layout),
}

impl Operand {
    /// In a type, with `border` pixels of zeros around.
    fn new(gradient: Image<'_>, border: usize, dtype: Dtype, pool: &mut Pool) -> Self {
        let layout = Layout { border, stride: gradient.layout().channels, ..gradient.layout() };
        match dtype {
            Dtype::F32 if border == 0 => Self::Plain,
            Dtype::F32 => {
                let mut values = pool.floats(layout.len());
                activation(gradient, Activation::Identity, ImageMut::new(&mut values, layout));
                Self::Floats(values, layout)
            }
            Dtype::Bf16 => {
                let mut values = pool.halves(layout.len());
                activation(gradient, Activation::Identity, ImageMut::new(&mut values, layout));
                Self::Halves(values, layout)
            }
        }
    }

    fn image<'a>(&'a self, gradient: Image<'a>) -> AnyImage<'a> {
        match self {
            Self::Plain => gradient.into(),
            Self::Floats(values, layout) => Image::new(values, *layout).into(),
            Self::Halves(values, layout) => Image::new(values, *layout).into(),
        }
    }

    fn give(self, pool: &mut Pool) {
        match self {
            Self::Plain => {}
            Self::Floats(values, _) => pool.give(values),
            Self::Halves(values, _) => pool.give_halves(values),
        }
    }
}
