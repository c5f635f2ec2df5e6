//! Where plans compute.

use candle_core::{DType, Device};

/// Set to `off`, it makes the modules compute everywhere: for tests that compare the two.
const SWITCH: &str = "ADIRE_PLAN";

/// Whether models of `dtype` on `device` compute by plans.
pub(crate) fn is_on(device: &Device, dtype: DType) -> bool {
    device.is_cpu() && dtype == DType::F32 && !std::env::var(SWITCH).is_ok_and(|value| value == "off")
}
