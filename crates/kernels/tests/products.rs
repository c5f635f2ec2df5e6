//! Linear layers and 3×3 convolutions against f64.

#![expect(clippy::too_many_arguments, clippy::needless_range_loop, reason = "what a kernel is given")]

mod common;

use adire_kernels::{
    Activation, Algorithm, Epilogue, Layout, PackedConv3x3, PackedLinear, Sampling, clear_border, conv3x3,
    linear,
};
use common::{Owned, Random, activate, close, on_each_isa, same_on_any_threads};
use proptest::prelude::*;

/// The operands of an epilogue.
#[derive(Debug, Clone, Copy)]
struct Extras {
    bias: bool,
    per_image: bool,
    residual: Option<(usize, usize)>,
    accumulate: bool,
    activation: Activation,
}

fn extras() -> impl Strategy<Value = Extras> {
    let activation = prop_oneof![
        Just(Activation::Identity),
        Just(Activation::Silu),
        Just(Activation::Gelu),
        Just(Activation::QuickGelu)
    ];
    let residual = proptest::option::of((0usize..5, 0usize..2));
    (any::<bool>(), any::<bool>(), residual, any::<bool>(), activation).prop_map(
        |(bias, per_image, residual, accumulate, activation)| Extras {
            bias,
            per_image,
            residual,
            accumulate,
            activation,
        },
    )
}

