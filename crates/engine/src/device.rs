//! Device and precision: parsing, automatic choice and helpful refusals.

use std::{fmt, str::FromStr, sync::Arc};

use adire_cuda::{Element, Runtime};
use candle_core::{DType, Device};

use crate::{
    EngineError, Result,
    plan::{self, Target},
};

/// Requested device: `auto`, `cpu` or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU if it can be used, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU of this number, from 0.
    Cuda(usize),
}

/// Requested compute precision: `auto`, `f32`, `f16` or `bf16`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// f16 on a GPU; on the CPU bf16 where it multiplies that in hardware, else f32.
    #[default]
    Auto,
    /// Single precision: what the golden files are held to.
    F32,
    /// Half precision.
    F16,
    /// Half precision with the range of single precision; on GPUs from compute capability 8.0, on CPUs with AVX512-BF16 or
    /// AMX.
    Bf16,
}

/// A device that works, with the precision to compute in.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The device of tensors.
    pub device: Device,
    /// The GPU that text encoder, UNet and autoencoder compute on, if it is not the tensors' device: those are on the CPU then,
    /// which keeps sampler, adapters and training.
    pub gpu: Option<Gpu>,
    /// The precision of the text encoder and the UNet. Statistics of normalisations, softmax, time embeddings, the
    /// sampler and the autoencoder are computed in f32 whatever this is; on `gpu` the autoencoder has this precision, too,
    /// and computes in f32 where f16 does not reach.
    pub dtype: DType,
    /// Why the GPU is not used although this program could use one: a sentence for the log.
    pub note: Option<String>,
}

/// Tensors' device, precision, and the GPU beside it.
type Opened = (Device, DType, Option<Gpu>);

/// A GPU that computes models by its own kernels, beside the CPU, which holds the tensors.
#[derive(Clone, Debug)]
pub struct Gpu {
    runtime: Arc<dyn Runtime>,
    index: usize,
}

impl Gpu {
    /// The GPU that a runtime stands for, by its number, from 0.
    pub fn new(runtime: Arc<dyn Runtime>, index: usize) -> Self {
        Self { runtime, index }
    }

    /// As `--device` names it.
    pub fn choice(&self) -> DeviceChoice {
        DeviceChoice::Cuda(self.index)
    }

    /// The GPU's name, such as "NVIDIA H200".
    pub fn name(&self) -> &str {
        &self.runtime.info().name
    }

    /// Bytes of its memory: free ones and all; `None` where the driver does not say.
    pub fn memory(&self) -> Option<(u64, u64)> {
        self.runtime.memory().ok().map(|memory| (memory.free, memory.total))
    }

    /// The same with the numbers to compute in.
    pub(crate) fn target(&self, dtype: DType) -> Target {
        let element = if dtype == DType::F32 { Element::F32 } else { Element::F16 };
        Target { runtime: Arc::clone(&self.runtime), element }
    }
}

impl Placement {
    /// Opens the requested device. A GPU runs a small computation first, so that a mismatch of driver, toolkit,
    /// generation or precision shows here and not in the middle of an image.
    ///
    /// # Errors
    /// [`EngineError::Request`]: the requested GPU cannot be used; the sentence says why and what to do.
    pub fn open(device: DeviceChoice, precision: Precision) -> Result<Self> {
        let on_cpu = |note| Self { device: Device::Cpu, gpu: None, dtype: precision.on(&Device::Cpu), note };
        let (index, explicit) = match device {
            DeviceChoice::Cpu => return Ok(on_cpu(None)),
            // No note: this build has no GPU support.
            DeviceChoice::Auto if !cfg!(any(feature = "cuda", feature = "cuda-train")) => {
                return Ok(on_cpu(None));
            }
            DeviceChoice::Auto => (0, false),
            DeviceChoice::Cuda(index) => (index, true),
        };
        match open_gpu(index, precision) {
            Ok((device, dtype, gpu)) => Ok(Self { device, gpu, dtype, note: None }),
            Err(reason) if explicit => {
                Err(EngineError::Request(format!("the device cuda:{index} cannot be used: {reason}")))
            }
            Err(reason) => Ok(on_cpu(Some(format!("computing on the CPU: {reason}")))),
        }
    }
}

