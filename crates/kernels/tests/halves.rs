//! The same in bf16: operands rounded first, so that what is left is the error of sums and of the result's rounding.

mod common;

use adire_kernels::{
    Activation, Affine, Algorithm, Attention, Change, Delta, Dtype, Epilogue, Image, ImageMut, Isa, Layout,
    PackedConv3x3, PackedLinear, Sampling, activation, attention, conv3x3, geglu, group_norm, layer_norm,
    linear,
};
use common::{Owned, Random, activate, close, on_each_isa};
use half::bf16;
use proptest::prelude::*;

/// Half a unit in the last place of bf16, of itself.
const ROUNDING: f64 = 1.0 / 256.0;

/// An image rounded to bf16, and the same in f32.
fn rounded(layout: Layout, random: &mut Random) -> (Vec<bf16>, Owned) {
    let mut image = Owned::random(layout, random);
    let half: Vec<bf16> = image.data.iter().map(|x| bf16::from_f32(*x)).collect();
    image.data = half.iter().map(|x| x.to_f32()).collect();
    (half, image)
}

fn round(numbers: Vec<f32>) -> Vec<f32> {
    numbers.into_iter().map(|x| bf16::from_f32(x).to_f32()).collect()
}

fn at(data: &[bf16], layout: Layout, pixel: usize, channel: usize) -> f32 {
    data[layout.offset(pixel) + channel].to_f32()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn linear_layers(
        seed: u64, rows in 1usize..90, inputs in 1usize..40, outputs in 1usize..150, gaps in (0usize..4, 0usize..4), gated: bool,
    ) {
        let inputs = 2 * inputs;
        on_each_isa(|_| {
            let mut random = Random::new(seed);
            let (half, x) = rounded(Layout::tokens(1, rows, inputs).with_stride(inputs + gaps.0), &mut random);
            let to = Layout::tokens(1, rows, outputs).with_stride(outputs + gaps.1);
            let count = if gated { 2 * outputs } else { outputs };
            let weights = round(random.numbers(count * inputs));
            let bias = random.numbers(count);
            let packed = if gated {
                PackedLinear::gated_as(Dtype::Bf16, &weights, inputs)
            } else {
                PackedLinear::stack_as(Dtype::Bf16, &[&weights], inputs)
            };
            assert!(packed.unpack() == weights);
            let residual = Owned::random(to, &mut random);
            let epilogue = Epilogue::bias(&bias).residual(residual.view());
            let mut full = Owned::unwritten(to);
            linear(Image::new(&half, x.layout), &packed, &epilogue, full.view_mut());
            full.check_gaps(false);
            let mut short = vec![bf16::MAX; to.len()];
            linear(Image::new(&half, x.layout), &packed, &epilogue, ImageMut::new(&mut short, to));
            for row in 0..rows {
                let total = |output: usize| {
                    let terms = x.pixel(row).iter().zip(&weights[output * inputs..]).map(|(a, b)| f64::from(*a) * f64::from(*b));
                    let start = f64::from(bias[output]);
                    terms.fold((start, start.abs()), |(sum, size), term| (sum + term, size + term.abs()))
                };
                for output in 0..outputs {
                    let (value, size) = total(output);
                    let (product, bound) = if gated {
                        let (gate, gate_size) = total(output + outputs);
                        (value * activate(Activation::Gelu, gate), 2.0 * size * (gate_size + 1.0))
                    } else {
                        (value, size)
                    };
                    let wanted = product + f64::from(residual.pixel(row)[output]);
                    let bound = 1e-6 * (bound + wanted.abs() + 1.0);
                    close(full.pixel(row)[output], wanted, bound, &(row, output));
                    close(at(&short, to, row, output), wanted, bound + wanted.abs() * ROUNDING, &("rounded", row, output));
                }
            }
        });
    }

    #[test]
    fn convolutions(
        seed: u64, height in 1usize..14, width in 1usize..14, inputs in 1usize..20, outputs in 1usize..100,
        sampling in prop_oneof![Just(Sampling::Same), Just(Sampling::Half), Just(Sampling::HalfBottomRight), Just(Sampling::Double)],
        algorithm in prop_oneof![Just(Algorithm::Direct), Just(Algorithm::Winograd2), Just(Algorithm::Winograd4)],
    ) {
        let inputs = 2 * inputs;
        let (rows, columns) = sampling.size(height, width);
        if rows == 0 || columns == 0 { return Ok(()); }
        on_each_isa(|_| {
            let mut random = Random::new(seed);
            let (half, x) = rounded(Layout::bordered(2, height, width, inputs), &mut random);
            let weights = round(random.numbers(outputs * inputs * 9));
            let to = Layout::plain(2, rows, columns, outputs);
            let (mut short, mut wanted) = (Owned::unwritten(to), Owned::unwritten(to));
            let packed = PackedConv3x3::pack_as(Dtype::Bf16, &weights, inputs);
            conv3x3(Image::new(&half, x.layout), &packed, sampling, algorithm, &Epilogue::default(), short.view_mut());
            // The direct form in f32 is compared with f64 elsewhere.
            let exact = PackedConv3x3::pack(&weights, inputs);
            conv3x3(x.view(), &exact, sampling, Algorithm::Direct, &Epilogue::default(), wanted.view_mut());
            let size = 3.0 * (inputs as f64).sqrt();
            let error = match algorithm {
                Algorithm::Winograd4 if sampling != Sampling::Half && sampling != Sampling::HalfBottomRight => 0.3,
                Algorithm::Winograd2 if sampling != Sampling::Half && sampling != Sampling::HalfBottomRight => 0.05,
                _ => 1e-5,
            };
            for p in 0..to.pixels() {
                for (got, wanted) in short.pixel(p).iter().zip(wanted.pixel(p)) {
                    close(*got, f64::from(*wanted), error * size, &(algorithm, p));
                }
            }
        });
    }

    #[test]
    fn attention_between_sequences(
        seed: u64, queries in 1usize..120, keys in 1usize..300, width in 1usize..40, heads in 1usize..4, causal: bool,
    ) {
        let (width, keys) = (2 * width, if causal { queries } else { keys });
        let channels = width * heads;
        on_each_isa(|_| {
            let mut random = Random::new(seed);
            let (q, q_full) = rounded(Layout::tokens(2, queries, channels).with_stride(3 * channels), &mut random);
            let (k, k_full) = rounded(Layout::tokens(2, keys, channels).with_stride(2 * channels), &mut random);
            let (v, v_full) = rounded(Layout::tokens(2, keys, channels), &mut random);
            let options = Attention { causal, ..Attention::full(heads) };
            let to = Layout::tokens(2, queries, channels).with_stride(channels + 2);
            let mut out = vec![bf16::MAX; to.len()];
            let image = |data, of: &Owned| Image::<bf16>::new(data, of.layout);
            attention(image(&q, &q_full), image(&k, &k_full), image(&v, &v_full), options, ImageMut::new(&mut out, to));
            let mut wanted = Owned::unwritten(to);
            attention(q_full.view(), k_full.view(), v_full.view(), options, wanted.view_mut());
            for p in 0..to.pixels() {
                for c in 0..channels {
                    let exact = f64::from(wanted.pixel(p)[c]);
                    close(at(&out, to, p, c), exact, ROUNDING * (exact.abs() + 2.0), &(p, c));
                }
            }
        });
    }

    #[test]
    fn norms_and_activations(seed: u64, height in 1usize..12, width in 1usize..12, size in 1usize..20, border in 0usize..2) {
        let channels = 4 * size;
        on_each_isa(|_| {
            let mut random = Random::new(seed);
            let layout = Layout::plain(2, height, width, channels);
            let x = Owned::random(layout, &mut random);
            let (weight, bias) = (random.numbers(channels), random.numbers(channels));
            let affine = Affine { weight: &weight, bias: &bias, epsilon: 1e-5 };
            let to = Layout { border, ..layout.with_stride(channels + 1) };
            let check = |short: &dyn Fn(ImageMut<'_, bf16>), full: &dyn Fn(ImageMut<'_>)| {
                let (mut half, mut wanted) = (vec![bf16::MAX; to.len()], Owned::unwritten(to));
                short(ImageMut::new(&mut half, to));
                full(wanted.view_mut());
                for (i, (got, wanted)) in half.iter().zip(&wanted.data).enumerate() {
                    let (got, wanted) = (got.to_f32(), f64::from(*wanted));
                    if wanted < 1e30 { close(got, wanted, wanted.abs() * ROUNDING + 1e-6, &i) } else { assert!(got > 1e30, "{i} was written") }
                }
            };
            let parts = [x.view()];
            check(&|out| group_norm(&parts, 4, affine, Activation::Silu, out), &|out| group_norm(&parts, 4, affine, Activation::Silu, out));
            check(&|out| layer_norm(x.view(), affine, out), &|out| layer_norm(x.view(), affine, out));
            check(&|out| activation(x.view(), Activation::QuickGelu, out), &|out| activation(x.view(), Activation::QuickGelu, out));
            let (half, same) = rounded(layout, &mut random);
            let (pair, pair_full) = rounded(Layout::plain(2, height, width, 2 * channels), &mut random);
            let mut back = Owned::unwritten(layout);
            activation(Image::new(&half, layout), Activation::Identity, back.view_mut());
            assert!(back.data == same.data);
            check(&|out| geglu(Image::new(&pair, pair_full.layout), out), &|out| geglu(pair_full.view(), out));
        });
    }

    #[test]
    fn merges(seed: u64, inputs in 1usize..40, outputs in 2usize..150, rank in 1usize..20, convolution: bool) {
        let inputs = 2 * inputs;
        on_each_isa(|_| {
            let mut random = Random::new(seed);
            let row = if convolution { 9 * inputs } else { inputs };
            let weights = round(random.numbers(outputs * row));
            let (up, down) = (random.numbers(outputs * rank), random.numbers(rank * row));
            let delta = random.numbers(row);
            let changes = [
                Change { first: 0, outputs, delta: Delta::LowRank { up: &up, down: &down, rank, strength: 0.5 } },
                Change { first: 1, outputs: 1, delta: Delta::Dense { delta: &delta, strength: 2.0 } },
            ];
            let (first, again, none) = if convolution {
                let pristine = PackedConv3x3::pack_as(Dtype::Bf16, &weights, inputs);
                let mut effective = pristine.clone();
                let mut run = |changes: &[Change<'_>]| { effective.merge(&pristine, changes); effective.unpack() };
                let first = run(&changes);
                let none = run(&[]);
                (first, run(&changes), none)
            } else {
                let pristine = PackedLinear::stack_as(Dtype::Bf16, &[&weights], inputs);
                let mut effective = pristine.clone();
                let mut run = |changes: &[Change<'_>]| { effective.merge(&pristine, changes); effective.unpack() };
                let first = run(&changes);
                let none = run(&[]);
                (first, run(&changes), none)
            };
            assert!(none == weights);
            assert!(first == again);
            for (i, got) in first.iter().enumerate() {
                let (output, k) = (i / row, i % row);
                let low: f64 = (0..rank).map(|r| f64::from(up[output * rank + r]) * f64::from(down[r * row + k])).sum();
                let dense = if output == 1 { 2.0 * f64::from(delta[k]) } else { 0.0 };
                let wanted = f64::from(weights[i]) + 0.5 * low + dense;
                close(*got, wanted, wanted.abs() * ROUNDING + 1e-4, &(output, k));
            }
        });
    }

    /// Whichever kernel adds it, and in however many passes.
    #[test]
    fn a_low_rank_change_is_that_of_f32_rounded(seed: u64, inputs in 1usize..40, outputs in 2usize..150, rank in 1usize..20, convolution: bool) {
        let inputs = 2 * inputs;
        on_each_isa(|_| {
            let mut random = Random::new(seed);
            let row = if convolution { 9 * inputs } else { inputs };
            let weights = round(random.numbers(outputs * row));
            let (up, down) = (random.numbers(outputs * rank), random.numbers(rank * row));
            let changes = [Change { first: 0, outputs, delta: Delta::LowRank { up: &up, down: &down, rank, strength: 0.5 } }];
            let merged = |dtype| {
                if convolution {
                    PackedConv3x3::pack_as(dtype, &weights, inputs).plus(&changes).unpack()
                } else {
                    PackedLinear::stack_as(dtype, &[&weights], inputs).plus(&changes).unpack()
                }
            };
            assert!(merged(Dtype::Bf16) == round(merged(Dtype::F32)));
        });
    }
}

#[test]
fn types_that_do_not_fit_are_refused() {
    let refused = |work: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err();
    let packed = PackedLinear::stack_as(Dtype::Bf16, &[&[0.0; 8]], 4);
    assert_eq!(packed.dtype(), Dtype::Bf16);
    assert_eq!(packed.bytes() % 2, 0);
    let x = [0.0f32; 4];
    assert!(refused(&|| {
        let mut out = [0.0f32; 2];
        let out = ImageMut::new(&mut out, Layout::tokens(1, 1, 2));
        linear(Image::new(&x, Layout::tokens(1, 1, 4)), &packed, &Epilogue::default(), out);
    }));
    assert!(refused(&|| _ = PackedLinear::stack_as(Dtype::Bf16, &[&[0.0; 9]], 3)));
    assert!(Isa::available().contains(&Isa::current()));
}
