//! Forms of the operations and of their gradients for f32 on the CPU: fewer passes over memory, vector code, all
//! cores. They know no graph; the composed forms beside them are what they are tested against.
//!
//! Everything is safe Rust over slices, in loops that the compiler vectorises.

mod backward;
mod conv;
mod elementwise;
mod math;
mod norm;
mod rows;
mod softmax;

use std::ops::Deref;

use candle_core::{DType, Storage, Tensor};

pub(super) use backward::{
    activate_backward, geglu_backward, group_norm_backward, layer_norm_backward, softmax_backward,
};
pub(super) use conv::{Geometry, conv2d, conv2d_backward};
pub(super) use elementwise::{activate, geglu};
pub(super) use norm::{group_norm, layer_norm};
pub(crate) use rows::{
    geglu_rows_backward, group_norm_rows_backward, layer_norm_rows_backward, outer, softmax_in_place,
    softmax_in_place_backward,
};
pub(super) use softmax::softmax_rows;

/// The values of a contiguous f32 tensor on the CPU.
pub(crate) struct Floats<Guard> {
    guard: Guard,
    start: usize,
    end: usize,
}

/// The values of `x`; `None` where it is of another kind, device or layout.
pub(crate) fn floats(x: &Tensor) -> Option<Floats<impl Deref<Target = Storage>>> {
    if x.dtype() != DType::F32 || !x.device().is_cpu() {
        return None;
    }
    let (guard, layout) = x.storage_and_layout();
    let (start, end) = layout.contiguous_offsets()?;
    Some(Floats { guard, start, end })
}

impl<Guard: Deref<Target = Storage>> Deref for Floats<Guard> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.guard {
            Storage::Cpu(storage) => storage.as_slice().map_or(&[], |values| &values[self.start..self.end]),
            _ => &[],
        }
    }
}

/// Smallest piece of elementwise work that is worth a task of its own.
const GRAIN: usize = 16 * 1024;

/// a·b + c, fused where the target has the instruction (without it, the call would be a slow function).
#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { a.mul_add(b, c) } else { a * b + c }
}