/// A product and its epilogue; `sum(pixel, output)` is the product in f64 with the sum of the terms' sizes.
fn check(
    extras: Extras,
    outputs: usize,
    gated: bool,
    mut out: Owned,
    random: &mut Random,
    run: impl FnOnce(&Epilogue<'_>, &mut Owned),
    sum: impl Fn(usize, usize) -> (f64, f64),
    error: f64,
) {
    let layout = out.layout;
    let bias = random.numbers(outputs);
    let rows = Owned::random(Layout::plain(layout.batch, 1, 1, outputs).with_stride(outputs + 3), random);
    let (gap, border) = extras.residual.unwrap_or_default();
    let shape = Layout { border, ..layout.with_stride(layout.channels + gap) };
    let residual = Owned::random(shape, random);
    let before: Vec<Vec<f32>> = (0..layout.pixels()).map(|p| out.pixel(p).to_vec()).collect();
    let epilogue = Epilogue {
        bias: extras.bias.then_some(&bias[..]),
        per_image: extras.per_image.then_some(rows.view()),
        activation: extras.activation,
        residual: extras.residual.map(|_| residual.view()),
        accumulate: extras.accumulate,
    };
    run(&epilogue, &mut out);
    let mut cleared = Owned { layout, data: out.data.clone() };
    clear_border(&mut cleared.view_mut());
    let same = cleared.data.iter().zip(&out.data).all(|(a, b)| a.to_bits() == b.to_bits());
    assert!(same, "the border is zero");
    for pixel in 0..layout.pixels() {
        let image = pixel / (layout.height * layout.width);
        let total = |output: usize| {
            let (value, size) = sum(pixel, output);
            let bias = if extras.bias { f64::from(bias[output]) } else { 0.0 };
            let row = if extras.per_image { f64::from(rows.pixel(image)[output]) } else { 0.0 };
            (value + bias + row, size + bias.abs() + row.abs())
        };
        for channel in 0..layout.channels {
            let (value, size) = total(channel);
            let (mut wanted, mut bound) = if gated {
                let (gate, gate_size) = total(channel + layout.channels);
                (value * activate(Activation::Gelu, gate), size * (gate_size + 1.0) * 2.0)
            } else {
                (activate(extras.activation, value), size * 1.5)
            };
            if extras.residual.is_some() {
                wanted += f64::from(residual.pixel(pixel)[channel]);
            }
            if extras.accumulate {
                wanted += f64::from(before[pixel][channel]);
            }
            bound = (bound + wanted.abs() + 1.0) * error;
            close(out.pixel(pixel)[channel], wanted, bound, &(layout, pixel, channel, extras));
        }
    }
}

fn output(layout: Layout, extras: Extras, random: &mut Random) -> Owned {
    if extras.accumulate { Owned::random(layout, random) } else { Owned::unwritten(layout) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn linear_layers(
        seed: u64, batch in 1usize..4, height in 1usize..4, width in 1usize..30, inputs in 1usize..70, outputs in 1usize..150,
        gaps in (0usize..4, 0usize..4), borders in (0usize..2, 0usize..2), gated: bool, extras in extras(),
    ) {
        on_each_isa(|_| {
            let mut random = Random::new(seed);
            let from = Layout { border: borders.0, ..Layout::plain(batch, height, width, inputs).with_stride(inputs + gaps.0) };
            let to = Layout { border: borders.1, ..Layout::plain(batch, height, width, outputs).with_stride(outputs + gaps.1) };
            let x = Owned::random(from, &mut random);
            let rows = if gated { 2 * outputs } else { outputs };
            let weights = random.numbers(rows * inputs);
            let packed = if gated { PackedLinear::gated(&weights, inputs) } else { PackedLinear::pack(&weights, inputs) };
            assert!(packed.unpack() == weights);
            let first = rows / 3;
            assert!(packed.unpack_outputs(first..rows) == weights[first * inputs..]);
            assert!(packed.unpack_outputs(0..first) == weights[..first * inputs]);
            let extras = Extras { activation: if gated { Activation::Identity } else { extras.activation }, ..extras };
            let out = output(to, extras, &mut random);
            let run = |epilogue: &Epilogue<'_>, out: &mut Owned| {
                linear(x.view(), &packed, epilogue, out.view_mut());
                if !extras.accumulate { out.check_gaps(true); }
            };
            let sum = |pixel: usize, output: usize| {
                let terms = x.pixel(pixel).iter().zip(&weights[output * inputs..]).map(|(a, b)| f64::from(*a) * f64::from(*b));
                terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
            };
            check(extras, rows, gated, out, &mut random, run, sum, 1e-6);
        });
    }

    #[test]
    fn convolutions(
        seed: u64, batch in 1usize..3, height in 1usize..12, width in 1usize..20, inputs in 1usize..40, outputs in 1usize..120,
        gaps in (0usize..4, 0usize..4), border in 0usize..2, extras in extras(),
        sampling in prop_oneof![Just(Sampling::Same), Just(Sampling::Half), Just(Sampling::HalfBottomRight), Just(Sampling::Double)],
        algorithm in prop_oneof![Just(Algorithm::Auto), Just(Algorithm::Direct), Just(Algorithm::Winograd2), Just(Algorithm::Winograd4)],
    ) {
        let (rows, columns) = sampling.size(height, width);
        if rows == 0 || columns == 0 { return Ok(()); }
        on_each_isa(|_| {
            let mut random = Random::new(seed);
            let x = Owned::random(Layout::bordered(batch, height, width, inputs).with_stride(inputs + gaps.0), &mut random);
            let to = Layout { border, ..Layout::plain(batch, rows, columns, outputs).with_stride(outputs + gaps.1) };
            let weights = random.numbers(outputs * inputs * 9);
            let packed = PackedConv3x3::pack(&weights, inputs);
            let out = output(to, extras, &mut random);
            let run = |epilogue: &Epilogue<'_>, out: &mut Owned| {
                conv3x3(x.view(), &packed, sampling, algorithm, epilogue, out.view_mut());
                if !extras.accumulate { out.check_gaps(true); }
            };
            let sum = |pixel: usize, output: usize| convolved(&x, &weights, sampling, (rows, columns), pixel, output);
            check(extras, outputs, false, out, &mut random, run, sum, 4e-6);
        });
    }
}

fn convolved(
    x: &Owned,
    weights: &[f32],
    sampling: Sampling,
    size: (usize, usize),
    pixel: usize,
    output: usize,
) -> (f64, f64) {
    let (line, column) = (pixel / size.1, pixel % size.1);
    let (image, row) = (line / size.0, line % size.0);
    let inputs = x.layout.channels;
    let (mut sum, mut total) = (0.0, 0.0);
    for tap in 0..9 {
        let along = |at: usize, tap: usize, length: usize| {
            let (at, tap, length) = (at as isize, tap as isize, length as isize);
            let source = match sampling {
                Sampling::Same => at + tap - 1,
                Sampling::Half => 2 * at + tap - 1,
                Sampling::HalfBottomRight => 2 * at + tap,
                Sampling::Double => (at + tap - 1).div_euclid(2),
            };
            (0..length).contains(&source).then_some(source as usize)
        };
        let (Some(y), Some(x_)) =
            (along(row, tap / 3, x.layout.height), along(column, tap % 3, x.layout.width))
        else {
            continue;
        };
        let from = &x.data[x.layout.at(image, y, x_)..][..inputs];
        for (input, a) in from.iter().enumerate() {
            let term = f64::from(*a) * f64::from(weights[(output * inputs + input) * 9 + tap]);
            sum += term;
            total += term.abs();
        }
    }
    (sum, total)
}

