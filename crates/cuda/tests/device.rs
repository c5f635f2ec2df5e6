//! The GPU of this machine against the fake one, kernel by kernel; without a GPU there is nothing to compare. With an archive of
//! emulated kernels the same tests run on the CPU.
#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use adire_cuda::{Change, Delta, Element, Error, Fake, Kernel, Matrix, Runtime, Span, View};
use adire_kernels::{Activation, Layout, Sampling};

fn devices() -> Option<[Arc<dyn Runtime>; 2]> {
    match adire_cuda::open(0) {
        Ok(gpu) => Some([gpu, Arc::new(Fake::default())]),
        Err(error) => {
            // tools/device runs them where there must be one.
            assert!(std::env::var_os("ADIRE_NEEDS_GPU").is_none(), "no GPU: {error}");
            eprintln!("no GPU: {error}");
            None
        }
    }
}

/// Numbers between −1 and 1, always the same.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f64::from(state) / f64::from(u32::MAX) * 2.0 - 1.0
    };
    (0..count).map(|_| next() as f32).collect()
}

fn put(gpu: &dyn Runtime, values: &[f32], element: Element) -> Span {
    let bytes = element.encode(values);
    let span = gpu.allocate(bytes.len()).unwrap().whole();
    gpu.upload(&bytes, &span).unwrap();
    span
}

fn get(gpu: &dyn Runtime, span: &Span) -> Vec<f32> {
    let mut bytes = vec![0; span.len()];
    gpu.download(span, &mut bytes).unwrap();
    Element::F32.decode(&bytes)
}

fn empty(gpu: &dyn Runtime, layout: Layout, element: Element) -> View {
    View::new(&gpu.allocate(layout.len() * element.bytes()).unwrap(), 0, element, layout).unwrap()
}

fn image(gpu: &dyn Runtime, layout: Layout, element: Element, seed: u32) -> View {
    let y = empty(gpu, layout, element);
    let planes = put(gpu, &numbers(layout.pixels() * layout.channels, seed), Element::F32);
    gpu.launch(&Kernel::FromPlanes { planes, y: y.clone() }).unwrap();
    y
}

fn planes(gpu: &dyn Runtime, x: &View) -> Vec<f32> {
    let planes = gpu.allocate(4 * x.layout().pixels() * x.layout().channels).unwrap().whole();
    gpu.launch(&Kernel::ToPlanes { x: x.clone(), planes: planes.clone() }).unwrap();
    get(gpu, &planes)
}

/// Launches on both, twice and as a graph, and compares results.
fn compare(what: &str, element: Element, work: impl Fn(&dyn Runtime) -> (Kernel, View)) {
    let Some(devices) = devices() else { return };
    let [found, expected] = devices.map(|gpu| {
        let (kernel, y) = work(&*gpu);
        gpu.launch(&kernel).unwrap();
        let once = planes(&*gpu, &y);
        let in_place = matches!(&kernel, Kernel::Linear { residual: Some(_), .. });
        if !in_place {
            let graph = gpu.record(&mut || gpu.launch(&kernel)).unwrap();
            assert_eq!(graph.kernels(), 1);
            gpu.replay(&graph).unwrap();
            assert!(planes(&*gpu, &y) == once, "{what}: not the same again");
        }
        once
    });
    let bar = if element == Element::F32 { 1e-5 } else { 4e-3 };
    let most = expected.iter().fold(0f32, |most, value| most.max(value.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= bar * most, "{what} {element:?}: {found} and {expected}");
    }
}

const ELEMENTS: [Element; 2] = [Element::F32, Element::F16];

#[test]
fn norms() {
    for element in ELEMENTS {
        compare("group norm", element, |gpu| {
            let x = image(gpu, Layout::plain(2, 5, 3, 24), element, 1);
            let y = empty(gpu, Layout::bordered(2, 5, 3, 24), element);
            let [weight, bias] = [2, 3].map(|seed| put(gpu, &numbers(24, seed), Element::F32));
            let activation = Activation::Silu;
            (Kernel::GroupNorm { x, weight, bias, groups: 4, epsilon: 1e-5, activation, y: y.clone() }, y)
        });
        compare("layer norm", element, |gpu| {
            let x = image(gpu, Layout::tokens(2, 7, 40), element, 1);
            let y = empty(gpu, Layout::tokens(2, 7, 40), element);
            let [weight, bias] = [2, 3].map(|seed| put(gpu, &numbers(40, seed), Element::F32));
            (Kernel::LayerNorm { x, weight, bias, epsilon: 1e-5, y: y.clone() }, y)
        });
    }
}

