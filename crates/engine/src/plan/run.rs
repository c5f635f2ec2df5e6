//! Walks along a plan's list, with any arithmetic.

use std::ops::Range;

use adire_kernels::{Affine, Epilogue, Image, ImageMut, Layout};
use rayon::prelude::*;

use super::{
    arithmetic::{Arithmetic, activation as kernel_activation},
    op::{Norm, Offset, Op, Plan, Stage, Step, View},
    parameters::Parameters,
};

/// A plan's arena.
#[derive(Debug)]
pub(super) struct Arena(adire_kernels::Arena);

impl Arena {
    pub(super) fn new(plan: &Plan) -> Self {
        Self(adire_kernels::Arena::new(plan.arena))
    }

    /// What lies in a view, to be read.
    pub(super) fn get(&self, plan: &Plan, view: View) -> Image<'_> {
        let (layout, range) = resolve(plan, view, plan.buffers[view.buffer].images);
        Image::new(&self.0[range], layout)
    }

    /// A view, to be filled.
    pub(super) fn get_mut(&mut self, plan: &Plan, view: View) -> ImageMut<'_> {
        let (layout, range) = resolve(plan, view, plan.buffers[view.buffer].images);
        ImageMut::new(&mut self.0[range], layout)
    }

    /// Computes one stage.
    pub(super) fn run<A: Arithmetic>(
        &mut self,
        plan: &Plan,
        stage: Stage,
        arithmetic: &A,
        parameters: &Parameters<A>,
    ) {
        for step in plan.stage(stage) {
            self.step(plan, step, arithmetic, parameters);
        }
    }

    fn step<A: Arithmetic>(&mut self, plan: &Plan, step: &Step, arithmetic: &A, parameters: &Parameters<A>) {
        let written = step.op.writes();
        let (layout, range) = resolve(plan, written, step.images);
        // What an operation reads beside its result, in the order of `Op::reads`; nothing for what it reads in place.
        let mut views = [const { None }; 3];
        for (place, view) in views.iter_mut().zip(step.op.reads()) {
            let images = step.images.min(plan.buffers[view.buffer].images);
            *place = (view != written).then(|| resolve(plan, view, images));
        }
        let ranges = views.each_ref().map(|view| view.as_ref().map_or(0..0, |(_, range)| range.clone()));
        let (values, [target]) = self.0.parts(ranges, [range]);
        let y = ImageMut::new(target, layout);
        let nothing = Layout::plain(0, 0, 0, 0);
        let read = |i: usize| Image::new(values[i], views[i].as_ref().map_or(nothing, |(layout, _)| *layout));
        let vector = |i: usize| parameters.vector(i);
        let affine = |norm: Norm, eps: f64| Affine {
            weight: vector(norm.weight),
            bias: vector(norm.bias),
            epsilon: eps as f32,
        };
        let adding = |bias, residual: Option<View>| Epilogue {
            bias,
            residual: residual.filter(|view| *view != written).map(|_| read(1)),
            accumulate: residual == Some(written),
            ..Epilogue::default()
        };
        match step.op {
            Op::GroupNorm { norm, groups, eps, activation, .. } => {
                arithmetic.group_norm(read(0), groups, affine(norm, eps), activation, y);
            }
            Op::LayerNorm { norm, eps, .. } => arithmetic.layer_norm(read(0), affine(norm, eps), y),
            Op::Linear { matrix, bias, activation, residual, .. } => {
                let activation = kernel_activation(activation);
                let epilogue = Epilogue { activation, ..adding(bias.map(vector), residual) };
                arithmetic.linear(read(0), parameters.matrix(matrix), &epilogue, y);
            }
            Op::Conv { matrix, offset, sampling, residual, .. } => {
                let bias = match offset {
                    Offset::Vector(i) => vector(i),
                    Offset::Row(_) => read(if residual.is_some() { 2 } else { 1 }).pixel(0),
                };
                let epilogue = adding(Some(bias), residual);
                arithmetic.conv(read(0), parameters.matrix(matrix), sampling, &epilogue, y);
            }
            Op::Attention { heads, causal, .. } => {
                arithmetic.attention([read(0), read(1), read(2)], heads, causal, y);
            }
            Op::Resize { .. } => resize(read(0), y),
            Op::Repeat { .. } => repeat(y),
        }
    }
}

/// Where a view's first images lie in the arena.
fn resolve(plan: &Plan, view: View, images: usize) -> (Layout, Range<usize>) {
    let (buffer, place) = (&plan.buffers[view.buffer], plan.places[view.buffer]);
    let layout = Layout {
        batch: images,
        height: buffer.height,
        width: buffer.width,
        channels: view.channels,
        stride: buffer.channels,
        border: buffer.border,
    };
    let start = place + view.channel;
    (layout, start..start + layout.len())
}

/// Copies the first half of the images to the second.
fn repeat(mut y: ImageMut<'_>) {
    let layout = y.layout();
    let half = Layout { batch: layout.batch / 2, ..layout };
    let distance = half.batch * layout.image_stride();
    for pixel in 0..half.pixels() {
        let at = half.offset(pixel);
        y.data_mut().copy_within(at..at + layout.channels, at + distance);
    }
}

/// Nearest neighbours as torch chooses them, floor(i · in/out) in f32; the border becomes zero.
fn resize(x: Image<'_>, mut y: ImageMut<'_>) {
    let (from, to) = (x.layout(), y.layout());
    let nearest = |from: usize, to: usize| {
        let scale = from as f32 / to as f32;
        move |i: usize| ((i as f32 * scale).floor() as usize).min(from - 1)
    };
    let (line, column) = (nearest(from.height, to.height), nearest(from.width, to.width));
    let (height, border) = (to.height + 2 * to.border, to.border);
    y.data_mut().par_chunks_mut(to.row_stride()).enumerate().for_each(|(i, row)| {
        let (image, at) = (i / height, i % height);
        let inside = (border..to.height + border).contains(&at);
        for (i, pixel) in row.chunks_mut(to.stride).enumerate() {
            let pixel = &mut pixel[..to.channels];
            if inside && (border..to.width + border).contains(&i) {
                let start = from.at(image, line(at - border), column(i - border));
                pixel.copy_from_slice(&x.data()[start..start + from.channels]);
            } else {
                pixel.fill(0.0);
            }
        }
    });
}
