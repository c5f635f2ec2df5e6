//! The kernels in plain loops: sums in f32, rounded where a result is stored.

use adire_kernels::{self as kernels, Activation, Image, ImageMut, Layout, Sampling};

use super::store::Store;
use crate::{Delta, Element, Error, Kernel, Matrix, Result, View};

pub(super) fn run(store: &mut Store, kernel: &Kernel) -> Result<()> {
    match kernel {
        Kernel::GroupNorm { x, weight, bias, groups, epsilon, activation, y } => {
            let values = store.image(x)?;
            let [weight, bias] = [store.numbers(weight, Element::F32)?, store.numbers(bias, Element::F32)?];
            let values = group_norm(&values, x.layout(), *groups, *epsilon, &weight, &bias);
            store.clear_border(y)?;
            store.set_image(y, &activated(values, *activation))
        }
        Kernel::LayerNorm { x, weight, bias, epsilon, y } => {
            let [weight, bias] = [store.numbers(weight, Element::F32)?, store.numbers(bias, Element::F32)?];
            let mut values = store.image(x)?;
            for pixel in values.chunks_exact_mut(x.layout().channels) {
                let (mean, scale) = moments(pixel.iter().copied(), *epsilon);
                for ((value, weight), bias) in pixel.iter_mut().zip(&weight).zip(&bias) {
                    *value = (*value - mean) * scale * weight + bias;
                }
            }
            store.set_image(y, &values)
        }
        Kernel::Linear { x, matrix, bias, activation, residual, y } => {
            let (values, weights) = (store.image(x)?, store.numbers(&matrix.values, matrix.element)?);
            let bias = bias.as_ref().map(|bias| store.numbers(bias, Element::F32)).transpose()?;
            let values = linear(&values, matrix, &weights, bias.as_deref());
            finish(store, activated(values, *activation), residual, y)
        }
        Kernel::Conv { x, matrix, offset, sampling, residual, y } => {
            if !store.has_border(x)? {
                return Err(Error::Failed("a convolution reads a border that is not zero".to_owned()));
            }
            let (values, weights) = (store.image(x)?, store.numbers(&matrix.values, matrix.element)?);
            let offset = offset.as_ref().map(|offset| store.numbers(offset, Element::F32)).transpose()?;
            let values =
                conv(&values, x.layout(), y.layout(), matrix, &weights, offset.as_deref(), *sampling);
            finish(store, values, residual, y)
        }
        Kernel::Attention { q, k, v, heads, causal, y } => {
            let [queries, keys, values] = [store.image(q)?, store.image(k)?, store.image(v)?];
            let pixels = |view: &View| view.layout().height * view.layout().width;
            let values =
                attention(&queries, &keys, &values, [pixels(q), pixels(k)], q.layout(), *heads, *causal);
            store.set_image(y, &values)
        }
        Kernel::Resize { x, y } => {
            let (values, from, to) = (store.image(x)?, x.layout(), y.layout());
            let mut enlarged = Vec::with_capacity(to.pixels() * to.channels);
            for pixel in 0..to.pixels() {
                let (line, column) = (pixel / to.width, pixel % to.width);
                let (image, line) = (line / to.height, line % to.height);
                let line = image * from.height + nearest(line, from.height, to.height);
                let at = (line * from.width + nearest(column, from.width, to.width)) * from.channels;
                enlarged.extend_from_slice(&values[at..at + from.channels]);
            }
            store.clear_border(y)?;
            store.set_image(y, &enlarged)
        }
        Kernel::Repeat { x } => {
            let mut values = store.image(x)?;
            let half = values.len() / 2;
            values.copy_within(..half, half);
            store.set_image(x, &values)
        }
        Kernel::FromPlanes { planes, y } => {
            let planes = store.numbers(planes, Element::F32)?;
            let layout = y.layout();
            let mut values = vec![0.0; planes.len()];
            turn(layout, |plane, pixel| values[pixel] = planes[plane]);
            store.clear_border(y)?;
            store.set_image(y, &values)
        }
        Kernel::ToPlanes { x, planes } => {
            let values = store.image(x)?;
            let mut turned = vec![0.0; values.len()];
            turn(x.layout(), |plane, pixel| turned[plane] = values[pixel]);
            store.set_numbers(planes, Element::F32, &turned)
        }
        Kernel::SelectRow { table, rows, index, y } => {
            let at: [u8; 4] = store.bytes(index)?.try_into().unwrap_or_default();
            let at = usize::try_from(i32::from_le_bytes(at)).unwrap_or(0).min(rows - 1);
            let row = table.part(at * y.len()..(at + 1) * y.len())?;
            let row = store.bytes(&row)?.to_vec();
            store.write(y, &row)
        }
        Kernel::Merge { pristine, effective, element, columns, changes, .. } => {
            let mut values = store.numbers(pristine, *element)?;
            for change in changes {
                let rows = change.first * columns..(change.first + change.rows) * columns;
                let delta = match &change.delta {
                    Delta::Dense(values) => store.numbers(values, Element::F32)?,
                    Delta::LowRank { up, down, rank } => {
                        let [up, down] =
                            [store.numbers(up, Element::F32)?, store.numbers(down, Element::F32)?];
                        product(&up, &down, *rank, *columns)
                    }
                };
                for (value, delta) in values[rows].iter_mut().zip(delta) {
                    *value += change.strength * delta;
                }
            }
            store.set_numbers(effective, *element, &values)
        }
    }
}

