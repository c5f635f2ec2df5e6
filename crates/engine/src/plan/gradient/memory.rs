//! Gradients of a plan's buffers, and memory that is used again.

use std::ops::Range;

use adire_kernels::{Activation, Buffer, Image, ImageMut, Layout, Number, activation, bf16};
use rayon::prelude::*;

use super::super::op::{Plan, View};

/// Memory that was used before, for what fills it: new pages cost as much as what is written to them.
#[derive(Debug, Default)]
pub(super) struct Pool {
    floats: Vec<Buffer>,
    halves: Vec<Buffer<bf16>>,
}

impl Pool {
    /// `len` numbers of any value.
    pub(super) fn floats(&mut self, len: usize) -> Buffer {
        take(&mut self.floats, len)
    }

    /// The same of bf16.
    pub(super) fn halves(&mut self, len: usize) -> Buffer<bf16> {
        take(&mut self.halves, len)
    }

    /// Takes memory back.
    pub(super) fn give(&mut self, buffer: Buffer) {
        self.floats.push(buffer);
    }

    /// Takes memory back.
    pub(super) fn give_halves(&mut self, buffer: Buffer<bf16>) {
        self.halves.push(buffer);
    }
}

fn take<T: Number>(spare: &mut Vec<Buffer<T>>, len: usize) -> Buffer<T> {
    let at = spare.iter().position(|buffer| buffer.len() == len);
    at.map_or_else(|| Buffer::new(len), |at| spare.swap_remove(at))
}

/// The gradient of every buffer that something has given to.
#[derive(Debug)]
pub(super) struct Gradients {
    buffers: Vec<Option<Buffer>>,
    /// Channels that hold something.
    written: Vec<Vec<Range<usize>>>,
    /// Operations that write each buffer and are still to come on the way back.
    writers: Vec<usize>,
    pub(super) pool: Pool,
}

impl Gradients {
    pub(super) fn new(plan: &Plan, pool: Pool) -> Self {
        let mut writers = vec![0; plan.buffers.len()];
        for step in plan.prompt.iter().chain(&plan.step) {
            writers[step.op.writes().buffer] += 1;
        }
        Self {
            buffers: plan.buffers.iter().map(|_| None).collect(),
            written: vec![Vec::new(); plan.buffers.len()],
            writers,
            pool,
        }
    }

    /// How the gradient of a buffer lies.
    pub(super) fn layout(&self, plan: &Plan, buffer: usize) -> Layout {
        let buffer = &plan.buffers[buffer];
        Layout::plain(buffer.images, buffer.height, buffer.width, buffer.channels)
    }

    /// Where the gradient of a view goes, and whether it is added to what is there; else all of it must be written.
    pub(super) fn target(&mut self, plan: &Plan, view: View) -> (ImageMut<'_>, bool) {
        let layout = self.layout(plan, view.buffer);
        let memory = &mut self.buffers[view.buffer];
        if memory.is_none() {
            *memory = Some(self.pool.floats(layout.len()));
            self.written[view.buffer].clear();
        }
        let channels = view.channel..view.channel + view.channels;
        let written = &mut self.written[view.buffer];
        let known = written.iter().any(|range| range.start <= channels.start && channels.end <= range.end);
        let values = memory.get_or_insert_with(|| Buffer::new(layout.len()));
        let mut add = known;
        if !known {
            // What is there in part is completed by zeros.
            let meets: Vec<Range<usize>> = written
                .iter()
                .filter(|range| range.start < channels.end && channels.start < range.end)
                .cloned()
                .collect();
            if !meets.is_empty() {
                for channel in channels.clone().filter(|c| !meets.iter().any(|range| range.contains(c))) {
                    values.iter_mut().skip(channel).step_by(layout.stride).for_each(|value| *value = 0.0);
                }
                add = true;
            }
            written.push(channels);
        }
        (ImageMut::new(&mut values[view.channel..], layout.with_channels(view.channels)), add)
    }

    /// The gradient of a buffer, to be read.
    pub(super) fn take(&mut self, buffer: usize) -> Option<Buffer> {
        self.buffers[buffer].take()
    }

    /// Gives it back after an operation that wrote the buffer; after the last one its memory is free.
    pub(super) fn give(&mut self, buffer: usize, values: Buffer) {
        self.writers[buffer] = self.writers[buffer].saturating_sub(1);
        if self.writers[buffer] == 0 {
            self.pool.give(values);
        } else {
            self.buffers[buffer] = Some(values);
        }
    }
}

impl Gradients {
    /// The memory of all of them, for the next time.
    pub(super) fn into_pool(mut self) -> Pool {
        for buffer in self.buffers.into_iter().flatten() {
            self.pool.give(buffer);
        }
        self.pool
    }
}

/// Writes `from`, or adds it.
pub(super) fn add(from: Image<'_>, mut to: ImageMut<'_>, add: bool) {
    if !add {
        return activation(from, Activation::Identity, to);
    }
    let layout = to.layout();
    let stride = layout.stride;
    let rows = to.data_mut().par_chunks_mut(stride).with_min_len(1 + (1 << 14) / layout.channels);
    rows.enumerate().for_each(|(i, row)| {
        row[..layout.channels].iter_mut().zip(from.pixel(i)).for_each(|(to, from)| *to += from);
    });
}

/// The sums of the pixels of `from` that are copies of each pixel of `to`, as nearest neighbours are chosen.
pub(super) fn shrink(from: Image<'_>, mut to: ImageMut<'_>, add: bool) {
    let (large, small) = (from.layout(), to.layout());
    // Which rows (and columns) of the large image each one of the small image was copied to.
    let copies = |small: usize, large: usize| -> Vec<Range<usize>> {
        let scale = small as f32 / large as f32;
        let of = |i: usize| ((i as f32 * scale).floor() as usize).min(small - 1);
        let all: Vec<usize> = (0..large).map(of).collect();
        (0..small).map(|i| all.partition_point(|at| *at < i)..all.partition_point(|at| *at <= i)).collect()
    };
    let (lines, columns) = (copies(small.height, large.height), copies(small.width, large.width));
    to.data_mut().par_chunks_mut(small.stride).enumerate().for_each(|(i, pixel)| {
        let pixel = &mut pixel[..small.channels];
        if !add {
            pixel.fill(0.0);
        }
        let (line, column) = (i / small.width, i % small.width);
        let (image, line) = (line / small.height, line % small.height);
        for y in lines[line].clone() {
            for x in columns[column].clone() {
                let start = large.at(image, y, x);
                let values = &from.data()[start..start + small.channels];
                pixel.iter_mut().zip(values).for_each(|(to, from)| *to += from);
            }
        }
    });
}
