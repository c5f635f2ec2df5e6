//! Memory of the device, and what lies in it.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use adire_kernels::Layout;
use half::f16;

use crate::{Error, Result};

/// Every allocation begins at a multiple of so many bytes.
pub const ALIGN: usize = 256;

/// A type of numbers in the device's memory. Sums are f32 whatever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, up to 65504.
    F16,
}

impl Element {
    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// How numbers lie in memory, rounded to this type.
    pub fn encode(self, numbers: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
            Self::F16 => numbers.iter().flat_map(|number| f16::from_f32(*number).to_le_bytes()).collect(),
        }
    }

    /// The numbers that lie so in memory.
    pub fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Self::F16 => {
                bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()
            }
        }
    }
}

/// The next number of a runtime.
static RUNTIMES: AtomicU64 = AtomicU64::new(1);

/// Tells the memory of one runtime from that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(u64);

impl Owner {
    pub(crate) fn new() -> Self {
        Self(RUNTIMES.fetch_add(1, Ordering::Relaxed))
    }
}

/// Gives memory back to its runtime.
pub(crate) trait Free: Send + Sync {
    /// Called once for every address that was allocated.
    fn free(&self, address: u64);
}

struct Allocation {
    address: u64,
    bytes: usize,
    owner: Owner,
    free: Arc<dyn Free>,
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.free.free(self.address);
    }
}

/// A block of the device's memory. Clones share it; it is given back with the last of them, and whatever was recorded to
/// use it ([`crate::Graph`]) holds one.
#[derive(Clone)]
pub struct Memory(Arc<Allocation>);