/// Adds the residual and stores.
fn finish(store: &mut Store, mut values: Vec<f32>, residual: &Option<View>, y: &View) -> Result<()> {
    if let Some(residual) = residual {
        let residual = store.image(residual)?;
        values.iter_mut().zip(residual).for_each(|(value, residual)| *value += residual);
    }
    store.set_image(y, &values)
}

fn activated(values: Vec<f32>, activation: Activation) -> Vec<f32> {
    if activation == Activation::Identity {
        return values;
    }
    let layout = Layout::plain(1, 1, 1, values.len());
    let mut results = vec![0.0; values.len()];
    kernels::activation(Image::new(&values, layout), activation, ImageMut::new(&mut results, layout));
    results
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks(LANES), b.chunks(LANES));
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
    }
    sums.iter().sum()
}

/// (mean, 1/√(variance + ε))
fn moments(values: impl Iterator<Item = f32> + Clone, epsilon: f32) -> (f32, f32) {
    let count = values.clone().count() as f64;
    let mean = values.clone().map(f64::from).sum::<f64>() / count;
    let variance = values.map(|x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    (mean as f32, (1.0 / (variance + f64::from(epsilon)).sqrt()) as f32)
}

fn group_norm(
    x: &[f32],
    layout: Layout,
    groups: usize,
    epsilon: f32,
    weight: &[f32],
    bias: &[f32],
) -> Vec<f32> {
    let Layout { batch, channels, .. } = layout;
    let (pixels, width) = (layout.height * layout.width, channels / groups);
    let mut y = vec![0.0; x.len()];
    for (image, group) in (0..batch).flat_map(|image| (0..groups).map(move |group| (image, group))) {
        let at = move |pixel: usize| (image * pixels + pixel) * channels + group * width;
        let values = (0..pixels).flat_map(|pixel| x[at(pixel)..at(pixel) + width].iter().copied());
        let (mean, scale) = moments(values, epsilon);
        for (pixel, i) in (0..pixels).flat_map(|pixel| (0..width).map(move |i| (pixel, i))) {
            let channel = group * width + i;
            y[at(pixel) + i] = (x[at(pixel) + i] - mean) * scale * weight[channel] + bias[channel];
        }
    }
    y
}

fn linear(x: &[f32], matrix: &Matrix, weights: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.len() / matrix.inputs.max(1) * matrix.channels());
    for pixel in x.chunks_exact(matrix.inputs) {
        let rows = weights.chunks_exact(matrix.inputs).enumerate();
        let mut row: Vec<f32> =
            rows.map(|(i, weights)| dot(pixel, weights) + bias.map_or(0.0, |bias| bias[i])).collect();
        if matrix.gated {
            let gates = activated(row.split_off(row.len() / 2), Activation::Gelu);
            row.iter_mut().zip(gates).for_each(|(value, gate)| *value *= gate);
        }
        y.extend(row);
    }
    y
}

