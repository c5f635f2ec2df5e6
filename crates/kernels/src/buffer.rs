//! Zeroed memory, aligned for vectors, on huge pages where it is large.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;

/// From this size on, a buffer asks for huge pages and is aligned to them.
const LARGE: usize = 4 << 20;
const HUGE_PAGE: usize = 2 << 20;

/// What a [`Buffer`] may hold: plain numbers, for which all zero bits are a value.
pub trait Number: Copy + Send + Sync + 'static + sealed::Sealed {
    /// 0.
    const ZERO: Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::bf16 {}
}

impl Number for f32 {
    const ZERO: Self = 0.0;
}

impl Number for half::bf16 {
    const ZERO: Self = Self::ZERO;
}

/// A fixed number of zeroed numbers, aligned to 64 bytes (2 MB, with huge pages, from 4 MB on).
pub struct Buffer<T: Number = f32> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: it owns its memory, and `T` is plain data.
unsafe impl<T: Number> Send for Buffer<T> {}
// SAFETY: as above; shared references only read.
unsafe impl<T: Number> Sync for Buffer<T> {}

impl<T: Number> Buffer<T> {
    /// `len` zeros.
    pub fn new(len: usize) -> Self {
        let layout = Self::layout(len);
        let start = if layout.size() >= LARGE { pages::map(layout) } else { allocate(layout) };
        Self { start: start.cast(), len }
    }

    fn layout(len: usize) -> Layout {
        let bytes = len.checked_mul(size_of::<T>()).expect("a buffer's size fits usize").max(64);
        let align = if bytes >= LARGE { HUGE_PAGE } else { 64 };
        Layout::from_size_align(bytes, align).expect("a buffer's size fits isize")
    }
}

impl<T: Number> Drop for Buffer<T> {
    fn drop(&mut self) {
        let layout = Self::layout(self.len);
        if layout.size() >= LARGE {
            pages::unmap(self.start.cast(), layout);
        } else {
            // SAFETY: allocated in `new` with the same layout.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) }
        }
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: the layout has at least 64 bytes.
    let start = unsafe { alloc_zeroed(layout) };
    NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Large buffers are mapped: the allocator would write zeros into memory that is zero, before it could be asked for huge pages.
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
mod pages {
    use std::alloc::{Layout, handle_alloc_error};
    use std::ptr::NonNull;

    unsafe extern "C" {
        fn mmap(
            address: *mut u8,
            bytes: usize,
            protection: i32,
            flags: i32,
            file: i32,
            offset: i64,
        ) -> *mut u8;
        fn munmap(address: *mut u8, bytes: usize) -> i32;
        fn madvise(address: *mut u8, bytes: usize, advice: i32) -> i32;
    }
    const READ_WRITE: i32 = 1 | 2;
    /// Private, and of no file: the same numbers on x86-64 and aarch64.
    const ANONYMOUS: i32 = 0x02 | 0x20;
    const HUGE_PAGES: i32 = 14;

    /// No processor has larger pages but huge ones.
    const PAGE: usize = 1 << 16;

    /// Bytes that are mapped for a layout. What does not fill a huge page is on small ones: most matrices of a model are a few
    /// megabytes, of which a last huge page would waste a tenth.
    fn mapped(layout: Layout) -> usize {
        layout.size().next_multiple_of(PAGE)
    }

    pub(super) fn map(layout: Layout) -> NonNull<u8> {
        let (bytes, align) = (mapped(layout), layout.align());
        // SAFETY: a new mapping anywhere; one alignment more than needed, and what is too much given back.
        unsafe {
            let start = mmap(std::ptr::null_mut(), bytes + align, READ_WRITE, ANONYMOUS, -1, 0);
            if start.is_null() || start.addr() == usize::MAX {
                handle_alloc_error(layout);
            }
            let before = start.align_offset(align);
            let aligned = start.add(before);
            if before > 0 {
                munmap(start, before);
            }
            if before < align {
                munmap(aligned.add(bytes), align - before);
            }
            // A wish, whose refusal changes nothing but speed.
            madvise(aligned, bytes / align * align, HUGE_PAGES);
            NonNull::new_unchecked(aligned)
        }
    }

    pub(super) fn unmap(start: NonNull<u8>, layout: Layout) {
        // SAFETY: mapped in `map` with the same layout, and not used any more.
        unsafe { munmap(start.as_ptr(), mapped(layout)) };
    }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", not(miri))))]
mod pages {
    use std::alloc::{Layout, dealloc};
    use std::ptr::NonNull;

    pub(super) fn map(layout: Layout) -> NonNull<u8> {
        super::allocate(layout)
    }

    pub(super) fn unmap(start: NonNull<u8>, layout: Layout) {
        // SAFETY: allocated in `map` with the same layout.
        unsafe { dealloc(start.as_ptr(), layout) }
    }
}

impl<T: Number> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` initialised numbers that this owns.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Number> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Number> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Number> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer of {}", self.len)
    }
}

/// One buffer that holds all activations of a plan, borrowed in disjoint parts.
#[derive(Debug)]
pub struct Arena<T: Number = f32>(Buffer<T>);

impl<T: Number> Arena<T> {
    /// An arena of `len` zeros.
    pub fn new(len: usize) -> Self {
        Self(Buffer::new(len))
    }

    /// Borrows `reads` and `writes` at once. Parts that are read may overlap each other.
    ///
    /// # Panics
    /// If a range lies outside, or one that is written overlaps another.
    pub fn parts<const R: usize, const W: usize>(
        &mut self,
        reads: [Range<usize>; R],
        writes: [Range<usize>; W],
    ) -> ([&[T]; R], [&mut [T]; W]) {
        let len = self.0.len;
        for range in reads.iter().chain(&writes) {
            assert!(
                range.start <= range.end && range.end <= len,
                "{range:?} is outside of an arena of {len}"
            );
        }
        let meet = |a: &Range<usize>, b: &Range<usize>| a.start.max(b.start) < a.end.min(b.end);
        for (i, write) in writes.iter().enumerate() {
            for other in reads.iter().chain(&writes[..i]) {
                assert!(!meet(write, other), "{write:?} is written while {other:?} is borrowed");
            }
        }
        let start = self.0.start.as_ptr();
        // SAFETY: inside the buffer, which is borrowed exclusively; nothing written overlaps anything else (checked above).
        let reads = reads.map(|r| unsafe { std::slice::from_raw_parts(start.add(r.start), r.len()) });
        // SAFETY: as above.
        let writes = writes.map(|r| unsafe { std::slice::from_raw_parts_mut(start.add(r.start), r.len()) });
        (reads, writes)
    }
}

impl<T: Number> Deref for Arena<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Number> DerefMut for Arena<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
