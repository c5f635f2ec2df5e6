//! A UNet on a GPU.

use std::collections::HashMap;

use adire_cuda::{Element, Graph, Kernel, Span, View as DeviceView};
use adire_kernels::{Dtype, Layout};
use candle_core::{Device, Tensor, TensorId};

use super::{
    super::{
        op::{Op, Stage},
        unet::{self, Shape, UNetPlan},
    },
    Arena, Target, launch,
    parameters::{DeviceParameters, Exponents},
    planes, refused,
};
use crate::{Result, UNet, ops::floats, unet::Sinusoids};

/// Most times whose rows are remembered: those of a long schedule.
const MAX_TIMES: usize = 256;
/// Most shapes whose plans are held, each with its arena and graph.
pub(super) const MAX_SHAPES: usize = 4;

/// A UNet whose plan runs on a GPU: prompt and time when they change, the rest as one graph per shape.
#[derive(Debug)]
pub(crate) struct DeviceUNet {
    target: Target,
    parameters: DeviceParameters,
    time: TimeStage,
    /// What was used last comes last.
    shapes: Vec<Prepared>,
}

/// The time rows of all steps in one table.
#[derive(Debug)]
struct TimeStage {
    /// All operations but the last.
    kernels: Vec<Kernel>,
    /// The last one, with its result in the table's first row.
    last: Kernel,
    sinusoids: Span,
    table: Span,
    columns: usize,
    /// Rows by the bits of the time.
    rows: HashMap<u64, usize>,
}

/// A plan of one shape.
#[derive(Debug)]
struct Prepared {
    plan: UNetPlan,
    arena: Arena,
    prompt: Vec<Kernel>,
    step: Vec<Kernel>,
    /// `step`, once it has run.
    graph: Option<Graph>,
    /// Number of the time's row.
    row: Span,
    input: Span,
    output: Span,
    /// The prompt whose keys and values it holds.
    context: Option<TensorId>,
}

/// The buffers of a plan that are f32: those of the time stage.
fn of_time(plan: &UNetPlan) -> Vec<usize> {
    let written = plan.plan.time.iter().map(|step| step.op.writes().buffer);
    let mut buffers: Vec<usize> = written.chain([plan.sinusoids.buffer]).collect();
    buffers.sort_unstable();
    buffers.dedup();
    buffers
}

impl DeviceUNet {
    /// Uploads the weights of `unet`, which then has no tensors of them; `None` where the plan does not cover it.
    ///
    /// # Errors
    /// A weight cannot be read, or the device's memory does not suffice.
    pub(crate) fn new(target: &Target, unet: &mut UNet) -> Result<Option<Self>> {
        // The weights, and the time stage, are those of any shape.
        let size = 1 << unet.config().block_out_channels.len();
        let shape = Shape { images: 1, guided: false, size: (size, size), tokens: 1, times: 1 };
        let Some(plan) = unet::plan(unet.config(), shape, Dtype::F32) else { return Ok(None) };
        let parameters = DeviceParameters::new(target, &plan.plan, Exponents::default(), &mut |f| {
            unet.visit_parameters(f)
        })?;
        let time = TimeStage::new(target, &plan, &parameters)?;
        Ok(Some(Self { target: target.clone(), parameters, time, shapes: Vec::new() }))
    }

    /// Merges what has changed in `unet`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn update(&mut self, unet: &mut UNet) -> Result<()> {
        let changed = self.parameters.update(&mut |f| unet.visit_parameters(f));
        if !matches!(changed, Ok(false)) {
            self.time.rows.clear();
            self.shapes.iter_mut().for_each(|shape| shape.context = None);
        }
        changed.map(drop)
    }

    /// As [`UNet::forward`]. With `guided`, `x` is one half of the batch, and both halves get it; the result has both.
    /// `None` where the plan does not cover the shape.
    ///
    /// # Errors
    /// Shapes do not fit, or the device's memory does not suffice.
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
        let Some(at) = self.prepare(unet, shape, batch)? else { return Ok(None) };
        let (target, time, prepared) = (&self.target, &mut self.time, &mut self.shapes[at]);
        let plan = &prepared.plan;
        let expected = (images, plan.context.channels);
        let model = unet.config().in_channels;
        if expected != (context.dim(0)?, context.dim(2)?) || channels != model {
            return refused(format!(
                "a batch of {images} images of {channels} channels with a context of {:?}; the model takes {model} \
                 channels and a context of [{images}, tokens, {}]",
                context.dims(),
                expected.1
            ));
        }
        let x = x.contiguous()?;
        let Some(values) = floats(&x) else { return Ok(None) };
        if prepared.context != Some(context.id()) {
            prepared.context = None;
            let values = context.flatten_all()?.to_vec1::<f32>()?;
            let to = prepared.arena.whole(&plan.plan, plan.context)?;
            target.runtime.upload(&target.element.encode(&values), to.span())?;
            launch(target, &prepared.prompt)?;
            prepared.context = Some(context.id());
        }
        let row = time.row(target, unet, timestep)?;
        target.runtime.upload(&(row as i32).to_le_bytes(), &prepared.row)?;
        target.upload(&values, &prepared.input)?;
        if let Some(graph) = &prepared.graph {
            target.runtime.replay(graph)?;
        } else {
            launch(target, &prepared.step)?;
            let step = &prepared.step;
            prepared.graph = Some(target.runtime.record(&mut || launch(target, step))?);
        }
        let values = target.download(&prepared.output, Element::F32)?;
        let channels = plan.plan.output.channels;
        Ok(Some(Tensor::from_vec(values, (images, channels, height, width), &Device::Cpu)?))
    }

    /// Frees the memory of the shapes that are held; whether there were any.
    pub(crate) fn make_room(&mut self) -> bool {
        let held = !self.shapes.is_empty();
        self.shapes.clear();
        held
    }

    /// Where among the shapes the plan of this one is.
    fn prepare(&mut self, unet: &UNet, shape: Shape, batch: usize) -> Result<Option<usize>> {
        if let Some(at) = self.shapes.iter().position(|prepared| prepared.plan.shape == shape) {
            let prepared = self.shapes.remove(at);
            self.shapes.push(prepared);
            return Ok(Some(self.shapes.len() - 1));
        }
        let Some(plan) = unet::plan(unet.config(), shape, Dtype::F32) else { return Ok(None) };
        while self.shapes.len() >= MAX_SHAPES {
            self.shapes.remove(0);
        }
        let prepared = loop {
            match Prepared::new(&self.target, plan.clone(), batch, &self.parameters, &self.time) {
                // Other shapes make room.
                Err(error) if error.is_out_of_memory() && !self.shapes.is_empty() => {
                    self.shapes.remove(0);
                }
                prepared => break prepared?,
            }
        };
        self.shapes.push(prepared);
        Ok(Some(self.shapes.len() - 1))
    }
}