fn conv(
    x: &[f32],
    from: Layout,
    to: Layout,
    matrix: &Matrix,
    weights: &[f32],
    offset: Option<&[f32]>,
    sampling: Sampling,
) -> Vec<f32> {
    // The pixel under a tap along one side; outside of the image there are zeros.
    let source = |at: usize, tap: usize, size: usize| {
        let source = match sampling {
            Sampling::Same => (at + tap).checked_sub(1)?,
            Sampling::Half => (2 * at + tap).checked_sub(1)?,
            Sampling::HalfBottomRight => 2 * at + tap,
            Sampling::Double => (at + tap).checked_sub(1)? / 2,
        };
        (source < size).then_some(source)
    };
    let mut y = Vec::with_capacity(to.pixels() * to.channels);
    let mut taps = Vec::with_capacity(9 * from.channels);
    for pixel in 0..to.pixels() {
        let (line, column) = (pixel / to.width, pixel % to.width);
        let (image, line) = (line / to.height, line % to.height);
        taps.clear();
        for tap in 0..9 {
            let place = source(line, tap / 3, from.height).zip(source(column, tap % 3, from.width));
            match place {
                Some((line, column)) => {
                    let at = ((image * from.height + line) * from.width + column) * from.channels;
                    taps.extend_from_slice(&x[at..at + from.channels]);
                }
                None => taps.resize(taps.len() + from.channels, 0.0),
            }
        }
        let rows = weights.chunks_exact(matrix.columns()).enumerate();
        y.extend(rows.map(|(i, weights)| dot(&taps, weights) + offset.map_or(0.0, |offset| offset[i])));
    }
    y
}

fn attention(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    [queries, keys]: [usize; 2],
    layout: Layout,
    heads: usize,
    causal: bool,
) -> Vec<f32> {
    let channels = layout.channels;
    let depth = channels / heads;
    let scale = 1.0 / (depth as f32).sqrt();
    let mut y = vec![0.0; q.len()];
    for (pixel, head) in (0..q.len() / channels).flat_map(|pixel| (0..heads).map(move |head| (pixel, head))) {
        let (image, query) = (pixel / queries, pixel % queries);
        let seen = if causal { (query + 1).min(keys) } else { keys };
        let part = |pixel: usize| pixel * channels + head * depth..pixel * channels + (head + 1) * depth;
        let scores: Vec<f32> =
            (0..seen).map(|key| dot(&q[part(pixel)], &k[part(image * keys + key)]) * scale).collect();
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = scores.iter().map(|score| (score - most).exp()).collect();
        let sum: f32 = weights.iter().sum();
        for (key, weight) in weights.iter().enumerate() {
            let values = &v[part(image * keys + key)];
            y[part(pixel)].iter_mut().zip(values).for_each(|(y, value)| *y += weight / sum * value);
        }
    }
    y
}

/// Nearest neighbours as torch chooses them.
fn nearest(i: usize, from: usize, to: usize) -> usize {
    ((i as f32 * (from as f32 / to as f32)).floor() as usize).min(from - 1)
}

/// Each number's place among planes and among pixels.
fn turn(layout: Layout, mut each: impl FnMut(usize, usize)) {
    let (channels, pixels) = (layout.channels, layout.height * layout.width);
    for image in 0..layout.batch {
        for (channel, pixel) in
            (0..channels).flat_map(|channel| (0..pixels).map(move |pixel| (channel, pixel)))
        {
            each(
                (image * channels + channel) * pixels + pixel,
                (image * pixels + pixel) * channels + channel,
            );
        }
    }
}

/// [rows, rank] · [rank, columns].
fn product(up: &[f32], down: &[f32], rank: usize, columns: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(up.len() / rank.max(1) * columns);
    for factors in up.chunks_exact(rank.max(1)) {
        let mut row = vec![0.0; columns];
        for (factor, down) in factors.iter().zip(down.chunks_exact(columns)) {
            row.iter_mut().zip(down).for_each(|(value, down)| *value += factor * down);
        }
        values.extend(row);
    }
    values
}