#[test]
fn products() {
    for element in ELEMENTS {
        for gated in [false, true] {
            compare("linear", element, |gpu| {
                let x = image(gpu, Layout::tokens(2, 9, 40), element, 1);
                let outputs = if gated { 96 } else { 48 };
                let y = image(gpu, Layout::tokens(2, 9, 48), element, 4);
                let values = put(gpu, &numbers(outputs * 40, 2), element);
                let matrix = Matrix { values, element, outputs, inputs: 40, kernel: 1, gated };
                let bias = Some(put(gpu, &numbers(outputs, 3), Element::F32));
                let activation = if gated { Activation::Identity } else { Activation::QuickGelu };
                let residual = Some(y.clone());
                (Kernel::Linear { x, matrix, bias, activation, residual, y: y.clone() }, y)
            });
        }
        for sampling in [Sampling::Same, Sampling::Half, Sampling::HalfBottomRight, Sampling::Double] {
            compare("convolution", element, |gpu| {
                let x = image(gpu, Layout::bordered(2, 6, 4, 16), element, 1);
                let (height, width) = sampling.size(6, 4);
                let layout = Layout::plain(2, height, width, 24);
                let y = empty(gpu, layout, element);
                let values = put(gpu, &numbers(24 * 9 * 16, 2), element);
                let matrix = Matrix { values, element, outputs: 24, inputs: 16, kernel: 3, gated: false };
                let offset = Some(put(gpu, &numbers(24, 3), Element::F32));
                let residual = Some(image(gpu, layout, element, 4));
                (Kernel::Conv { x, matrix, offset, sampling, residual, y: y.clone() }, y)
            });
        }
    }
}

#[test]
fn attention_and_copies() {
    for element in ELEMENTS {
        for causal in [false, true] {
            compare("attention", element, |gpu| {
                let [q, k, v] = [1, 2, 3].map(|seed| image(gpu, Layout::tokens(2, 11, 80), element, seed));
                let y = empty(gpu, Layout::tokens(2, 11, 80), element);
                (Kernel::Attention { q, k, v, heads: 2, causal, y: y.clone() }, y)
            });
        }
        compare("resize", element, |gpu| {
            let x = image(gpu, Layout::plain(1, 3, 5, 8), element, 1);
            let y = empty(gpu, Layout::bordered(1, 7, 9, 8), element);
            (Kernel::Resize { x, y: y.clone() }, y)
        });
        compare("repeat", element, |gpu| {
            let x = image(gpu, Layout::plain(2, 3, 5, 8), element, 1);
            (Kernel::Repeat { x: x.clone() }, x)
        });
    }
}

#[test]
fn rows_and_merges() {
    let Some(devices) = devices() else { return };
    let [found, expected] = devices.map(|gpu| {
        let table = put(&*gpu, &numbers(50, 1), Element::F32);
        let index = gpu.allocate(4).unwrap().whole();
        gpu.upload(&3i32.to_le_bytes(), &index).unwrap();
        let y = gpu.allocate(40).unwrap().whole();
        gpu.launch(&Kernel::SelectRow { table, rows: 5, index, y: y.clone() }).unwrap();
        let mut all = get(&*gpu, &y);
        let pristine = put(&*gpu, &numbers(12 * 20, 2), Element::F32);
        let effective = gpu.allocate(pristine.len()).unwrap().whole();
        let change = |first, rows, delta, strength| Change { first, rows, delta, strength };
        let [up, down, dense] = [(4 * 3, 3), (3 * 20, 4), (2 * 20, 5)]
            .map(|(n, seed)| put(&*gpu, &numbers(n, seed), Element::F32));
        let changes = vec![
            change(2, 4, Delta::LowRank { up, down, rank: 3 }, 0.5),
            change(5, 2, Delta::Dense(dense), -2.0),
        ];
        let merge = |changes| {
            let (pristine, effective) = (pristine.clone(), effective.clone());
            Kernel::Merge { pristine, effective, element: Element::F32, rows: 12, columns: 20, changes }
        };
        gpu.launch(&merge(changes)).unwrap();
        all.extend(get(&*gpu, &effective));
        gpu.launch(&merge(Vec::new())).unwrap();
        assert!(get(&*gpu, &effective) == get(&*gpu, &pristine));
        all
    });
    let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
    assert!(found.len() == expected.len() && found.iter().zip(&expected).all(close));
}

#[test]
fn a_device_refuses_what_the_fake_one_refuses() {
    for gpu in devices().into_iter().flatten() {
        let layout = Layout::plain(1, 1, 2, 8);
        let (x, y) = (image(&*gpu, layout, Element::F32, 1), empty(&*gpu, layout, Element::F32));
        let kernel = Kernel::Resize { x: x.clone(), y };
        let record = |work: &dyn Fn() -> Result<(), Error>| gpu.record(&mut || work()).map(drop).unwrap_err();
        gpu.launch(&kernel).unwrap();
        for error in [
            record(&|| gpu.allocate(4).map(drop)),
            record(&|| gpu.synchronise()),
            record(&|| std::thread::scope(|scope| scope.spawn(|| gpu.launch(&kernel)).join().unwrap())),
            gpu.launch(&Kernel::Resize { x: x.clone(), y: x.clone() }).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Operands(_)), "{error}");
        }
        let graph = gpu.record(&mut || gpu.launch(&kernel)).unwrap();
        drop((kernel, x));
        gpu.replay(&graph).unwrap();
        gpu.synchronise().unwrap();
        assert!(Fake::default().replay(&graph).is_err());
        let memory = gpu.memory().unwrap();
        assert!(memory.free <= memory.total && !gpu.info().name.is_empty());
    }
}
