//! A GPU that is not there: it computes on the CPU, plainly, and looks at what a GPU would not notice.
//!
//! Work waits until somebody waits for it, as on a GPU. Memory holds NaN until something is written to it. What a convolution
//! reads must have a border of zeros. Recording is refused for kernels that were never launched.

mod arithmetic;
mod store;

use std::{
    any::Any,
    collections::{HashSet, VecDeque},
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::ThreadId,
};

use self::store::Store;
use crate::{
    DeviceInfo, Error, Graph, Kernel, Memory, MemoryInfo, Result, Runtime, Span,
    memory::{Free, Owner},
    runtime::Recorded,
};

/// Bytes of memory of a [`Fake`] that nobody limits.
const MEMORY: u64 = 8 << 30;

/// What a [`Fake`] was asked to do so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Kernels launched one by one.
    pub launches: usize,
    /// Graphs recorded.
    pub graphs: usize,
    /// Graphs launched.
    pub replays: usize,
    /// Bytes copied from the host.
    pub uploaded: usize,
    /// Bytes copied to the host.
    pub downloaded: usize,
}

/// A GPU that is not there. Clones are the same one.
#[derive(Clone)]
pub struct Fake(Arc<Inner>);

struct Inner {
    info: DeviceInfo,
    owner: Owner,
    state: Mutex<State>,
    store: Mutex<Store>,
    /// Held while queued work is done, which happens in order.
    order: Mutex<()>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    recording: Option<(ThreadId, Vec<Kernel>)>,
    launched: HashSet<u64>,
    counts: Counts,
    /// What work in the queue ran into.
    failure: Option<Error>,
}

enum Work {
    Launch(Arc<Kernel>),
    Copy(Vec<u8>, Span),
}

struct Kernels {
    owner: Owner,
    kernels: Vec<Arc<Kernel>>,
}

impl Recorded for Kernels {
    fn kernels(&self) -> usize {
        self.kernels.len()
    }
}