#[test]
fn products_do_not_depend_on_the_number_of_threads() {
    on_each_isa(|_| {
        let mut random = Random::new(5);
        for (rows, inputs, outputs) in [(2, 320, 640), (77, 64, 200), (700, 100, 130)] {
            let x = Owned::random(Layout::tokens(1, rows, inputs), &mut random);
            let weights = random.numbers(inputs * outputs);
            let packed = PackedLinear::pack(&weights, inputs);
            same_on_any_threads(|| {
                let mut out = Owned::unwritten(Layout::tokens(1, rows, outputs));
                linear(x.view(), &packed, &Epilogue::default(), out.view_mut());
                out.data
            });
        }
        for algorithm in [Algorithm::Direct, Algorithm::Winograd2, Algorithm::Winograd4] {
            let x = Owned::random(Layout::bordered(2, 17, 23, 40), &mut random);
            let weights = random.numbers(40 * 110 * 9);
            let packed = PackedConv3x3::pack(&weights, 40);
            same_on_any_threads(|| {
                let mut out = Owned::unwritten(Layout::plain(2, 17, 23, 110));
                conv3x3(x.view(), &packed, Sampling::Same, algorithm, &Epilogue::default(), out.view_mut());
                out.data
            });
        }
    });
}

#[test]
fn a_deep_product_is_summed_in_slices() {
    on_each_isa(|_| {
        let mut random = Random::new(9);
        let (inputs, outputs) = (5120, 80);
        let x = Owned::random(Layout::tokens(1, 7, inputs), &mut random);
        let weights = random.numbers(inputs * outputs);
        let packed = PackedLinear::pack(&weights, inputs);
        let mut out = Owned::unwritten(Layout::tokens(1, 7, outputs));
        linear(x.view(), &packed, &Epilogue::default(), out.view_mut());
        for row in 0..7 {
            for output in 0..outputs {
                let terms = x
                    .pixel(row)
                    .iter()
                    .zip(&weights[output * inputs..])
                    .map(|(a, b)| f64::from(*a) * f64::from(*b));
                close(out.pixel(row)[output], terms.sum(), 2e-3, &(row, output));
            }
        }
    });
}

/// What a layer of the UNet rounds away, rms over rms, on inputs like those behind a SiLU.
#[test]
fn the_error_of_each_algorithm() {
    let mut random = Random::new(1);
    let (size, inputs, outputs) = (16, 320, 16);
    let mut x = Owned::random(Layout::bordered(1, size, size, inputs), &mut random);
    x.data.iter_mut().for_each(|x| *x = 1.5 * *x / (1.0 + (-2.0 * *x).exp()));
    let scale = 1.0 / (3.0 * (inputs as f32).sqrt());
    let weights: Vec<f32> = random.numbers(outputs * inputs * 9).iter().map(|w| w * scale).collect();
    let exact: Vec<f64> = (0..size * size * outputs)
        .map(|i| convolved(&x, &weights, Sampling::Same, (size, size), i / outputs, i % outputs).0)
        .collect();
    on_each_isa(|isa| {
        let packed = PackedConv3x3::pack(&weights, inputs);
        for (algorithm, bound) in
            [(Algorithm::Direct, 2e-6), (Algorithm::Winograd2, 1e-6), (Algorithm::Winograd4, 2.5e-6)]
        {
            let mut out = Owned::unwritten(Layout::plain(1, size, size, outputs));
            conv3x3(x.view(), &packed, Sampling::Same, algorithm, &Epilogue::default(), out.view_mut());
            let squares = |f: &dyn Fn(usize) -> f64| (0..exact.len()).map(|i| f(i).powi(2)).sum::<f64>();
            let error = (squares(&|i| f64::from(out.data[i]) - exact[i]) / squares(&|i| exact[i])).sqrt();
            println!("{} {algorithm:?}: {error:.2e}", isa.name());
            assert!(error < bound, "{} {algorithm:?}: {error:.2e}", isa.name());
        }
    });
}
