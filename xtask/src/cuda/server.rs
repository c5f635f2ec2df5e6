//! What a build of the server needs besides cargo, where its features are for NVIDIA GPUs.

use std::{env, process::Command};

use anyhow::{Result, bail};

use super::{kernels, toolkit::Toolkit};
use crate::shell::succeeds;

/// Features that compile candle for GPUs.
const CANDLE: [&str; 3] = ["cuda-train", "cudnn", "flash-attn"];

/// Makes the kernels for `cuda`, and lets `command` find CUDA for `cuda-train`. Variables that are set already win:
/// ADIRE_CUDA_KERNELS, CUDA_HOME, CUDA_COMPUTE_CAP.
pub(crate) fn prepare(features: &[String], command: &mut Command) -> Result<()> {
    let is_unset = |variable: &str| env::var_os(variable).is_none_or(|value| value.is_empty());
    if features.iter().any(|feature| feature == "cuda") && is_unset("ADIRE_CUDA_KERNELS") {
        command.env("ADIRE_CUDA_KERNELS", kernels::build()?);
    }
    if features.iter().any(|feature| CANDLE.contains(&feature.as_str())) {
        if is_unset("CUDA_COMPUTE_CAP") && !succeeds(&mut Command::new("nvidia-smi")) {
            bail!(
                "cuda-train is compiled for one generation of GPUs, and this machine has none: set CUDA_COMPUTE_CAP to 75 \
                 (Turing, T4), 80 (Ampere), 89 (Ada) or 90 (Hopper)"
            );
        }
        Toolkit::ensure()?.environment(command);
    }
    Ok(())
}
