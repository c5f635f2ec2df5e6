//! The kernels by way of the safe functions, against the fake GPU's: on device 0, which is a GPU, or the emulator where the archive
//! comes from `cargo xtask cuda kernels --emulate`. The first test to run on a new device.
//!
//! `ADIRE_CUDA_KERNELS=… cargo test -p adire-cuda --features cuda --test kernels_runtime`
#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "what fails ends the test")]

use adire_cuda::{Change, Delta, Element, Fake, Kernel, Matrix, Memory, Runtime, View, open};
use adire_kernels::{Activation, Layout, Sampling};

/// Pseudo-random numbers of −1 … 1: splitmix64.
struct Random(u64);

impl Random {
    fn numbers(&mut self, n: usize) -> Vec<f32> {
        let mut next = || {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }
}

/// A block of memory with these numbers.
fn block(runtime: &dyn Runtime, element: Element, numbers: &[f32]) -> Memory {
    let bytes = element.encode(numbers);
    let memory = runtime.allocate(bytes.len()).unwrap();
    runtime.upload(&bytes, &memory.whole()).unwrap();
    memory
}

/// What a kernel leaves in its result, which `build` gives with it.
fn result(
    runtime: &dyn Runtime,
    element: Element,
    build: &dyn Fn(&dyn Runtime) -> (Kernel, Memory),
) -> Vec<f32> {
    let (kernel, memory) = build(runtime);
    runtime.launch(&kernel).unwrap();
    let mut bytes = vec![0; memory.bytes()];
    runtime.download(&memory.whole(), &mut bytes).unwrap();
    // A recorded kernel gives the same.
    runtime.upload(&vec![0; memory.bytes()], &memory.whole()).unwrap();
    let graph = runtime.record(&mut || runtime.launch(&kernel)).unwrap();
    runtime.replay(&graph).unwrap();
    let mut again = vec![0; memory.bytes()];
    runtime.download(&memory.whole(), &mut again).unwrap();
    assert!(bytes == again, "a graph gives other bits");
    element.decode(&bytes)
}

/// Compares device and fake; `error` is relative to 1 + |value|.
fn compare(what: &str, element: Element, error: f32, build: &dyn Fn(&dyn Runtime) -> (Kernel, Memory)) {
    let device = open(0).unwrap();
    let (found, expected) = (result(&*device, element, build), result(&Fake::default(), element, build));
    let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f32::max);
    let number = found.iter().all(|value| value.is_finite());
    assert!(number && worst <= error, "{what}: off by {worst}, {error} at most");
    println!("{what} on {}: off by {worst:.1e}", device.info().name);
}

const F16: Element = Element::F16;
const F32: Element = Element::F32;

#[test]
fn linear_layers() {
    for (pixels, inputs, outputs, gated) in
        [(77, 320, 320, false), (130, 64, 136, true), (33, 40, 24, false), (128, 1280, 64, false)]
    {
        for element in [F16, F32] {
            let rows = if gated { 2 * outputs } else { outputs };
            compare("linear", element, if element == F16 { 2e-3 } else { 1e-4 }, &|runtime| {
                let mut random = Random(1);
                let x = block(runtime, element, &random.numbers(pixels * inputs));
                let scaled: Vec<f32> =
                    random.numbers(rows * inputs).iter().map(|w| w / (inputs as f32).sqrt()).collect();
                let values = block(runtime, element, &scaled);
                let bias = block(runtime, F32, &random.numbers(rows));
                let added = block(runtime, element, &random.numbers(pixels * outputs));
                let y = block(runtime, element, &vec![0.0; pixels * outputs]);
                let out = Layout::tokens(1, pixels, outputs);
                let matrix =
                    Matrix { values: values.whole(), element, outputs: rows, inputs, kernel: 1, gated };
                let kernel = Kernel::Linear {
                    x: View::of(&x.whole(), element, Layout::tokens(1, pixels, inputs)).unwrap(),
                    matrix,
                    bias: Some(bias.whole()),
                    activation: if gated { Activation::Identity } else { Activation::Silu },
                    residual: Some(View::of(&added.whole(), element, out).unwrap()),
                    y: View::of(&y.whole(), element, out).unwrap(),
                };
                (kernel, y)
            });
        }
    }
}

