//! Plans on a GPU: the same lists as on the CPU, walked once into kernels, which are then launched.
//!
//! Numbers are all of one type ([`Element`]), but for time rows and vectors, which are f32. `parameters` holds the weights,
//! `unet`, `codec` and `words` are the models. Knows no driver: tests run on `adire_cuda::Fake`.

mod codec;
mod parameters;
#[cfg(test)]
mod tests;
mod unet;
mod words;

use std::{collections::HashMap, sync::Arc};

use adire_cuda::{Element, Kernel, Memory, Runtime, Span, View as DeviceView};
use adire_kernels::Layout;

use self::parameters::DeviceParameters;
pub(crate) use self::{codec::DeviceVae, unet::DeviceUNet, words::DeviceText};
use super::{
    arithmetic::activation as kernel_activation,
    op::{Offset, Op, Plan, Step, View},
};
use crate::{EngineError, Result};

/// A GPU to compute on, and the numbers to compute with.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) element: Element,
}

impl Target {
    /// Uploads numbers as they are given, f32.
    fn upload(&self, values: &[f32], to: &Span) -> Result<()> {
        Ok(self.runtime.upload(&Element::F32.encode(values), to)?)
    }

    /// Downloads numbers of a type.
    fn download(&self, from: &Span, element: Element) -> Result<Vec<f32>> {
        let mut bytes = vec![0; from.len()];
        self.runtime.download(from, &mut bytes)?;
        Ok(element.decode(&bytes))
    }
}

/// A plan's buffers in a GPU's memory.
#[derive(Debug)]
struct Arena {
    memory: Memory,
    element: Element,
    /// Buffers of f32 that have blocks of their own.
    own: HashMap<usize, Memory>,
}

impl Arena {
    /// With blocks of f32 for the buffers that are named.
    fn new(target: &Target, plan: &Plan, own: &[usize]) -> Result<Self> {
        let element = target.element;
        let memory = target.runtime.allocate(plan.arena * element.bytes())?;
        let mut blocks = HashMap::new();
        for buffer in own {
            let of = &plan.buffers[*buffer];
            let bytes = of.images * of.image() * Element::F32.bytes();
            blocks.insert(*buffer, target.runtime.allocate(bytes)?);
        }
        Ok(Self { memory, element, own: blocks })
    }

    /// The first images of a view.
    fn view(&self, plan: &Plan, view: View, images: usize) -> Result<DeviceView> {
        let buffer = &plan.buffers[view.buffer];
        let layout = Layout {
            batch: images.min(buffer.images),
            height: buffer.height,
            width: buffer.width,
            channels: view.channels,
            stride: buffer.channels,
            border: buffer.border,
        };
        Ok(match self.own.get(&view.buffer) {
            Some(memory) => {
                DeviceView::new(memory, view.channel * Element::F32.bytes(), Element::F32, layout)?
            }
            None => {
                let start = (plan.places[view.buffer] + view.channel) * self.element.bytes();
                DeviceView::new(&self.memory, start, self.element, layout)?
            }
        })
    }

    /// A whole buffer.
    fn whole(&self, plan: &Plan, view: View) -> Result<DeviceView> {
        self.view(plan, view, plan.buffers[view.buffer].images)
    }

    /// What a list of operations launches.
    fn kernels(&self, plan: &Plan, steps: &[Step], parameters: &DeviceParameters) -> Result<Vec<Kernel>> {
        steps.iter().map(|step| self.kernel(plan, step, parameters)).collect()
    }

    fn kernel(&self, plan: &Plan, step: &Step, parameters: &DeviceParameters) -> Result<Kernel> {
        let at = |view: View| self.view(plan, view, step.images);
        let optional = |view: Option<View>| view.map(at).transpose();
        // ε is of what the norm would see without the power of two.
        let epsilon = |x: View, eps: f64| (eps * f64::powi(2.0, 2 * parameters.exponent(x.buffer))) as f32;
        Ok(match step.op {
            Op::GroupNorm { x, norm, groups, eps, activation, y } => Kernel::GroupNorm {
                epsilon: epsilon(x, eps),
                x: at(x)?,
                weight: parameters.vector(norm.weight),
                bias: parameters.vector(norm.bias),
                groups,
                activation: kernel_activation(activation),
                y: at(y)?,
            },
            Op::LayerNorm { x, norm, eps, y } => Kernel::LayerNorm {
                epsilon: epsilon(x, eps),
                x: at(x)?,
                weight: parameters.vector(norm.weight),
                bias: parameters.vector(norm.bias),
                y: at(y)?,
            },
            Op::Linear { x, matrix, bias, activation, residual, y } => Kernel::Linear {
                x: at(x)?,
                matrix: parameters.matrix(matrix).clone(),
                bias: bias.map(|bias| parameters.vector(bias)),
                activation: kernel_activation(activation),
                residual: optional(residual)?,
                y: at(y)?,
            },
            Op::Conv { x, matrix, offset, sampling, residual, y } => Kernel::Conv {
                x: at(x)?,
                matrix: parameters.matrix(matrix).clone(),
                offset: Some(match offset {
                    Offset::Vector(vector) => parameters.vector(vector),
                    Offset::Row(row) => at(row)?.span().clone(),
                }),
                sampling,
                residual: optional(residual)?,
                y: at(y)?,
            },
            Op::Attention { q, k, v, heads, causal, y } => {
                Kernel::Attention { q: at(q)?, k: at(k)?, v: at(v)?, heads, causal, y: at(y)? }
            }
            Op::Resize { x, y } => Kernel::Resize { x: at(x)?, y: at(y)? },
            Op::Repeat { x } => Kernel::Repeat { x: at(x)? },
        })
    }
}

/// Puts kernels onto the stream, one after the other.
fn launch(target: &Target, kernels: &[Kernel]) -> adire_cuda::Result<()> {
    kernels.iter().try_for_each(|kernel| target.runtime.launch(kernel))
}

/// Bytes of `numbers` of f32.
fn planes(target: &Target, numbers: usize) -> Result<Span> {
    Ok(target.runtime.allocate(numbers * Element::F32.bytes())?.whole())
}

/// A request that does not fit the model.
fn refused<T>(message: String) -> Result<T> {
    Err(EngineError::Request(message))
}
