//! Walks along a plan's list, with any arithmetic.

use std::ops::Range;

use adire_kernels::{
    Affine, AnyImage, AnyImageMut, Dtype, Epilogue, Image, ImageMut, Layout, Number, bf16, halves, halves_mut,
};
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

    /// What lies in a view of f32, to be read.
    pub(super) fn get(&self, plan: &Plan, view: View) -> Image<'_> {
        let (layout, range) = resolve(plan, view, plan.buffers[view.buffer].images);
        Image::new(&self.0[range], layout)
    }

    /// A view of f32, to be filled.
    pub(super) fn get_mut(&mut self, plan: &Plan, view: View) -> ImageMut<'_> {
        let (layout, range) = resolve(plan, view, plan.buffers[view.buffer].images);
        ImageMut::new(&mut self.0[range], layout)
    }

    /// What lies in a view, of any type.
    pub(super) fn any(&self, plan: &Plan, view: View) -> AnyImage<'_> {
        let buffer = &plan.buffers[view.buffer];
        let (layout, range) = resolve(plan, view, buffer.images);
        match buffer.dtype {
            Dtype::F32 => Image::new(&self.0[range], layout).into(),
            Dtype::Bf16 => Image::new(halves(&self.0[range]), layout).into(),
        }
    }

    /// A view of any type, to be filled.
    pub(super) fn any_mut(&mut self, plan: &Plan, view: View) -> AnyImageMut<'_> {
        let buffer = &plan.buffers[view.buffer];
        let (layout, range) = resolve(plan, view, buffer.images);
        match buffer.dtype {
            Dtype::F32 => ImageMut::new(&mut self.0[range], layout).into(),
            Dtype::Bf16 => ImageMut::new(halves_mut(&mut self.0[range]), layout).into(),
        }
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

    /// Computes one operation.
    pub(super) fn step<A: Arithmetic>(
        &mut self,
        plan: &Plan,
        step: &Step,
        arithmetic: &A,
        parameters: &Parameters<A>,
    ) {
        self.step_with(plan, step, arithmetic, parameters, None);
    }

    /// The same, where `added` stands for the residual of a linear layer that is not added in place.
    pub(super) fn step_with<A: Arithmetic>(
        &mut self,
        plan: &Plan,
        step: &Step,
        arithmetic: &A,
        parameters: &Parameters<A>,
        added: Option<Image<'_>>,
    ) {
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
        let dtype = |view: View| plan.buffers[view.buffer].dtype;
        let y = match dtype(written) {
            Dtype::F32 => AnyImageMut::F32(ImageMut::new(target, layout)),
            Dtype::Bf16 => AnyImageMut::Bf16(ImageMut::new(halves_mut(target), layout)),
        };
        let nothing = Layout::plain(0, 0, 0, 0);
        let layout = |i: usize| views[i].as_ref().map_or(nothing, |(layout, _)| *layout);
        // Sums, residuals and what norms read are f32; operands have the type of their buffer.
        let read = |i: usize| Image::new(values[i], layout(i));
        let operand = |i: usize, view: View| match dtype(view) {
            Dtype::F32 => AnyImage::F32(read(i)),
            Dtype::Bf16 => AnyImage::Bf16(Image::new(halves(values[i]), layout(i))),
        };
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
            Op::Linear { x, matrix, bias, activation, residual, .. } => {
                let activation = kernel_activation(activation);
                let mut epilogue = Epilogue { activation, ..adding(bias.map(vector), residual) };
                epilogue.residual = added.or(epilogue.residual);
                arithmetic.linear(operand(0, x), parameters.matrix(matrix), &epilogue, y);
            }
            Op::Conv { x, matrix, offset, sampling, residual, .. } => {
                let row = || read(if residual.is_some() { 2 } else { 1 });
                let epilogue = match offset {
                    Offset::Vector(i) => adding(Some(vector(i)), residual),
                    Offset::Row(rows) if plan.buffers[rows.buffer].images > 1 => {
                        Epilogue { per_image: Some(row()), ..adding(None, residual) }
                    }
                    Offset::Row(_) => adding(Some(row().pixel(0)), residual),
                };
                arithmetic.conv(operand(0, x), parameters.matrix(matrix), sampling, &epilogue, y);
            }
            Op::Attention { q, k, v, heads, causal, .. } => {
                arithmetic.attention([operand(0, q), operand(1, k), operand(2, v)], heads, causal, y);
            }
            Op::Resize { x, .. } => match (operand(0, x), y) {
                (AnyImage::F32(x), AnyImageMut::F32(y)) => resize(x, y, |value| value),
                (AnyImage::F32(x), AnyImageMut::Bf16(y)) => resize(x, y, bf16::from_f32),
                (AnyImage::Bf16(x), AnyImageMut::F32(y)) => resize(x, y, bf16::to_f32),
                (AnyImage::Bf16(x), AnyImageMut::Bf16(y)) => resize(x, y, |value| value),
            },
            Op::Repeat { .. } => match y {
                AnyImageMut::F32(y) => repeat(y),
                AnyImageMut::Bf16(y) => repeat(y),
            },
        }
    }
}

/// Where a view's first images lie in the arena, whose numbers are f32.
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
    let numbers = |numbers: usize| (numbers * buffer.dtype.bytes()).div_ceil(size_of::<f32>());
    // Channels of bf16 begin at even places.
    let start = place + numbers(view.channel);
    (layout, start..start + numbers(layout.len()))
}

/// Copies the first half of the images to the second.
fn repeat<T: Number>(mut y: ImageMut<'_, T>) {
    let layout = y.layout();
    let half = Layout { batch: layout.batch / 2, ..layout };
    let distance = half.batch * layout.image_stride();
    for pixel in 0..half.pixels() {
        let at = half.offset(pixel);
        y.data_mut().copy_within(at..at + layout.channels, at + distance);
    }
}

/// Nearest neighbours as torch chooses them, floor(i · in/out) in f32; the border becomes zero.
fn resize<T: Number, U: Number>(x: Image<'_, T>, mut y: ImageMut<'_, U>, convert: impl Fn(T) -> U + Sync) {
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
                for (to, value) in pixel.iter_mut().zip(&x.data()[start..start + from.channels]) {
                    *to = convert(*value);
                }
            } else {
                pixel.fill(U::ZERO);
            }
        }
    });
}
