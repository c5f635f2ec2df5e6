//! Pixels in lines of a constant distance, for what is done pixel by pixel.

use std::ops::Range;

use crate::buffer::Number;
use crate::image::Layout;
use crate::parallel::{Shared, each};

/// Pixels of a line where no image has a border.
const LENGTH: usize = 64;

/// Calls `work` with the pixels of each line, on several threads; `cost` is the operations of one number.
///
/// # Panics
/// If an image has a border, and another has another height or width.
pub(crate) fn each_line(layouts: &[Layout], cost: usize, work: impl Fn(Range<usize>) + Sync + Send) {
    let first = layouts[0];
    let operations = first.pixels() * first.channels * cost;
    if layouts.iter().all(|layout| layout.border == 0) {
        let pixels = first.pixels();
        each(pixels.div_ceil(LENGTH), operations, |line| {
            work(line * LENGTH..((line + 1) * LENGTH).min(pixels))
        });
    } else {
        let size = (first.batch, first.height, first.width);
        let same = layouts.iter().all(|layout| (layout.batch, layout.height, layout.width) == size);
        assert!(same, "images with borders have the same size: {layouts:?}");
        each(size.0 * size.1, operations, |line| work(line * size.2..(line + 1) * size.2));
    }
}

/// Writes zeros into the border beside a line of pixels, and above the first and below the last line of an image.
///
/// # Safety
/// `data` holds the layout, and no other thread writes this part of the border.
pub(crate) unsafe fn clear_around<T: Number>(layout: &Layout, data: Shared<T>, line: &Range<usize>) {
    if layout.border == 0 || line.is_empty() {
        return;
    }
    let clear = |pixel: usize, count: usize| {
        for pixel in pixel..pixel + count {
            // SAFETY: a pixel of the layout with its borders.
            unsafe {
                std::slice::from_raw_parts_mut(data.get().add(pixel * layout.stride), layout.channels)
                    .fill(T::ZERO)
            };
        }
    };
    let (image, y) = (line.start / layout.width / layout.height, line.start / layout.width % layout.height);
    let width = layout.width + 2;
    let row = image * (layout.height + 2) + y + 1;
    clear(row * width, 1);
    clear((row + 1) * width - 1, 1);
    if y == 0 {
        clear((row - 1) * width, width);
    }
    if y + 1 == layout.height {
        clear((row + 1) * width, width);
    }
}