impl Memory {
    pub(crate) fn new(address: u64, bytes: usize, owner: Owner, free: Arc<dyn Free>) -> Self {
        Self(Arc::new(Allocation { address, bytes, owner, free }))
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    pub(crate) fn address(&self) -> u64 {
        self.0.address
    }

    pub(crate) fn owner(&self) -> Owner {
        self.0.owner
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// All of it.
    pub fn whole(&self) -> Span {
        Span { memory: self.clone(), bytes: 0..self.bytes() }
    }

    /// Some of its bytes.
    ///
    /// # Errors
    /// It has fewer.
    pub fn span(&self, bytes: Range<usize>) -> Result<Span> {
        if bytes.start > bytes.end || bytes.end > self.bytes() {
            return Err(Error::Operands(format!("bytes {bytes:?} of a block of {}", self.bytes())));
        }
        Ok(Span { memory: self.clone(), bytes })
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory of {} at {:#x}", self.0.bytes, self.0.address)
    }
}

/// Neighbouring bytes of a block: a matrix, a vector, planes.
#[derive(Clone, Debug)]
pub struct Span {
    memory: Memory,
    bytes: Range<usize>,
}

impl Span {
    /// How many bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Some of its bytes.
    ///
    /// # Errors
    /// It has fewer.
    pub fn part(&self, bytes: Range<usize>) -> Result<Self> {
        if bytes.start > bytes.end || bytes.end > self.len() {
            return Err(Error::Operands(format!("bytes {bytes:?} of {}", self.len())));
        }
        self.memory.span(self.bytes.start + bytes.start..self.bytes.start + bytes.end)
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(crate) fn range(&self) -> Range<usize> {
        self.bytes.clone()
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn address(&self) -> u64 {
        self.memory.address() + self.bytes.start as u64
    }

    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.memory.is(&other.memory)
            && self.bytes.start.max(other.bytes.start) < self.bytes.end.min(other.bytes.end)
    }
}

/// Some neighbouring channels of images in a block. The layout counts numbers of `element`.
#[derive(Clone, Debug)]
pub struct View {
    span: Span,
    element: Element,
    layout: Layout,
}

impl View {
    /// What lies at byte `start` of `memory`: the first channel of the first pixel, of the border if there is one.
    ///
    /// # Errors
    /// It reaches beyond the block, does not begin at a multiple of its numbers' length, or has a pixel longer than the
    /// stride or a border other than 0 and 1.
    pub fn new(memory: &Memory, start: usize, element: Element, layout: Layout) -> Result<Self> {
        let Layout { stride, channels, border, .. } = layout;
        if stride < channels || border > 1 || !start.is_multiple_of(element.bytes()) {
            return Err(Error::Operands(format!("{layout:?} at byte {start}")));
        }
        let span = memory.span(start..start + layout.len() * element.bytes())?;
        Ok(Self { span, element, layout })
    }

    /// What lies at the beginning of a span and within it.
    ///
    /// # Errors
    /// As [`Self::new`]; the span is shorter.
    pub fn of(span: &Span, element: Element, layout: Layout) -> Result<Self> {
        if layout.len() * element.bytes() > span.len() {
            return Err(Error::Operands(format!("{layout:?} in {} bytes", span.len())));
        }
        Self::new(&span.memory, span.bytes.start, element, layout)
    }

    /// How it lies in memory.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Of what numbers it is.
    pub fn element(&self) -> Element {
        self.element
    }

    /// From its first number to its last, with what lies between them.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The same place and shape.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.span.memory.is(&other.span.memory)
            && (self.span.bytes.start, self.element, self.layout)
                == (other.span.bytes.start, other.element, other.layout)
    }

    /// Whether they have numbers in common. Channels of the same pixels beside each other have none.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        if !self.span.meets(&other.span) {
            return false;
        }
        let (low, high) = match self.span.bytes.start <= other.span.bytes.start {
            true => (self, other),
            false => (other, self),
        };
        let rows = |layout: Layout| (layout.stride, layout.row_stride());
        if low.element != high.element || rows(low.layout) != rows(high.layout) {
            return true;
        }
        let bytes = low.element.bytes();
        let stride = low.layout.stride * bytes;
        let distance = (high.span.bytes.start - low.span.bytes.start) % stride;
        distance < low.layout.channels * bytes || distance + high.layout.channels * bytes > stride
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Free for Nothing {
        fn free(&self, _: u64) {}
    }

    fn memory(bytes: usize) -> Memory {
        Memory::new(1 << 20, bytes, Owner::new(), Arc::new(Nothing))
    }

    #[test]
    fn views_stay_within_their_block() {
        let memory = memory(2 * 3 * 4 * 5 * 2);
        let layout = Layout::plain(2, 3, 4, 5);
        assert!(View::new(&memory, 0, Element::F16, layout).is_ok());
        assert!(View::new(&memory, 2, Element::F16, layout).is_err());
        assert!(View::new(&memory, 0, Element::F32, layout).is_err());
        assert!(View::new(&memory, 1, Element::F16, Layout::plain(1, 1, 1, 1)).is_err());
        assert!(View::new(&memory, 0, Element::F16, layout.with_channels(6)).is_err());
        assert!(memory.span(0..241).is_err() && memory.whole().part(0..241).is_err());
    }

    #[test]
    fn halves_of_a_concatenation_do_not_meet() {
        let memory = memory(1 << 12);
        let whole = Layout::plain(1, 4, 4, 8);
        let view = |start: usize, channels: usize| {
            View::new(&memory, 2 * start, Element::F16, whole.with_channels(channels)).unwrap()
        };
        let (left, right, all) = (view(0, 3), view(3, 5), view(0, 8));
        assert!(!left.meets(&right) && !right.meets(&left));
        assert!(left.meets(&all) && all.meets(&right) && left.meets(&left));
        assert!(view(0, 4).meets(&right));
        let other = View::new(&memory, 0, Element::F16, Layout::plain(1, 4, 4, 4)).unwrap();
        assert!(other.meets(&right));
        let after = View::new(&memory, 512, Element::F16, whole).unwrap();
        assert!(!after.meets(&all));
    }
}
