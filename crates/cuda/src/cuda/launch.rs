//! Kernels as the C library takes them.

use std::{
    ffi::c_void,
    ptr::{null, null_mut},
};

use adire_kernels::{Activation, Sampling};

use super::{Cuda, State, abi, done};
use crate::{Change, Delta, Element, Error, Kernel, Matrix, Result, Span, View};

/// The table's choice.
const AUTO: i32 = 0;

fn int(number: usize) -> Result<i32> {
    i32::try_from(number).map_err(|_| Error::Operands(format!("{number} is too large")))
}

fn element(element: Element) -> i32 {
    match element {
        Element::F32 => 0,
        Element::F16 => 1,
    }
}

fn activation(activation: Activation) -> i32 {
    match activation {
        Activation::Identity => 0,
        Activation::Silu => 1,
        Activation::Gelu => 2,
        Activation::QuickGelu => 3,
    }
}

fn sampling(sampling: Sampling) -> i32 {
    match sampling {
        Sampling::Same => 0,
        Sampling::Half => 1,
        Sampling::HalfBottomRight => 2,
        Sampling::Double => 3,
    }
}

fn view(view: &View) -> Result<abi::View> {
    let layout = view.layout();
    let inside = layout.at(0, 0, 0) * view.element().bytes();
    Ok(abi::View {
        data: (view.span().address() + inside as u64) as *mut c_void,
        image_stride: layout.image_stride() as i64,
        row_stride: layout.row_stride() as i64,
        pixel_stride: layout.stride as i64,
        images: int(layout.batch)?,
        height: int(layout.height)?,
        width: int(layout.width)?,
        channels: int(layout.channels)?,
        border: int(layout.border)?,
        dtype: element(view.element()),
    })
}

/// None.
const NO_VIEW: abi::View = abi::View {
    data: null_mut(),
    image_stride: 0,
    row_stride: 0,
    pixel_stride: 0,
    images: 0,
    height: 0,
    width: 0,
    channels: 0,
    border: 0,
    dtype: 0,
};

const NO_WORKSPACE: abi::Workspace = abi::Workspace { data: null_mut(), bytes: 0 };

fn residual(residual: &Option<View>) -> Result<abi::View> {
    residual.as_ref().map_or(Ok(NO_VIEW), view)
}

fn matrix(matrix: &Matrix) -> Result<abi::Matrix> {
    Ok(abi::Matrix {
        data: matrix.values.address() as *const c_void,
        outputs: int(matrix.outputs)?,
        inputs: int(matrix.inputs)?,
        dtype: element(matrix.element),
        gated: i32::from(matrix.gated),
    })
}

fn vector(span: &Span) -> *const f32 {
    span.address() as *const f32
}

fn change(change: &Change) -> Result<abi::Change> {
    let (up, down, dense, rank) = match &change.delta {
        Delta::LowRank { up, down, rank } => (vector(up), vector(down), null(), *rank),
        Delta::Dense(values) => (null(), null(), vector(values), 0),
    };
    Ok(abi::Change {
        up,
        down,
        dense,
        strength: change.strength,
        rank: int(rank)?,
        first: int(change.first)?,
        rows: int(change.rows)?,
    })
}

