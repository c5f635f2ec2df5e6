//! An allocator that remembers the largest single request of each thread, for tests that bound it.

#![expect(unsafe_code, reason = "an allocator that counts allocated bytes")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// Remembers the largest single request of this thread.
struct Counting;

thread_local! {
    static MAX_ALLOCATION_BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = MAX_ALLOCATION_BYTES.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let _ = MAX_ALLOCATION_BYTES.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = MAX_ALLOCATION_BYTES.try_with(|largest| largest.set(largest.get().max(size)));
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The largest single allocation of `f` on this thread.
pub(crate) fn largest<T>(f: impl FnOnce() -> T) -> (T, usize) {
    MAX_ALLOCATION_BYTES.with(|largest| largest.set(0));
    let result = f();
    (result, MAX_ALLOCATION_BYTES.with(Cell::get))
}
