//! Why a GPU cannot be used, or did not do what it was given: sentences to show.

/// Every failure of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The program was built without the feature `cuda`.
    #[error(
        "this program was built without GPU support; use --device cpu, or build it with `--features cuda`"
    )]
    NotBuilt,
    /// There is no driver, it is too old, or it finds no GPU that this program's kernels run on: which of them.
    #[error("{0}; use --device cpu")]
    Unusable(String),
    /// There are GPUs, but not that one.
    #[error("GPU not found; {}", gpus(*.count))]
    NoSuchDevice {
        /// How many there are.
        count: usize,
    },
    /// There is not enough memory.
    #[error(
        "not enough GPU memory: {} MB needed, {} MB free; choose a smaller size, or close other programs that use this GPU",
        needed / 1_000_000, free / 1_000_000
    )]
    OutOfMemory {
        /// Bytes requested.
        needed: u64,
        /// Bytes free at that moment.
        free: u64,
    },
    /// Operands do not fit a kernel, or each other: a fault of the caller.
    #[error("GPU operands: {0}")]
    Operands(String),
    /// The driver reports a failure, in its words.
    #[error("the GPU failed: {0}")]
    Failed(String),
}

fn gpus(count: usize) -> String {
    match count {
        1 => "this machine has one GPU, cuda:0".to_owned(),
        count => format!("this machine has {count} GPUs, cuda:0 to cuda:{}", count.saturating_sub(1)),
    }
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;