impl Cuda {
    /// Puts a kernel, whose operands were checked, onto the stream.
    // Every call below gets pointers into blocks that the kernel's views and spans hold and stay within; shapes were checked
    // against each other, and the library checks them again. Memory is not given back before the stream has done its work.
    pub(super) fn put(&self, state: &mut State, kernel: &Kernel) -> Result<()> {
        let stream = self.device.stream();
        match kernel {
            Kernel::GroupNorm { x, weight, bias, groups, epsilon, activation: then, y } => {
                let mut args = abi::GroupNorm {
                    x: view(x)?,
                    y: view(y)?,
                    weight: vector(weight),
                    bias: vector(bias),
                    epsilon: *epsilon,
                    groups: int(*groups)?,
                    activation: activation(*then),
                    workspace: NO_WORKSPACE,
                };
                // SAFETY: it reads the arguments and no memory of the device.
                let bytes = unsafe { abi::adire_group_norm_workspace(&raw const args) };
                args.workspace = self.workspace(state, bytes)?;
                // SAFETY: as above.
                done(unsafe { abi::adire_group_norm(stream, &raw const args) })
            }
            Kernel::LayerNorm { x, weight, bias, epsilon, y } => {
                let (weight, bias, epsilon) = (vector(weight), vector(bias), *epsilon);
                let args = abi::LayerNorm { x: view(x)?, y: view(y)?, weight, bias, epsilon };
                // SAFETY: as above.
                done(unsafe { abi::adire_layer_norm(stream, &raw const args) })
            }
            Kernel::Linear { x, matrix: weight, bias, activation: then, residual: added, y } => {
                let mut args = abi::Linear {
                    x: view(x)?,
                    y: view(y)?,
                    weight: matrix(weight)?,
                    bias: bias.as_ref().map_or(null(), vector),
                    residual: residual(added)?,
                    activation: activation(*then),
                    algorithm: AUTO,
                    workspace: NO_WORKSPACE,
                };
                // SAFETY: it reads the arguments and no memory of the device.
                let bytes = unsafe { abi::adire_linear_workspace(&raw const args) };
                args.workspace = self.workspace(state, bytes)?;
                // SAFETY: as above.
                done(unsafe { abi::adire_linear(stream, &raw const args) })
            }
            Kernel::Conv { x, matrix: weight, offset, sampling: from, residual: added, y } => {
                let mut args = abi::Conv {
                    x: view(x)?,
                    y: view(y)?,
                    weight: matrix(weight)?,
                    offset: offset.as_ref().map_or(null(), vector),
                    offset_stride: 0,
                    residual: residual(added)?,
                    sampling: sampling(*from),
                    algorithm: AUTO,
                    workspace: NO_WORKSPACE,
                };
                // SAFETY: it reads the arguments and no memory of the device.
                let bytes = unsafe { abi::adire_conv_workspace(&raw const args) };
                args.workspace = self.workspace(state, bytes)?;
                // SAFETY: as above.
                done(unsafe { abi::adire_conv(stream, &raw const args) })
            }
            Kernel::Attention { q, k, v, heads, causal, y } => {
                let args = abi::Attention {
                    q: view(q)?,
                    k: view(k)?,
                    v: view(v)?,
                    y: view(y)?,
                    heads: int(*heads)?,
                    causal: i32::from(*causal),
                    algorithm: AUTO,
                };
                // SAFETY: as above.
                done(unsafe { abi::adire_attention(stream, &raw const args) })
            }
            Kernel::Resize { x, y } => {
                let (x, y) = (view(x)?, view(y)?);
                // SAFETY: as above.
                done(unsafe { abi::adire_resize(stream, &raw const x, &raw const y) })
            }
            Kernel::Repeat { x } => {
                let x = view(x)?;
                // SAFETY: as above.
                done(unsafe { abi::adire_repeat(stream, &raw const x) })
            }
            Kernel::FromPlanes { planes, y } => {
                let (planes, y) = (vector(planes), view(y)?);
                // SAFETY: as above.
                done(unsafe { abi::adire_from_planes(stream, planes, &raw const y) })
            }
            Kernel::ToPlanes { x, planes } => {
                let (x, planes) = (view(x)?, vector(planes).cast_mut());
                // SAFETY: as above.
                done(unsafe { abi::adire_to_planes(stream, &raw const x, planes) })
            }
            Kernel::SelectRow { table, rows, index, y } => {
                let (columns, rows) = (int(y.len() / 4)?, int(*rows)?);
                let (table, to) = (vector(table), vector(y).cast_mut());
                let index = index.address() as *const i32;
                // SAFETY: as above; it takes numbers outside for the nearest inside.
                done(unsafe {
                    abi::adire_select_row(stream, table, columns.into(), rows, index, to, columns)
                })
            }
            Kernel::Merge { pristine, effective, element: of, rows, columns, changes } => {
                let none = abi::Change {
                    up: null(),
                    down: null(),
                    dense: null(),
                    strength: 0.0,
                    rank: 0,
                    first: 0,
                    rows: 0,
                };
                let mut args = abi::Merge {
                    pristine: pristine.address() as *const c_void,
                    effective: effective.address() as *mut c_void,
                    rows: int(*rows)?,
                    columns: int(*columns)?,
                    dtype: element(*of),
                    changes: int(changes.len())?,
                    change: [none; crate::MAX_CHANGES],
                };
                for (to, from) in args.change.iter_mut().zip(changes) {
                    *to = change(from)?;
                }
                // SAFETY: as above.
                done(unsafe { abi::adire_merge(stream, &raw const args) })
            }
        }
    }
}
