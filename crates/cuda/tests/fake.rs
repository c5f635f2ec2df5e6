//! The fake GPU: what it computes, and what it refuses.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use adire_cuda::{Change, Delta, Element, Error, Fake, Kernel, Matrix, Memory, Runtime, Span, View};
use adire_kernels::{Activation, Layout, Sampling};

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn put(gpu: &Fake, values: &[f32]) -> Span {
    let span = gpu.allocate(4 * values.len()).unwrap().whole();
    gpu.upload(&bytes(values), &span).unwrap();
    span
}

fn get(gpu: &Fake, span: &Span) -> Vec<f32> {
    let mut bytes = vec![0; span.len()];
    gpu.download(span, &mut bytes).unwrap();
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn view(gpu: &Fake, layout: Layout, element: Element) -> View {
    let memory = gpu.allocate(layout.len() * element.bytes()).unwrap();
    View::new(&memory, 0, element, layout).unwrap()
}

/// An image of planes, in memory of its own.
fn image(gpu: &Fake, planes: &[f32], layout: Layout, element: Element) -> View {
    let y = view(gpu, layout, element);
    gpu.launch(&Kernel::FromPlanes { planes: put(gpu, planes), y: y.clone() }).unwrap();
    y
}

fn planes(gpu: &Fake, x: &View) -> Vec<f32> {
    let planes = gpu.allocate(4 * x.layout().pixels() * x.layout().channels).unwrap().whole();
    gpu.launch(&Kernel::ToPlanes { x: x.clone(), planes: planes.clone() }).unwrap();
    get(gpu, &planes)
}

fn matrix(values: Span, inputs: usize, kernel: usize) -> Matrix {
    let outputs = values.len() / 4 / inputs / (kernel * kernel);
    Matrix { values, element: Element::F32, outputs, inputs, kernel, gated: false }
}

fn message(result: Result<(), Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn work_happens_in_the_order_in_which_it_was_given() {
    let gpu = Fake::default();
    let span = put(&gpu, &[1.0, 2.0]);
    let table = put(&gpu, &[1.0, 2.0, 3.0, 4.0]);
    let index = gpu.allocate(4).unwrap().whole();
    gpu.upload(&1i32.to_le_bytes(), &index).unwrap();
    gpu.launch(&Kernel::SelectRow { table: table.clone(), rows: 2, index: index.clone(), y: span.clone() })
        .unwrap();
    gpu.upload(&bytes(&[7.0; 4]), &table).unwrap();
    gpu.upload(&9i32.to_le_bytes(), &index).unwrap();
    assert_eq!(get(&gpu, &span), [3.0, 4.0]);
    gpu.launch(&Kernel::SelectRow { table, rows: 2, index, y: span.clone() }).unwrap();
    assert_eq!(get(&gpu, &span), [7.0, 7.0], "a number outside is the last row's");
}

#[test]
fn memory_that_nobody_has_written_is_not_a_number() {
    let gpu = Fake::default();
    assert!(get(&gpu, &gpu.allocate(8).unwrap().whole()).iter().all(|value| value.is_nan()));
    let x = view(&gpu, Layout::plain(1, 2, 2, 3), Element::F16);
    assert!(planes(&gpu, &x).iter().all(|value| value.is_nan()));
}

#[test]
fn numbers_are_rounded_to_what_they_are_stored_as() {
    let gpu = Fake::default();
    let given = [1.0, 1.000_1, 1.000_6, 70_000.0, 1e-9, -0.333_333_34];
    let x = image(&gpu, &given, Layout::plain(1, 1, 6, 1), Element::F16);
    assert_eq!(planes(&gpu, &x), [1.0, 1.0, 1.000_976_6, f32::INFINITY, 0.0, -0.333_251_95]);
    let x = image(&gpu, &given, Layout::plain(1, 1, 6, 1), Element::F32);
    assert_eq!(planes(&gpu, &x), given);
}

#[test]
fn a_convolution_sees_zeros_around_the_image_and_nothing_else() {
    let gpu = Fake::default();
    let x = image(&gpu, &[1.0, 2.0, 3.0, 4.0], Layout::bordered(1, 2, 2, 1), Element::F32);
    let matrix = matrix(put(&gpu, &[1.0; 9]), 1, 3);
    let conv = |x: &View, sampling, y: &View| Kernel::Conv {
        x: x.clone(),
        matrix: matrix.clone(),
        offset: None,
        sampling,
        residual: None,
        y: y.clone(),
    };
    let y = view(&gpu, Layout::plain(1, 2, 2, 1), Element::F32);
    gpu.launch(&conv(&x, Sampling::Same, &y)).unwrap();
    assert_eq!(planes(&gpu, &y), [10.0; 4]);
    let y = view(&gpu, Layout::plain(1, 1, 1, 1), Element::F32);
    gpu.launch(&conv(&x, Sampling::HalfBottomRight, &y)).unwrap();
    assert_eq!(planes(&gpu, &y), [10.0]);
    assert!(message(gpu.launch(&conv(&x, Sampling::Double, &y))).contains("a convolution, Double"));
    let y = view(&gpu, Layout::plain(1, 4, 4, 1), Element::F32);
    gpu.launch(&conv(&x, Sampling::Double, &y)).unwrap();
    assert_eq!(planes(&gpu, &y)[..8], [4.0, 8.0, 10.0, 8.0, 10.0, 18.0, 21.0, 16.0]);
    // A border that nobody has cleared.
    let x = view(&gpu, Layout::bordered(1, 4, 4, 1), Element::F32);
    gpu.launch(&conv(&x, Sampling::Same, &y)).unwrap();
    assert!(message(gpu.synchronise()).contains("a border that is not zero"));
    // A GPU that has failed once fails for good.
    assert!(gpu.synchronise().is_err());
}

#[test]
fn what_is_written_may_not_be_read_elsewhere() {
    let gpu = Fake::default();
    let memory = gpu.allocate(1 << 10).unwrap();
    let layout = Layout::plain(1, 4, 4, 8);
    let part = |first: usize, channels: usize| {
        View::new(&memory, 4 * first, Element::F32, layout.with_channels(channels)).unwrap()
    };
    let weights = put(&gpu, &[0.5; 16]);
    let linear = |x: View, residual: Option<View>, y: View| {
        let matrix = matrix(weights.clone(), x.layout().channels, 1);
        Kernel::Linear { x, matrix, bias: None, activation: Activation::Identity, residual, y }
    };
    assert!(gpu.launch(&linear(part(0, 4), None, part(4, 4))).is_ok());
    assert!(gpu.launch(&linear(part(0, 4), Some(part(4, 4)), part(4, 4))).is_ok());
    for (x, residual, y) in [
        (part(0, 4), None, part(3, 4)),
        (part(0, 4), None, part(0, 4)),
        (part(0, 4), Some(part(3, 4)), part(4, 4)),
    ] {
        assert!(message(gpu.launch(&linear(x, residual, y))).contains("a view is written where it is read"));
    }
    let span = memory.span(0..64).unwrap();
    let kernel = Kernel::ToPlanes { x: part(0, 1), planes: span };
    assert!(message(gpu.launch(&kernel)).contains("is written where it is read"));
}

#[test]
fn shapes_that_do_not_fit_are_refused_before_anything_runs() {
    let gpu = Fake::default();
    let view = |layout| view(&gpu, layout, Element::F16);
    let vector = |count: usize| put(&gpu, &vec![1.0; count]);
    let (x, y) = (view(Layout::plain(1, 2, 2, 6)), view(Layout::plain(1, 2, 2, 6)));
    let norm = |groups, count| Kernel::GroupNorm {
        x: x.clone(),
        weight: vector(count),
        bias: vector(6),
        groups,
        epsilon: 1e-5,
        activation: Activation::Silu,
        y: y.clone(),
    };
    assert!(gpu.launch(&norm(3, 6)).is_ok());
    assert!(message(gpu.launch(&norm(4, 6))).contains("4 groups of 6"));
    assert!(message(gpu.launch(&norm(3, 5))).contains("a vector of 6"));
    let attention = |heads| Kernel::Attention {
        q: x.clone(),
        k: x.clone(),
        v: x.clone(),
        heads,
        causal: false,
        y: y.clone(),
    };
    assert!(gpu.launch(&attention(2)).is_ok());
    assert!(gpu.launch(&attention(4)).is_err() && gpu.launch(&attention(0)).is_err());
    let three = view(Layout::plain(3, 1, 1, 1));
    assert!(gpu.launch(&Kernel::Repeat { x: three }).is_err());
    let other = Fake::default();
    assert!(message(other.launch(&norm(3, 6))).contains("memory of another device"));
    assert_eq!(gpu.counts().launches, 2);
}

#[test]
fn a_graph_is_recorded_once_and_reads_what_lies_there_then() {
    let gpu = Fake::default();
    let planes_in = put(&gpu, &[1.0, 2.0]);
    let y = view(&gpu, Layout::plain(1, 1, 2, 1), Element::F16);
    let kernel = Kernel::FromPlanes { planes: planes_in.clone(), y: y.clone() };
    let record = || gpu.record(&mut || gpu.launch(&kernel));
    assert!(record().unwrap_err().to_string().contains("never launched"));
    gpu.launch(&kernel).unwrap();
    let graph = record().unwrap();
    assert_eq!(graph.kernels(), 1);
    gpu.upload(&bytes(&[5.0, 6.0]), &planes_in).unwrap();
    assert_eq!(planes(&gpu, &y), [1.0, 2.0], "recording runs nothing");
    gpu.replay(&graph).unwrap();
    assert_eq!(planes(&gpu, &y), [5.0, 6.0]);
    let inside = |work: &dyn Fn() -> Result<(), Error>| gpu.record(&mut || work()).map(drop);
    assert!(message(inside(&|| gpu.allocate(4).map(drop))).contains("being recorded"));
    assert!(message(inside(&|| gpu.upload(&[0; 8], &planes_in))).contains("being recorded"));
    assert!(message(inside(&|| gpu.synchronise())).contains("being recorded"));
    assert!(
        message(inside(&|| std::thread::scope(|scope| {
            scope.spawn(|| gpu.launch(&kernel)).join().unwrap()
        })))
        .contains("another thread")
    );
    assert!(message(Fake::default().replay(&graph)).contains("another device"));
    assert!(gpu.synchronise().is_ok());
}

#[test]
fn memory_lives_as_long_as_what_uses_it() {
    let gpu = Fake::with_memory(1 << 10);
    let planes_in = put(&gpu, &[1.0]);
    let y = view(&gpu, Layout::plain(1, 1, 1, 1), Element::F32);
    let kernel = Kernel::FromPlanes { planes: planes_in, y: y.clone() };
    gpu.launch(&kernel).unwrap();
    let graph = gpu.record(&mut || gpu.launch(&kernel)).unwrap();
    drop((kernel, y));
    assert_eq!(gpu.used(), 8);
    gpu.replay(&graph).unwrap();
    gpu.synchronise().unwrap();
    drop(graph);
    assert_eq!(gpu.used(), 0);
    let error = gpu.allocate(2000).unwrap_err();
    assert_eq!(error, Error::OutOfMemory { needed: 2000, free: 1024 });
    let held: Memory = gpu.allocate(1000).unwrap();
    assert!(gpu.allocate(1000).is_err());
    drop(held);
    assert!(gpu.allocate(1000).is_ok());
}

#[test]
fn a_merge_begins_with_the_pristine_matrix() {
    let gpu = Fake::default();
    let pristine = put(&gpu, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let effective = gpu.allocate(24).unwrap().whole();
    let low = |strength| Change {
        first: 1,
        rows: 2,
        delta: Delta::LowRank { up: put(&gpu, &[1.0, 10.0]), down: put(&gpu, &[1.0, -1.0]), rank: 1 },
        strength,
    };
    let dense = Change { first: 0, rows: 1, delta: Delta::Dense(put(&gpu, &[0.5, 0.25])), strength: 2.0 };
    let merge = |changes: Vec<Change>| {
        let (pristine, effective) = (pristine.clone(), effective.clone());
        gpu.launch(&Kernel::Merge {
            pristine,
            effective,
            element: Element::F32,
            rows: 3,
            columns: 2,
            changes,
        })
    };
    merge(vec![low(1.0), dense]).unwrap();
    assert_eq!(get(&gpu, &effective), [2.0, 2.5, 4.0, 3.0, 15.0, -4.0]);
    merge(vec![low(0.5)]).unwrap();
    assert_eq!(get(&gpu, &effective), [1.0, 2.0, 3.5, 3.5, 10.0, 1.0]);
    merge(Vec::new()).unwrap();
    assert_eq!(get(&gpu, &effective), get(&gpu, &pristine));
    let beyond = Change { first: 2, ..low(1.0) };
    assert!(message(merge(vec![beyond])).contains("beyond 3 rows"));
    assert!(message(merge(vec![low(1.0); 33])).contains("33 changes"));
}

#[test]
fn errors_say_why_and_what_to_do() {
    let none = Error::NoSuchDevice { count: 2 }.to_string();
    assert_eq!(none, "GPU not found; this machine has 2 GPUs, cuda:0 to cuda:1");
    let memory = Error::OutOfMemory { needed: 3_000_000_000, free: 1_000_000 }.to_string();
    assert!(memory.starts_with("not enough GPU memory: 3000 MB needed, 1 MB free"));
    if !cfg!(feature = "cuda") {
        assert_eq!(adire_cuda::open(0).unwrap_err(), Error::NotBuilt);
    }
}
