//! What a GPU does for a plan.

use std::fmt;

use crate::{Kernel, Memory, Result, Span};

/// What is known of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its name, such as "NVIDIA H200".
    pub name: String,
    /// Compute capability, as (major, minor).
    pub capability: (u32, u32),
    /// Bytes of its memory.
    pub memory: u64,
}

/// Bytes of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryInfo {
    /// Those that could be allocated now, by this program or another.
    pub free: u64,
    /// All of the device.
    pub total: u64,
}

/// Recorded kernels, to be launched again and again at the cost of one launch. It holds the memory that they use; what they
/// read there may change in between.
pub struct Graph(pub(crate) Box<dyn Recorded>);

impl Graph {
    /// How many kernels were recorded.
    pub fn kernels(&self) -> usize {
        self.0.kernels()
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph of {} kernels", self.kernels())
    }
}

/// What a runtime keeps of a graph.
pub(crate) trait Recorded: std::any::Any + Send + Sync {
    fn kernels(&self) -> usize;
}

/// A GPU, with one stream: whatever is put onto it happens in that order, after the call has returned, unless a method says
/// that it waits. Failures of such work are reported by a later call that waits.
///
/// All methods check their operands; none of them reads or writes outside of what it was given.
pub trait Runtime: fmt::Debug + Send + Sync {
    /// What is known of the device.
    fn info(&self) -> &DeviceInfo;

    /// A number that stands for the kernels and for how they are chosen: equal ones on equal devices give equal bits.
    fn kernels(&self) -> u64;

    /// Free and total memory at this moment.
    ///
    /// # Errors
    /// The driver does not say.
    fn memory(&self) -> Result<MemoryInfo>;

    /// A block of memory, whose content is not defined; it begins at a multiple of [`crate::ALIGN`].
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`]; a graph is being recorded.
    fn allocate(&self, bytes: usize) -> Result<Memory>;

    /// Copies from the host. `from` may change once it returns, although the copy happens in the stream's order.
    ///
    /// # Errors
    /// Lengths differ, a graph is being recorded, or earlier work failed.
    fn upload(&self, from: &[u8], to: &Span) -> Result<()>;

    /// Waits for everything before, and copies to the host.
    ///
    /// # Errors
    /// As [`Self::upload`].
    fn download(&self, from: &Span, to: &mut [u8]) -> Result<()>;

    /// Waits for everything before.
    ///
    /// # Errors
    /// Earlier work failed.
    fn synchronise(&self) -> Result<()>;

    /// Puts a kernel onto the stream, or into the graph that this thread is recording.
    ///
    /// # Errors
    /// Operands do not fit ([`Kernel::check`]), or the driver refuses.
    fn launch(&self, kernel: &Kernel) -> Result<()>;

    /// Records what `launches` launches, without running it. What it launches must have been launched once before: kernels are
    /// loaded and their workspace is allocated then.
    ///
    /// # Errors
    /// Another graph is being recorded, or what `launches` reports.
    fn record(&self, launches: &mut dyn FnMut() -> Result<()>) -> Result<Graph>;

    /// Puts a graph of this runtime onto the stream.
    ///
    /// # Errors
    /// It is another runtime's, or the driver refuses.
    fn replay(&self, graph: &Graph) -> Result<()>;
}
