//! Rows of activations by packed weights, for linear layers and direct convolutions.
//!
//! Blocks of rows, panels, slices of the depth whose weights fit into the second cache, tiles: in this order. Sums of a
//! block wait in scratch memory for the epilogue.

use crate::finish::{Finish, Place};
use crate::panels::Panels;
use crate::parallel::{Use, each, scratch, wanted_tasks};
use crate::tile::{Operand, multiply};

/// Bytes of a slice of a panel, for a second cache of 1 MB.
const SLICE: usize = 600_000;
/// Rows of a block.
const BLOCK: usize = 256;
/// Up to this many rows a task takes a panel and all rows, so that weights are read from memory once.
const FEW_ROWS: usize = 512;

/// The rows of a product: lines of pixels at a constant distance.
pub(crate) struct Rows<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) lines: usize,
    pub(crate) length: usize,
    /// Numbers from a pixel of a line to the next.
    pub(crate) step: usize,
}

/// One line.
pub(crate) struct Line<'a> {
    /// Where its first pixel begins in the input.
    pub(crate) start: usize,
    pub(crate) taps: &'a [isize],
    /// The output pixel of its first, and the way to the next.
    pub(crate) pixel: usize,
    pub(crate) pixel_step: usize,
}

/// Multiplies and finishes. `line` describes each line.
pub(crate) fn product<'l, T: Operand>(
    weights: &Panels,
    rows: &Rows<'_, T>,
    finish: &Finish<'_>,
    line: impl Fn(usize) -> Line<'l> + Sync + Send,
) {
    let total = rows.lines * rows.length;
    if total == 0 {
        return;
    }
    let last = line(rows.lines - 1);
    let reach = last.taps.iter().copied().max().unwrap_or(0);
    assert_eq!(last.taps.len(), weights.taps, "a line has as many taps as the weights");
    // Panics here, if anywhere, for weights of another type.
    T::weights_of(weights);
    assert!(
        last.start + (rows.length - 1) * rows.step + reach as usize + weights.inputs <= rows.x.len(),
        "the product reads within its input"
    );
    let (blocks, panels) = (total.div_ceil(BLOCK), weights.count());
    let (sets, groups) =
        if total <= FEW_ROWS { (1, panels) } else { (blocks, wanted_tasks().div_ceil(blocks).min(panels)) };
    let work = 2 * total * weights.inputs * weights.taps * weights.outputs;
    each(sets * groups, work, |task| {
        let (set, group) = (task / groups, task % groups);
        let rows_of_task = if sets == 1 { 0..total } else { set * BLOCK..((set + 1) * BLOCK).min(total) };
        let mut places = [Place::default(); FEW_ROWS];
        for (i, place) in places[..rows_of_task.len()].iter_mut().enumerate() {
            let (at, position) =
                ((rows_of_task.start + i) / rows.length, (rows_of_task.start + i) % rows.length);
            let line = line(at);
            *place = finish.place(line.pixel + position * line.pixel_step);
        }
        scratch(Use::Task, BLOCK * weights.width, |sums| {
            for panel in group * panels / groups..(group + 1) * panels / groups {
                let (_, width) = weights.panel(panel);
                let mut done = 0;
                while done < rows_of_task.len() {
                    let count = (rows_of_task.len() - done).min(BLOCK);
                    let first = rows_of_task.start + done;
                    // SAFETY: the input was checked above; `sums` has the block's rows.
                    unsafe { sum_block(weights, panel, first..first + count, rows, &line, sums) };
                    // SAFETY: this task alone has this panel of these rows.
                    unsafe { finish.rows(panel, sums.as_ptr(), width, &places[done..done + count]) };
                    done += count;
                }
            }
        });
    });
}

/// The sums of a panel for a block of rows.
unsafe fn sum_block<'l, T: Operand>(
    weights: &Panels,
    panel: usize,
    range: std::ops::Range<usize>,
    rows: &Rows<'_, T>,
    line: &impl Fn(usize) -> Line<'l>,
    sums: &mut [f32],
) {
    let (start, width) = weights.panel(panel);
    let (inputs, taps) = (weights.inputs, weights.taps);
    let one = inputs * width * size_of::<T>();
    // Whole taps if one fits (all nine, a row of three, one), else parts of one.
    let together = [9, 3, 1].into_iter().find(|n| n * one <= SLICE && *n <= taps).unwrap_or(1);
    let depth = if one <= SLICE { inputs } else { inputs.div_ceil(one.div_ceil(SLICE)).next_multiple_of(2) };
    for tap in (0..taps).step_by(together) {
        for input in (0..inputs).step_by(depth) {
            let depth = depth.min(inputs - input);
            // SAFETY: within the panel.
            let b = unsafe { T::weights_of(weights).as_ptr().add(start + (tap * inputs + input) * width) };
            let mut row = range.start;
            while row < range.end {
                let (at, position) = (row / rows.length, row % rows.length);
                let line = line(at);
                let count = (rows.length - position).min(range.end - row);
                // SAFETY: `product` has checked the last line's reach, and lines before it reach less far.
                unsafe {
                    let a = rows.x.as_ptr().add(line.start + position * rows.step + input);
                    let c = sums.as_mut_ptr().add((row - range.start) * width);
                    multiply(
                        weights.isa,
                        count,
                        width,
                        (a, rows.step),
                        &line.taps[tap..tap + together],
                        depth,
                        b,
                        (c, width),
                        tap == 0 && input == 0,
                    );
                }
                row += count;
            }
        }
    }
}
