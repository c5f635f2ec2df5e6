//! A fake GPU's memory.

use std::collections::HashMap;

use adire_kernels::Layout;
use half::f16;

use crate::{Element, Error, Result, Span, View, memory::ALIGN};

/// What memory holds before anything is written: NaN in f32 and in f16.
const POISON: u8 = 0xff;

/// Blocks by their addresses.
#[derive(Default)]
pub(super) struct Store {
    blocks: HashMap<u64, Vec<u8>>,
    /// No address is used twice.
    next: u64,
    used: u64,
}

impl Store {
    pub(super) fn allocate(&mut self, bytes: usize) -> u64 {
        let address = self.next;
        self.next += (bytes.max(1).next_multiple_of(ALIGN)) as u64;
        self.used += bytes as u64;
        self.blocks.insert(address, vec![POISON; bytes]);
        address
    }

    pub(super) fn free(&mut self, address: u64) {
        self.used -= self.blocks.remove(&address).map_or(0, |block| block.len() as u64);
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    fn gone() -> Error {
        Error::Failed("memory is used that was given back".to_owned())
    }

    pub(super) fn bytes(&self, span: &Span) -> Result<&[u8]> {
        let block = self.blocks.get(&span.memory().address()).ok_or_else(Self::gone)?;
        Ok(&block[span.range()])
    }

    fn bytes_mut(&mut self, span: &Span) -> Result<&mut [u8]> {
        let block = self.blocks.get_mut(&span.memory().address()).ok_or_else(Self::gone)?;
        Ok(&mut block[span.range()])
    }

    pub(super) fn write(&mut self, span: &Span, bytes: &[u8]) -> Result<()> {
        self.bytes_mut(span)?.copy_from_slice(bytes);
        Ok(())
    }

    /// The numbers of a span.
    pub(super) fn numbers(&self, span: &Span, element: Element) -> Result<Vec<f32>> {
        let bytes = self.bytes(span)?;
        Ok(bytes.chunks_exact(element.bytes()).map(number).collect())
    }

    /// Writes numbers to a span, rounded to `element`.
    pub(super) fn set_numbers(&mut self, span: &Span, element: Element, numbers: &[f32]) -> Result<()> {
        let bytes = self.bytes_mut(span)?;
        for (bytes, number) in bytes.chunks_exact_mut(element.bytes()).zip(numbers) {
            set_number(bytes, *number);
        }
        Ok(())
    }

    /// The pixels of a view one after the other, without border and gaps.
    pub(super) fn image(&self, view: &View) -> Result<Vec<f32>> {
        let (bytes, layout, size) = (self.bytes(view.span())?, view.layout(), view.element().bytes());
        let mut values = Vec::with_capacity(layout.pixels() * layout.channels);
        for pixel in 0..layout.pixels() {
            let at = layout.offset(pixel) * size;
            values.extend(bytes[at..at + layout.channels * size].chunks_exact(size).map(number));
        }
        Ok(values)
    }

    /// Writes such pixels, rounded; the border stays.
    pub(super) fn set_image(&mut self, view: &View, values: &[f32]) -> Result<()> {
        let (layout, size) = (view.layout(), view.element().bytes());
        let bytes = self.bytes_mut(view.span())?;
        for (pixel, values) in values.chunks_exact(layout.channels.max(1)).enumerate() {
            let at = layout.offset(pixel) * size;
            let pixel = bytes[at..at + layout.channels * size].chunks_exact_mut(size);
            pixel.zip(values).for_each(|(bytes, value)| set_number(bytes, *value));
        }
        Ok(())
    }

    pub(super) fn clear_border(&mut self, view: &View) -> Result<()> {
        let size = view.element().bytes();
        let bytes = self.bytes_mut(view.span())?;
        for at in border(view.layout()) {
            bytes[at * size..(at + view.layout().channels) * size].fill(0);
        }
        Ok(())
    }

    /// Whether the border holds nothing but zeros.
    pub(super) fn has_border(&self, view: &View) -> Result<bool> {
        let size = view.element().bytes();
        let bytes = self.bytes(view.span())?;
        let zero = |at: usize| {
            let pixel = bytes[at * size..(at + view.layout().channels) * size].chunks_exact(size);
            pixel.map(number).all(|number| number == 0.0)
        };
        Ok(border(view.layout()).into_iter().all(zero))
    }
}

fn number(bytes: &[u8]) -> f32 {
    match *bytes {
        [a, b] => f16::from_le_bytes([a, b]).to_f32(),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
        _ => f32::NAN,
    }
}

fn set_number(bytes: &mut [u8], number: f32) {
    match bytes.len() {
        2 => bytes.copy_from_slice(&f16::from_f32(number).to_le_bytes()),
        _ => bytes.copy_from_slice(&number.to_le_bytes()),
    }
}

/// Where the pixels of the border begin.
fn border(layout: Layout) -> Vec<usize> {
    if layout.border == 0 {
        return Vec::new();
    }
    let (height, width) = (layout.height + 2, layout.width + 2);
    let outside = |i: &usize| {
        let (y, x) = (i / width % height, i % width);
        y == 0 || y == height - 1 || x == 0 || x == width - 1
    };
    (0..layout.batch * height * width).filter(outside).map(|i| i * layout.stride).collect()
}