#[test]
fn convolutions() {
    let samplings = [Sampling::Same, Sampling::Half, Sampling::HalfBottomRight, Sampling::Double];
    for (sampling, channels) in samplings.into_iter().zip([64, 40, 8, 72]) {
        for element in [F16, F32] {
            compare("conv", element, if element == F16 { 2e-3 } else { 1e-4 }, &|runtime| {
                let mut random = Random(2);
                let (from, outputs) = (Layout::bordered(2, 9, 7, channels), 48);
                let (height, width) = sampling.size(from.height, from.width);
                let mut inside = vec![0.0; from.len()];
                for pixel in 0..from.pixels() {
                    let at = from.offset(pixel);
                    inside[at..at + channels].copy_from_slice(&random.numbers(channels));
                }
                let x = block(runtime, element, &inside);
                let scale = 1.0 / (9.0 * channels as f32).sqrt();
                let weights: Vec<f32> =
                    random.numbers(outputs * 9 * channels).iter().map(|w| w * scale).collect();
                let values = block(runtime, element, &weights);
                let offset = block(runtime, F32, &random.numbers(outputs));
                let out = Layout::plain(2, height, width, outputs);
                let y = block(runtime, element, &vec![0.0; out.len()]);
                let matrix = Matrix {
                    values: values.whole(),
                    element,
                    outputs,
                    inputs: channels,
                    kernel: 3,
                    gated: false,
                };
                let kernel = Kernel::Conv {
                    x: View::of(&x.whole(), element, from).unwrap(),
                    matrix,
                    offset: Some(offset.whole()),
                    sampling,
                    residual: None,
                    y: View::of(&y.whole(), element, out).unwrap(),
                };
                (kernel, y)
            });
        }
    }
}

#[test]
fn attention() {
    for (queries, keys, depth, causal) in [
        (130, 77, 40, false),
        (77, 77, 64, true),
        (65, 130, 80, false),
        (64, 64, 160, false),
        (40, 70, 512, false),
    ] {
        for element in [F16, F32] {
            compare("attention", element, if element == F16 { 3e-3 } else { 1e-4 }, &|runtime| {
                let mut random = Random(3);
                let heads = if depth == 512 { 1 } else { 2 };
                let channels = heads * depth;
                let mut image = |tokens: usize| {
                    let layout = Layout::tokens(2, tokens, channels);
                    let memory = block(runtime, element, &random.numbers(layout.len()));
                    (View::of(&memory.whole(), element, layout).unwrap(), memory)
                };
                let (q, k, v) = (image(queries).0, image(keys).0, image(keys).0);
                let (y, memory) = image(queries);
                (Kernel::Attention { q, k, v, heads, causal, y }, memory)
            });
        }
    }
}

#[test]
fn norms() {
    for (channels, groups) in [(320, 32), (64, 32), (40, 4)] {
        for element in [F16, F32] {
            let error = if element == F16 { 2e-3 } else { 1e-4 };
            let operands = |runtime: &dyn Runtime, border| {
                let mut random = Random(4);
                let (from, to) = (
                    Layout::plain(2, 13, 11, channels),
                    Layout { border, ..Layout::plain(2, 13, 11, channels) },
                );
                let x = block(runtime, element, &random.numbers(from.len()));
                let (weight, bias) = (
                    block(runtime, F32, &random.numbers(channels)),
                    block(runtime, F32, &random.numbers(channels)),
                );
                let y = block(runtime, element, &vec![0.0; to.len()]);
                let views = [
                    View::of(&x.whole(), element, from).unwrap(),
                    View::of(&y.whole(), element, to).unwrap(),
                ];
                (views, weight.whole(), bias.whole(), y)
            };
            compare("group norm", element, error, &|runtime| {
                let ([x, y], weight, bias, memory) = operands(runtime, 1);
                let activation = Activation::Silu;
                (Kernel::GroupNorm { x, weight, bias, groups, epsilon: 1e-5, activation, y }, memory)
            });
            compare("layer norm", element, error, &|runtime| {
                let ([x, y], weight, bias, memory) = operands(runtime, 0);
                (Kernel::LayerNorm { x, weight, bias, epsilon: 1e-5, y }, memory)
            });
        }
    }
}

#[test]
fn merges() {
    for element in [F16, F32] {
        compare("merge", element, if element == F16 { 1e-3 } else { 1e-5 }, &|runtime| {
            let (mut random, rows, columns, rank) = (Random(5), 96, 72, 8);
            let pristine = block(runtime, element, &random.numbers(rows * columns));
            let effective = block(runtime, element, &vec![0.0; rows * columns]);
            let up = block(runtime, F32, &random.numbers(32 * rank)).whole();
            let down = block(runtime, F32, &random.numbers(rank * columns)).whole();
            let dense = block(runtime, F32, &random.numbers(32 * columns)).whole();
            let changes = vec![
                Change { first: 16, rows: 32, delta: Delta::LowRank { up, down, rank }, strength: 0.5 },
                Change { first: 40, rows: 32, delta: Delta::Dense(dense), strength: -0.25 },
            ];
            let (from, to) = (pristine.whole(), effective.whole());
            (Kernel::Merge { pristine: from, effective: to, element, rows, columns, changes }, effective)
        });
    }
}
