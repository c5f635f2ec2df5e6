//! Weights turned round, and gated ones without their gates: what the gradients of layers are made of.

mod common;

use adire_kernels::{Dtype, Epilogue, Layout, PackedConv3x3, PackedLinear, linear, linear_ungated};
use common::{Owned, Random, close, on_each_isa};
use half::bf16;
use proptest::prelude::*;

/// `[outputs, inputs, taps]` as `[inputs, outputs, taps in reverse]`.
fn turned(weights: &[f32], inputs: usize, taps: usize) -> Vec<f32> {
    let outputs = weights.len() / (inputs * taps);
    let mut to = Vec::with_capacity(weights.len());
    for input in 0..inputs {
        for output in 0..outputs {
            to.extend(weights[(output * inputs + input) * taps..][..taps].iter().rev());
        }
    }
    to
}

fn random(len: usize, dtype: Dtype, random: &mut Random) -> Vec<f32> {
    let numbers = random.numbers(len);
    match dtype {
        Dtype::F32 => numbers,
        Dtype::Bf16 => numbers.into_iter().map(|x| bf16::from_f32(x).to_f32()).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn weights_are_those_of_the_transpose(
        seed: u64, inputs in 1usize..70, outputs in 1usize..150, gated: bool, half: bool, convolution: bool,
    ) {
        // Pairs of bf16 are whole.
        let (dtype, inputs, outputs) = if half { (Dtype::Bf16, 2 * inputs, 2 * outputs) } else { (Dtype::F32, inputs, outputs) };
        on_each_isa(|_| {
            let mut source = Random::new(seed);
            if convolution {
                let weights = random(outputs * inputs * 9, dtype, &mut source);
                let packed = PackedConv3x3::pack_as(dtype, &weights, inputs);
                // The memory of larger weights, and of smaller ones.
                for before in [outputs + 16, 2] {
                    let before = PackedConv3x3::pack_as(dtype, &source.numbers(before * inputs * 9), inputs);
                    let found = packed.turned(Some(before));
                    assert_eq!((found.inputs(), found.outputs()), (outputs, inputs));
                    assert!(found.unpack() == turned(&weights, inputs, 9));
                }
                return;
            }
            let rows = if gated { 2 * outputs } else { outputs };
            let weights = random(rows * inputs, dtype, &mut source);
            let packed = if gated {
                PackedLinear::gated_as(dtype, &weights, inputs)
            } else {
                PackedLinear::stack_as(dtype, &[&weights], inputs)
            };
            let found = packed.turned(None);
            assert_eq!((found.inputs(), found.outputs(), found.channels()), (rows, inputs, inputs));
            assert!(found.unpack() == turned(&weights, inputs, 1));
            // Filled up with zeros, whatever the memory held: the last panel's product has no NaN.
            let x = Owned::random(Layout::tokens(1, 3, rows), &mut source);
            if dtype == Dtype::F32 {
                let mut out = Owned::unwritten(Layout::tokens(1, 3, inputs));
                linear(x.view(), &found, &Epilogue::default(), out.view_mut());
                assert!(out.data.iter().all(|x| x.is_finite()));
            }
        });
    }

    #[test]
    fn values_and_gates_as_they_are(
        seed: u64, rows in 1usize..40, inputs in 1usize..40, outputs in 1usize..150, gap in 0usize..4,
    ) {
        on_each_isa(|_| {
            let mut source = Random::new(seed);
            let x = Owned::random(Layout::tokens(1, rows, inputs), &mut source);
            let weights = source.numbers(2 * outputs * inputs);
            let bias = source.numbers(2 * outputs);
            let packed = PackedLinear::gated(&weights, inputs);
            let mut out = Owned::unwritten(Layout::tokens(1, rows, 2 * outputs).with_stride(2 * outputs + gap));
            linear_ungated(x.view(), &packed, &Epilogue::bias(&bias), out.view_mut());
            out.check_gaps(false);
            for pixel in 0..rows {
                for output in 0..2 * outputs {
                    let terms = x.pixel(pixel).iter().zip(&weights[output * inputs..]).map(|(a, b)| f64::from(*a) * f64::from(*b));
                    let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                    let wanted = sum + f64::from(bias[output]);
                    close(out.pixel(pixel)[output], wanted, 1e-6 * (size + wanted.abs() + 1.0), &(pixel, output));
                }
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// A view of some channels, in the memory of larger weights and of smaller ones.
    #[test]
    fn columns_are_packed_as_rows_of_the_transpose(
        seed: u64, inputs in 1usize..70, outputs in 1usize..150, gap in 0usize..9, half: bool,
    ) {
        let (dtype, inputs) = if half { (Dtype::Bf16, 2 * inputs) } else { (Dtype::F32, inputs) };
        on_each_isa(|_| {
            let mut source = Random::new(seed);
            let layout = Layout::tokens(1, inputs, outputs).with_stride(outputs + gap);
            let columns = Owned::random(layout, &mut source);
            let mut expected = Vec::new();
            for output in 0..outputs {
                expected.extend((0..inputs).map(|input| {
                    let value = columns.view().pixel(input)[output];
                    if half { bf16::from_f32(value).to_f32() } else { value }
                }));
            }
            for before in [None, Some(outputs + 16), Some(1)] {
                let before =
                    before.map(|rows| PackedLinear::stack_as(dtype, &[&source.numbers(rows * inputs)], inputs));
                let found = PackedLinear::from_columns(dtype, columns.view(), before);
                assert_eq!((found.inputs(), found.outputs()), (inputs, outputs));
                assert!(found.unpack() == expected);
                let direct = PackedLinear::stack_as(dtype, &[&expected], inputs);
                let x = Owned::random(Layout::tokens(1, 3, inputs), &mut source);
                let rounded: Vec<bf16> = x.data.iter().map(|x| bf16::from_f32(*x)).collect();
                let product = |weights: &PackedLinear| {
                    let mut y = vec![0.0; 3 * outputs];
                    let out = adire_kernels::ImageMut::new(&mut y, Layout::tokens(1, 3, outputs));
                    if half {
                        let x = adire_kernels::Image::new(&rounded, x.layout);
                        linear(x, weights, &Epilogue::default(), out);
                    } else {
                        linear(x.view(), weights, &Epilogue::default(), out);
                    }
                    y
                };
                assert!(product(&found) == product(&direct));
            }
        });
    }
}
