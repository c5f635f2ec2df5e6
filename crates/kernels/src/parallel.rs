//! Work for several threads, and memory of each for partial results.

use std::cell::Cell;

use rayon::prelude::*;

use crate::buffer::{Buffer, Number};

/// Operations below which handing work to another thread costs more than it saves.
const WORTH: usize = 500_000;

/// Calls `task(0)` to `task(count - 1)` in any order on any threads; `work` is the number of operations of all together.
pub(crate) fn each(count: usize, work: usize, task: impl Fn(usize) + Sync + Send) {
    if count == 1 || work < WORTH {
        (0..count).for_each(task);
    } else {
        (0..count).into_par_iter().with_max_len(1).for_each(task);
    }
}

/// How many tasks give every thread some, so that they finish together.
pub(crate) fn wanted_tasks() -> usize {
    match rayon::current_num_threads() {
        1 => 1,
        threads => 4 * threads,
    }
}

/// A pointer into memory of which each task writes its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T = f32>(*mut T);

// SAFETY: who uses it writes disjoint parts; see the kernels.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr())
    }

    pub(crate) fn get(self) -> *mut T {
        self.0
    }

    /// The same memory for numbers of another type, which any bits are.
    pub(crate) fn cast<U: Number>(self) -> Shared<U> {
        Shared(self.0.cast())
    }
}

/// Which of a thread's memories is lent: one function that lends calls another.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    /// Of one task.
    Task,
    /// Of a kernel, shared by its tasks.
    Kernel,
    /// A panel of weights in f32.
    Panel,
}

/// Lends this thread's scratch memory of at least `len` numbers, with whatever is in it.
pub(crate) fn scratch<R>(which: Use, len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! {
        static KEPT: [Cell<Option<Buffer>>; 3] = const { [const { Cell::new(None) }; 3] };
    }
    let kept = KEPT.with(|kept| kept[which as usize].take());
    let mut buffer = kept.filter(|buffer| buffer.len() >= len).unwrap_or_else(|| Buffer::new(len));
    let result = work(&mut buffer[..len]);
    KEPT.with(|kept| kept[which as usize].set(Some(buffer)));
    result
}