impl TimeStage {
    fn new(target: &Target, plan: &UNetPlan, parameters: &DeviceParameters) -> Result<Self> {
        let arena = Arena::new(target, &plan.plan, &of_time(plan))?;
        let mut kernels = arena.kernels(&plan.plan, plan.plan.stage(Stage::Time), parameters)?;
        let columns = plan.rows.channels;
        let table = planes(target, MAX_TIMES * columns)?;
        let ends = plan
            .plan
            .time
            .last()
            .is_some_and(|step| matches!(step.op, Op::Linear { y, .. } if y.buffer == plan.rows.buffer));
        let Some(last) = kernels.pop().filter(|_| ends) else {
            return refused("a time stage does not end with its rows".to_owned());
        };
        let sinusoids = arena.whole(&plan.plan, plan.sinusoids)?.span().clone();
        Ok(Self { kernels, last, sinusoids, table, columns, rows: HashMap::new() })
    }

    /// The row of a time, computed unless it is there.
    fn row(&mut self, target: &Target, unet: &UNet, timestep: f64) -> Result<usize> {
        if let Some(row) = self.rows.get(&timestep.to_bits()) {
            return Ok(*row);
        }
        if self.rows.len() >= MAX_TIMES {
            self.rows.clear();
        }
        let row = self.rows.len();
        let bytes = self.columns * Element::F32.bytes();
        target.upload(&Sinusoids::new(unet.config()).of(timestep), &self.sinusoids)?;
        launch(target, &self.kernels)?;
        let mut last = self.last.clone();
        if let Kernel::Linear { y, .. } = &mut last {
            let layout = Layout::plain(1, 1, 1, self.columns);
            *y = DeviceView::of(&self.table.part(row * bytes..(row + 1) * bytes)?, Element::F32, layout)?;
        }
        target.runtime.launch(&last)?;
        self.rows.insert(timestep.to_bits(), row);
        Ok(row)
    }
}

impl Prepared {
    fn new(
        target: &Target,
        plan: UNetPlan,
        batch: usize,
        parameters: &DeviceParameters,
        time: &TimeStage,
    ) -> Result<Self> {
        let arena = Arena::new(target, &plan.plan, &of_time(&plan))?;
        let prompt = arena.kernels(&plan.plan, plan.plan.stage(Stage::Prompt), parameters)?;
        let x = arena.view(&plan.plan, plan.plan.input, batch)?;
        let y = arena.whole(&plan.plan, plan.plan.output)?;
        let numbers = |view: &DeviceView| view.layout().pixels() * view.layout().channels;
        let (input, output) = (planes(target, numbers(&x))?, planes(target, numbers(&y))?);
        let row = target.runtime.allocate(size_of::<i32>())?.whole();
        let rows = arena.whole(&plan.plan, plan.rows)?.span().clone();
        let mut step = vec![
            Kernel::SelectRow { table: time.table.clone(), rows: MAX_TIMES, index: row.clone(), y: rows },
            Kernel::FromPlanes { planes: input.clone(), y: x },
        ];
        step.extend(arena.kernels(&plan.plan, plan.plan.stage(Stage::Step), parameters)?);
        step.push(Kernel::ToPlanes { x: y, planes: output.clone() });
        Ok(Self { plan, arena, prompt, step, graph: None, row, input, output, context: None })
    }
}
