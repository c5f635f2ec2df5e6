//! Where plans compute, and in which precision.

use adire_kernels::{Dtype, Isa};
use candle_core::{DType, Device};

/// Set to `off`, it makes the modules compute everywhere: for tests that compare the two.
const SWITCH: &str = "ADIRE_PLAN";

/// What plans of models in `dtype` on `device` multiply; `None` where the modules compute.
pub(crate) fn operands(device: &Device, dtype: DType) -> Option<Dtype> {
    let operands = match dtype {
        DType::F32 => Dtype::F32,
        DType::BF16 => Dtype::Bf16,
        _ => return None,
    };
    let is_on = device.is_cpu() && !std::env::var(SWITCH).is_ok_and(|value| value == "off");
    is_on.then_some(operands)
}

/// Whether models of `dtype` on `device` compute by plans.
pub(crate) fn is_on(device: &Device, dtype: DType) -> bool {
    operands(device, dtype).is_some()
}

/// The type of the tensors of a model in `dtype`: a plan rounds weights itself, and everything else is f32.
pub(crate) fn tensors(device: &Device, dtype: DType) -> DType {
    if is_on(device, dtype) { DType::F32 } else { dtype }
}

/// Whether plans compute here, on a processor that multiplies numbers of bf16 faster than those of f32.
pub(crate) fn prefers_bf16() -> bool {
    is_on(&Device::Cpu, DType::BF16) && Isa::current() >= Isa::Avx512Bf16
}