impl Precision {
    /// The data type that this means on `device`.
    pub fn on(self, device: &Device) -> DType {
        match self {
            Self::Auto if device.is_cpu() && plan::prefers_bf16() => DType::BF16,
            Self::Auto if device.is_cpu() => DType::F32,
            Self::Auto | Self::F16 => DType::F16,
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// Bytes of memory that a GPU could give at this moment. Nothing for the CPU, whose memory
/// is the machine's, and where the driver does not say.
pub fn free_memory(device: &Device) -> Option<u64> {
    device_memory(device).map(|(free, _)| free)
}

/// Bytes of a GPU's memory: free ones and all. Nothing where [`free_memory`] knows nothing.
pub fn device_memory(device: &Device) -> Option<(u64, u64)> {
    match device {
        #[cfg(feature = "cuda-train")]
        Device::Cuda(device) => {
            let (free, total) = device.cuda_stream().context().mem_get_info().ok()?;
            Some((u64::try_from(free).ok()?, u64::try_from(total).ok()?))
        }
        _ => None,
    }
}

/// The least free memory of a GPU that a model is loaded to, in bytes: that of a small one.
#[cfg(not(feature = "cuda-train"))]
const LEAST_MEMORY: u64 = 512_000_000;

#[cfg(not(feature = "cuda-train"))]
fn open_gpu(index: usize, precision: Precision) -> std::result::Result<Opened, String> {
    let dtype = match precision {
        Precision::Auto | Precision::F16 => DType::F16,
        Precision::F32 => DType::F32,
        Precision::Bf16 => return Err("it computes in f16 or f32; choose one of them as --dtype".to_owned()),
    };
    let runtime = adire_cuda::open(index).map_err(|error| error.to_string())?;
    let free = runtime.memory().map_err(|error| error.to_string())?.free;
    if free < LEAST_MEMORY {
        let [free, least] = [free, LEAST_MEMORY].map(|bytes| bytes / 1_000_000);
        return Err(format!(
            "{} has {free} MB of free memory, and a model needs {least} MB or more; close other programs that use it, or \
             use --device cpu",
            runtime.info().name
        ));
    }
    Ok((Device::Cpu, dtype, Some(Gpu { runtime, index })))
}

#[cfg(feature = "cuda-train")]
fn open_gpu(index: usize, precision: Precision) -> std::result::Result<Opened, String> {
    use candle_core::cuda_backend::cudarc::driver::CudaContext;

    let count = CudaContext::device_count().map_err(|error| no_driver(error.0))?;
    let known = match usize::try_from(count).unwrap_or(0) {
        0 => return Err("the driver finds no GPU; use --device cpu".to_owned()),
        1 => "this machine has one GPU, cuda:0".to_owned(),
        count => format!("this machine has {count} GPUs, cuda:0 to cuda:{}", count - 1),
    };
    if i32::try_from(index).is_ok_and(|index| index >= count) || i32::try_from(index).is_err() {
        return Err(format!("GPU not found; {known}"));
    }
    // A stream of its own, not candle's default one, which is another stream in every thread: a model is loaded in
    // one thread, and its weights are hashed in several.
    let device = Device::new_cuda_with_stream(index).map_err(|error| {
        format!("it does not start ({error}); another program may hold its memory, or libraries of CUDA are missing")
    })?;
    tune(&device).map_err(|error| format!("its memory pool cannot be set up ({error})"))?;
    let dtype = precision.on(&device);
    try_out(&device, DType::F32).map_err(|error| {
        format!("it computes nothing ({error}); the driver may be older than the CUDA that this program was built with")
    })?;
    try_out(&device, dtype).map_err(|error| {
        let dtype = dtype.as_str();
        format!("it does not compute in {dtype} ({error}); choose another --dtype, or a program built for this GPU")
    })?;
    Ok((device, dtype, None))
}

/// Removes two costs of cudarc's defaults: an event per tensor and launch argument, which only several streams need,
/// and memory that returns to the driver whenever the host waits, as it does at every step.
#[cfg(feature = "cuda-train")]
#[expect(unsafe_code, reason = "cudarc cannot know that there is one stream, nor what type an attribute has")]
fn tune(device: &Device) -> std::result::Result<(), String> {
    use candle_core::cuda_backend::cudarc::driver::{DriverError, result, sys};

    let device = device.as_cuda_device().map_err(|error| error.to_string())?;
    let context = device.cuda_stream().context().clone();
    // SAFETY: there is one stream per device, the one that was created with it, and nothing is allocated yet.
    unsafe { device.disable_event_tracking() };
    let mut threshold = u64::MAX;
    let mut keep = || -> std::result::Result<(), DriverError> {
        // SAFETY: the context keeps its device alive, and the driver reads the threshold as a 64-bit number of bytes.
        unsafe {
            let pool = result::device::get_default_mem_pool(context.cu_device())?;
            let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast())
        }
    };
    keep().map_err(|error| error.to_string())
}

/// A small product, whose result is known.
#[cfg(feature = "cuda-train")]
fn try_out(device: &Device, dtype: DType) -> std::result::Result<(), String> {
    let product = || -> candle_core::Result<f32> {
        let two = candle_core::Tensor::full(2f32, (16, 16), device)?.to_dtype(dtype)?;
        two.matmul(&two)?.to_dtype(DType::F32)?.max_all()?.to_scalar()
    };
    match product() {
        Ok(64.0) => Ok(()),
        Ok(other) => Err(format!("a product that is 64 came out as {other}")),
        Err(error) => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

/// What the driver's answer to the first call means.
#[cfg(feature = "cuda-train")]
fn no_driver(code: candle_core::cuda_backend::cudarc::driver::sys::CUresult) -> String {
    use candle_core::cuda_backend::cudarc::driver::sys::CUresult;
    match code {
        CUresult::CUDA_ERROR_NO_DEVICE => "the driver finds no GPU; use --device cpu".to_owned(),
        CUresult::CUDA_ERROR_STUB_LIBRARY => {
            "no NVIDIA driver is installed; install one, or use --device cpu".to_owned()
        }
        CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH | CUresult::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE => {
            format!(
                "the NVIDIA driver and its library are of different versions ({code:?}); restart the machine"
            )
        }
        code => format!("the NVIDIA driver does not answer ({code:?}); use --device cpu"),
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|number| number.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| "the device can be auto, cpu or cuda:N (cuda:0 is the first GPU)".to_owned()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            _ => Err("the precision can be auto, f32, f16 or bf16".to_owned()),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for name in ["auto", "cpu", "cuda:0", "cuda:12"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        for name in ["auto", "f32", "f16", "bf16"] {
            assert_eq!(name.parse::<Precision>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:+1", "cuda:x", "cuda:99999999999999999999", "CPU"]
        {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
        assert!("f64".parse::<Precision>().is_err());
    }

    #[test]
    fn the_cpu_computes_in_what_it_multiplies_fastest_unless_told_otherwise() {
        let best = if plan::prefers_bf16() { DType::BF16 } else { DType::F32 };
        for (precision, dtype) in [
            (Precision::Auto, best),
            (Precision::F32, DType::F32),
            (Precision::F16, DType::F16),
            (Precision::Bf16, DType::BF16),
        ] {
            let placement = Placement::open(DeviceChoice::Cpu, precision).unwrap();
            assert!(placement.device.is_cpu() && placement.note.is_none());
            assert_eq!(placement.dtype, dtype);
        }
    }

    #[test]
    fn a_gpu_that_is_not_there_is_refused_when_named_and_passed_over_otherwise() {
        let error =
            Placement::open(DeviceChoice::Cuda(4_000_000_000), Precision::Auto).unwrap_err().to_string();
        assert!(error.starts_with("the device cuda:4000000000 cannot be used: "), "{error}");
        if !cfg!(any(feature = "cuda", feature = "cuda-train")) {
            assert!(
                error.contains("built without GPU support") && error.contains("--features cuda"),
                "{error}"
            );
            let placement = Placement::open(DeviceChoice::Auto, Precision::Auto).unwrap();
            assert!(placement.device.is_cpu() && placement.note.is_none());
        }
    }
}