impl Free for Inner {
    fn free(&self, address: u64) {
        lock(&self.store).free(address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stands for a kernel with its operands.
fn name(kernel: &Kernel) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{kernel:?}").hash(&mut hasher);
    hasher.finish()
}

impl Default for Fake {
    fn default() -> Self {
        Self::with_memory(MEMORY)
    }
}

impl Fake {
    /// One with so many bytes of memory.
    pub fn with_memory(memory: u64) -> Self {
        let info = DeviceInfo { name: "fake GPU".to_owned(), capability: (0, 0), memory };
        let (state, store) = (Mutex::new(State::default()), Mutex::new(Store::default()));
        Self(Arc::new(Inner { info, owner: Owner::new(), state, store, order: Mutex::new(()) }))
    }

    /// What it was asked to do so far.
    pub fn counts(&self) -> Counts {
        lock(&self.0.state).counts
    }

    /// Bytes that are allocated.
    pub fn used(&self) -> u64 {
        lock(&self.0.store).used()
    }

    fn not_recording(&self, state: &State) -> Result<()> {
        match state.recording {
            None => Ok(()),
            Some(_) => Err(Error::Operands("a graph is being recorded".to_owned())),
        }
    }

    /// Does what waits.
    fn finish(&self) -> Result<()> {
        let _order = lock(&self.0.order);
        loop {
            // What it held may be given back once it is done, which takes the store's lock.
            let Some(work) = lock(&self.0.state).queue.pop_front() else { break };
            let done = match &work {
                Work::Launch(kernel) => arithmetic::run(&mut lock(&self.0.store), kernel),
                Work::Copy(bytes, to) => lock(&self.0.store).write(to, bytes),
            };
            if let Err(error) = done {
                lock(&self.0.state).failure.get_or_insert(error);
            }
        }
        // A GPU that has failed once fails for good.
        lock(&self.0.state).failure.clone().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fake").field(&self.0.info).finish()
    }
}

impl Runtime for Fake {
    fn info(&self) -> &DeviceInfo {
        &self.0.info
    }

    fn kernels(&self) -> u64 {
        0
    }

    fn memory(&self) -> Result<MemoryInfo> {
        let total = self.0.info.memory;
        Ok(MemoryInfo { free: total.saturating_sub(self.used()), total })
    }

    fn allocate(&self, bytes: usize) -> Result<Memory> {
        self.not_recording(&lock(&self.0.state))?;
        let free = self.memory()?.free;
        if bytes as u64 > free {
            return Err(Error::OutOfMemory { needed: bytes as u64, free });
        }
        let address = lock(&self.0.store).allocate(bytes);
        Ok(Memory::new(address, bytes, self.0.owner, Arc::clone(&self.0) as Arc<dyn Free>))
    }

    fn upload(&self, from: &[u8], to: &Span) -> Result<()> {
        if from.len() != to.len() || to.memory().owner() != self.0.owner {
            return Err(Error::Operands(format!("{} bytes to {}", from.len(), to.len())));
        }
        let mut state = lock(&self.0.state);
        self.not_recording(&state)?;
        state.counts.uploaded += from.len();
        state.queue.push_back(Work::Copy(from.to_vec(), to.clone()));
        Ok(())
    }

    fn download(&self, from: &Span, to: &mut [u8]) -> Result<()> {
        if from.len() != to.len() || from.memory().owner() != self.0.owner {
            return Err(Error::Operands(format!("{} bytes to {}", from.len(), to.len())));
        }
        self.not_recording(&lock(&self.0.state))?;
        self.finish()?;
        lock(&self.0.state).counts.downloaded += to.len();
        to.copy_from_slice(lock(&self.0.store).bytes(from)?);
        Ok(())
    }

    fn synchronise(&self) -> Result<()> {
        self.not_recording(&lock(&self.0.state))?;
        self.finish()
    }

    fn launch(&self, kernel: &Kernel) -> Result<()> {
        kernel.check_for(self.0.owner)?;
        let mut state = lock(&self.0.state);
        let name = name(kernel);
        match &mut state.recording {
            Some((thread, _)) if *thread != std::thread::current().id() => {
                Err(Error::Operands("another thread is recording a graph".to_owned()))
            }
            Some((_, kernels)) => {
                kernels.push(kernel.clone());
                if state.launched.contains(&name) {
                    return Ok(());
                }
                Err(Error::Operands("a kernel is recorded that was never launched".to_owned()))
            }
            None => {
                state.launched.insert(name);
                state.counts.launches += 1;
                state.queue.push_back(Work::Launch(Arc::new(kernel.clone())));
                Ok(())
            }
        }
    }

    fn record(&self, launches: &mut dyn FnMut() -> Result<()>) -> Result<Graph> {
        {
            let mut state = lock(&self.0.state);
            self.not_recording(&state)?;
            state.recording = Some((std::thread::current().id(), Vec::new()));
        }
        let done = launches();
        let mut state = lock(&self.0.state);
        let kernels = state.recording.take().map(|(_, kernels)| kernels).unwrap_or_default();
        drop(state);
        done?;
        lock(&self.0.state).counts.graphs += 1;
        let kernels = kernels.into_iter().map(Arc::new).collect();
        Ok(Graph(Box::new(Kernels { owner: self.0.owner, kernels })))
    }

    fn replay(&self, graph: &Graph) -> Result<()> {
        let recorded: &dyn Any = &*graph.0;
        let ours = recorded.downcast_ref::<Kernels>().filter(|kernels| kernels.owner == self.0.owner);
        let Some(Kernels { kernels, .. }) = ours else {
            return Err(Error::Operands("a graph of another device".to_owned()));
        };
        let mut state = lock(&self.0.state);
        self.not_recording(&state)?;
        state.counts.replays += 1;
        state.queue.extend(kernels.iter().cloned().map(Work::Launch));
        Ok(())
    }
}
