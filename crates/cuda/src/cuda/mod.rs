//! A GPU by CUDA's runtime and the kernels of `kernels/`.
#![expect(unsafe_code, reason = "calls into the kernels' C library, each behind operands that were checked")]

mod abi;
mod launch;

use std::{
    any::Any,
    ffi::{CStr, c_char, c_void},
    ptr::{null, null_mut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::ThreadId,
};

use crate::{
    DeviceInfo, Error, Graph, Kernel, Memory, MemoryInfo, Result, Runtime, Span,
    memory::{Free, Owner},
    runtime::Recorded,
};

/// Bytes of workspace that are allocated at least.
const WORKSPACE: usize = 32 << 20;

/// A GPU.
#[derive(Debug)]
pub(crate) struct Cuda {
    info: DeviceInfo,
    owner: Owner,
    device: Arc<Device>,
    state: Mutex<State>,
}

/// What frees memory and ends the stream after the last use of either.
#[derive(Debug)]
struct Device {
    index: i32,
    /// CUDA's stream; any thread may use it.
    stream: usize,
}

#[derive(Debug, Default)]
struct State {
    /// What one kernel at a time may overwrite.
    workspace: Option<Memory>,
    recording: Option<Recording>,
}

#[derive(Debug)]
struct Recording {
    thread: ThreadId,
    used: Vec<Memory>,
    kernels: usize,
}

/// A graph, with the memory that it uses.
struct Recorder {
    graph: usize,
    kernels: usize,
    device: Arc<Device>,
    owner: Owner,
    _used: Vec<Memory>,
}

impl Recorded for Recorder {
    fn kernels(&self) -> usize {
        self.kernels
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.device.select();
        // What still runs of it reads the memory that is given back after this.
        // SAFETY: a stream that is open, and a graph that was made and is destroyed once.
        unsafe {
            abi::adire_stream_synchronize(self.device.stream());
            abi::adire_graph_destroy(self.graph as *mut c_void);
        }
    }
}

impl Device {
    fn stream(&self) -> *mut c_void {
        self.stream as *mut c_void
    }

    /// CUDA's calls of a thread are for the device that the thread has chosen.
    fn select(&self) {
        // SAFETY: no pointers. It can fail for no number that was opened before.
        unsafe { abi::adire_set_device(self.index) };
    }
}

impl Free for Device {
    fn free(&self, address: u64) {
        self.select();
        // SAFETY: allocated by `allocate`, freed once; work in flight that uses it is waited for.
        unsafe {
            abi::adire_stream_synchronize(self.stream());
            abi::adire_free(address as *mut c_void);
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.select();
        // SAFETY: made by `open`, destroyed once, after everything that holds the device.
        unsafe { abi::adire_stream_destroy(self.stream()) };
    }
}

fn text(from: *const c_char) -> String {
    if from.is_null() {
        return String::new();
    }
    // SAFETY: a string that the library ends with a zero and that lives until this thread's next call.
    unsafe { CStr::from_ptr(from) }.to_string_lossy().into_owned()
}

/// What a result of the library means.
fn done(result: i32) -> Result<()> {
    if result == 0 {
        return Ok(());
    }
    // SAFETY: both take no pointers and give strings.
    let (name, more) = unsafe { (text(abi::adire_error_text(result)), text(abi::adire_message())) };
    match result {
        abi::INVALID_VALUE if !more.is_empty() => Err(Error::Operands(more)),
        _ => Err(Error::Failed(name)),
    }
}

impl Cuda {
    /// The GPU of this number.
    ///
    /// # Errors
    /// As [`crate::open`].
    pub(crate) fn open(index: usize) -> Result<Self> {
        // SAFETY: no pointers.
        let version = unsafe { abi::adire_abi_version() };
        if version != abi::VERSION {
            let message = format!("the program's kernels are of version {version}, not {}", abi::VERSION);
            return Err(Error::Unusable(message));
        }
        let (mut count, mut reason) = (0, null());
        // SAFETY: two places to write to.
        done(unsafe { abi::adire_device_count(&raw mut count, &raw mut reason) })?;
        let count = usize::try_from(count).unwrap_or(0);
        if count == 0 {
            return Err(Error::Unusable(text(reason)));
        }
        let device = i32::try_from(index).ok().filter(|_| index < count);
        let Some(device) = device else { return Err(Error::NoSuchDevice { count }) };
        // SAFETY: all zeros are a value of every field.
        let mut properties: abi::Properties = unsafe { std::mem::zeroed() };
        // SAFETY: no pointers, and then a place to write to.
        unsafe {
            done(abi::adire_set_device(device))?;
            done(abi::adire_device_properties(device, &raw mut properties))?;
        }
        let mut stream = null_mut();
        // SAFETY: a place to write to.
        done(unsafe { abi::adire_stream_create(&raw mut stream) })?;
        let name = CStr::from_bytes_until_nul(&properties.name).unwrap_or_default();
        let number = |number: i32| u32::try_from(number).unwrap_or(0);
        let info = DeviceInfo {
            name: name.to_string_lossy().into_owned(),
            capability: (number(properties.major), number(properties.minor)),
            memory: properties.memory_bytes,
        };
        let device = Arc::new(Device { index: device, stream: stream as usize });
        Ok(Self { info, owner: Owner::new(), device, state: Mutex::new(State::default()) })
    }

    /// The state, and the device chosen for this thread.
    fn state(&self) -> MutexGuard<'_, State> {
        self.device.select();
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, unless a graph is being recorded.
    fn idle(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state();
        match state.recording {
            None => Ok(state),
            Some(_) => Err(Error::Operands("a graph is being recorded".to_owned())),
        }
    }

    fn new_memory(&self, bytes: usize) -> Result<Memory> {
        let mut data = null_mut();
        // SAFETY: a place to write to.
        let result = unsafe { abi::adire_alloc(bytes as u64, &raw mut data) };
        if result == abi::OUT_OF_MEMORY {
            let free = self.memory()?.free;
            return Err(Error::OutOfMemory { needed: bytes as u64, free });
        }
        done(result)?;
        Ok(Memory::new(data as u64, bytes, self.owner, Arc::clone(&self.device) as Arc<dyn Free>))
    }

    fn ours(&self, span: &Span, bytes: usize) -> Result<()> {
        if span.len() == bytes && span.memory().owner() == self.owner {
            return Ok(());
        }
        Err(Error::Operands(format!("{bytes} bytes of the host and {} of a device", span.len())))
    }

    /// A workspace of at least `bytes`.
    fn workspace(&self, state: &mut State, bytes: u64) -> Result<abi::Workspace> {
        if bytes == 0 {
            return Ok(abi::Workspace { data: null_mut(), bytes: 0 });
        }
        let needed = usize::try_from(bytes).unwrap_or(usize::MAX);
        if state.workspace.as_ref().is_none_or(|memory| memory.bytes() < needed) {
            if state.recording.is_some() {
                return Err(Error::Operands("a kernel is recorded that was never launched".to_owned()));
            }
            // The old one goes first: it is idle once the stream has been waited for.
            state.workspace = None;
            state.workspace = Some(self.new_memory(needed.max(WORKSPACE))?);
        }
        let memory = state.workspace.clone();
        let Some(memory) = memory else { return Ok(abi::Workspace { data: null_mut(), bytes: 0 }) };
        let workspace =
            abi::Workspace { data: memory.address() as *mut c_void, bytes: memory.bytes() as u64 };
        if let Some(recording) = &mut state.recording
            && !recording.used.iter().any(|used| used.is(&memory))
        {
            recording.used.push(memory);
        }
        Ok(workspace)
    }
}

impl Runtime for Cuda {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn kernels(&self) -> u64 {
        self.device.select();
        // SAFETY: no pointers.
        unsafe { abi::adire_tables_hash() }
    }

    fn memory(&self) -> Result<MemoryInfo> {
        self.device.select();
        let (mut free, mut total) = (0, 0);
        // SAFETY: two places to write to.
        done(unsafe { abi::adire_memory_info(&raw mut free, &raw mut total) })?;
        Ok(MemoryInfo { free, total })
    }

    fn allocate(&self, bytes: usize) -> Result<Memory> {
        let _state = self.idle()?;
        self.new_memory(bytes)
    }

    fn upload(&self, from: &[u8], to: &Span) -> Result<()> {
        self.ours(to, from.len())?;
        let _state = self.idle()?;
        let (stream, to) = (self.device.stream(), to.address() as *mut c_void);
        // SAFETY: both blocks have `from.len()` bytes. Of pageable memory, CUDA has taken a copy when it returns.
        done(unsafe { abi::adire_copy(stream, to, from.as_ptr().cast(), from.len() as u64) })
    }

    fn download(&self, from: &Span, to: &mut [u8]) -> Result<()> {
        self.ours(from, to.len())?;
        let _state = self.idle()?;
        let (stream, from) = (self.device.stream(), from.address() as *const c_void);
        // SAFETY: both blocks have `to.len()` bytes; it returns once they are there.
        done(unsafe { abi::adire_copy_wait(stream, to.as_mut_ptr().cast(), from, to.len() as u64) })
    }

    fn synchronise(&self) -> Result<()> {
        let _state = self.idle()?;
        // SAFETY: a stream that is open.
        done(unsafe { abi::adire_stream_synchronize(self.device.stream()) })
    }

    fn launch(&self, kernel: &Kernel) -> Result<()> {
        kernel.check_for(self.owner)?;
        let mut state = self.state();
        if let Some(recording) = &mut state.recording {
            if recording.thread != std::thread::current().id() {
                return Err(Error::Operands("another thread is recording a graph".to_owned()));
            }
            for memory in kernel.memories() {
                if !recording.used.iter().any(|used| used.is(memory)) {
                    recording.used.push(memory.clone());
                }
            }
            recording.kernels += 1;
        }
        self.put(&mut state, kernel)
    }

    fn record(&self, launches: &mut dyn FnMut() -> Result<()>) -> Result<Graph> {
        let mut state = self.idle()?;
        // SAFETY: a stream that is open and records nothing.
        done(unsafe { abi::adire_graph_begin(self.device.stream()) })?;
        let thread = std::thread::current().id();
        state.recording = Some(Recording { thread, used: Vec::new(), kernels: 0 });
        drop(state);
        // A panic must not leave the stream recording.
        let launched = std::panic::catch_unwind(std::panic::AssertUnwindSafe(launches));
        let mut state = self.state();
        let recording = state.recording.take();
        let mut graph = null_mut();
        // SAFETY: the stream records since above; two places to write to, of which one is not wanted.
        let ended = unsafe { abi::adire_graph_end(self.device.stream(), &raw mut graph, null_mut()) };
        drop(state);
        let (used, kernels) = recording.map(|r| (r.used, r.kernels)).unwrap_or_default();
        let made = (!graph.is_null()).then(|| Recorder {
            graph: graph as usize,
            kernels,
            device: Arc::clone(&self.device),
            owner: self.owner,
            _used: used,
        });
        match launched {
            Ok(launched) => launched?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        done(ended)?;
        let made = made.ok_or_else(|| Error::Failed("nothing was recorded".to_owned()))?;
        Ok(Graph(Box::new(made)))
    }

    fn replay(&self, graph: &Graph) -> Result<()> {
        let recorded: &dyn Any = &*graph.0;
        let ours = recorded.downcast_ref::<Recorder>().filter(|recorder| recorder.owner == self.owner);
        let Some(recorder) = ours else {
            return Err(Error::Operands("a graph of another device".to_owned()));
        };
        let _state = self.idle()?;
        // SAFETY: a graph that is not destroyed, with the memory that it uses. Nothing frees either before the stream has
        // done what was launched.
        done(unsafe { abi::adire_graph_launch(self.device.stream(), recorder.graph as *mut c_void) })
    }
}
