//! Speed of the kernels at the shapes of Stable Diffusion 1.5: `cargo run --release -p adire-kernels --example bench [what …]`.
//!
//! Two times are given, each the best of many: of the wall, and of the clocks of all threads together, which other programs on the
//! machine disturb less. The last column is what one thread does by its own clock.
#![expect(unsafe_code, reason = "a thread's clock, and a loop of nothing but multiplications")]

use std::time::Instant;

use adire_kernels::{
    Activation, Affine, Algorithm, Attention, Buffer, Change, Delta, Dtype, Epilogue, Image, ImageMut, Isa,
    Layout, PackedConv3x3, PackedLinear, Sampling, attention, conv3x3, geglu, group_norm, layer_norm, linear,
};
use half::bf16;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    println!("{}, {} threads, {}", processor(), rayon::current_num_threads(), Isa::current().name());
    println!("{:44} {:>9} {:>9}  {:>7} {:>8}", "", "wall ms", "CPU ms", "GF/s", "a thread");
    peak();
    if runs("linear") {
        for (m, n, k) in [
            (8192, 320, 320),
            (8192, 2560, 320),
            (8192, 320, 1280),
            (2048, 640, 640),
            (2048, 5120, 640),
            (512, 1280, 1280),
            (512, 10240, 1280),
            (512, 1280, 5120),
            (128, 1280, 1280),
            (154, 768, 768),
            (2, 1280, 1280),
        ] {
            for dtype in types() {
                linears(dtype, m, n, k);
            }
        }
    }
    let convolutions = [(64, 320), (32, 640), (16, 1280), (8, 1280)];
    for (name, algorithm) in [
        ("direct", Algorithm::Direct),
        ("winograd2", Algorithm::Winograd2),
        ("winograd4", Algorithm::Winograd4),
        ("conv", Algorithm::Auto),
    ] {
        if runs(name) {
            for (size, channels) in convolutions {
                for dtype in types() {
                    conv(dtype, 2, size, channels, channels, Sampling::Same, algorithm);
                }
            }
        }
    }
    if runs("conv") {
        conv(Dtype::F32, 2, 64, 960, 320, Sampling::Same, Algorithm::Auto);
        conv(Dtype::F32, 2, 64, 320, 320, Sampling::Half, Algorithm::Auto);
        conv(Dtype::F32, 2, 32, 640, 640, Sampling::Double, Algorithm::Auto);
    }
    if runs("vae") {
        conv(Dtype::F32, 1, 256, 256, 256, Sampling::Same, Algorithm::Auto);
        conv(Dtype::F32, 1, 512, 128, 128, Sampling::Same, Algorithm::Auto);
        conv(Dtype::F32, 1, 512, 128, 3, Sampling::Same, Algorithm::Auto);
        conv(Dtype::F32, 1, 64, 4, 512, Sampling::Same, Algorithm::Auto);
    }
    if runs("attention") {
        for (heads, width, queries, keys) in [
            (8, 40, 4096, 4096),
            (8, 40, 4096, 77),
            (8, 80, 1024, 1024),
            (8, 160, 256, 256),
            (1, 512, 4096, 4096),
        ] {
            for dtype in types() {
                attend(dtype, if heads == 1 { 1 } else { 2 }, heads, width, queries, keys);
            }
        }
    }
    if runs("norms") {
        for (size, channels) in [(64, 320), (32, 640), (16, 1280), (64, 960)] {
            norms(size, channels);
        }
        gates();
    }
    if runs("merge") {
        types().into_iter().for_each(merges);
    }
    if runs("pack") {
        let weights = random(1280 * 1280 * 9);
        time("pack 1280×1280×3×3", 0.0, || drop(PackedConv3x3::pack(&weights, 1280)));
        let weights = random(1280 * 10240);
        time("pack 1280×10240", 0.0, || drop(PackedLinear::pack(&weights, 1280)));
    }
}

/// Calls `$call` with the data as f32, or rounded to bf16.
macro_rules! typed {
    ($dtype:expr, |$($name:ident),*| $call:expr) => {
        match $dtype {
            Dtype::F32 => $call,
            Dtype::Bf16 => {
                $(let $name = halves(&$name);)*
                $call
            }
        }
    };
}

fn types() -> [Dtype; 2] {
    [Dtype::F32, Dtype::Bf16]
}

fn linears(dtype: Dtype, m: usize, n: usize, k: usize) {
    let (x, weights, bias, out) = (random(m * k), random(n * k), random(n), Buffer::<f32>::new(m * n));
    let packed = PackedLinear::stack_as(dtype, &[&weights], k);
    typed!(dtype, |x, out| {
        let mut out = out;
        time(&format!("{dtype:?} linear {m} × {k} → {n}"), 2.0 * (m * n * k) as f64, || {
            let view = Image::new(&x, Layout::tokens(1, m, k));
            linear(view, &packed, &Epilogue::bias(&bias), ImageMut::new(&mut out, Layout::tokens(1, m, n)));
        });
    });
}

fn conv(
    dtype: Dtype,
    batch: usize,
    size: usize,
    inputs: usize,
    outputs: usize,
    sampling: Sampling,
    algorithm: Algorithm,
) {
    let layout = Layout::bordered(batch, size, size, inputs);
    let mut x = Buffer::<f32>::new(layout.len());
    let values = random(layout.len());
    for pixel in 0..layout.pixels() {
        let at = layout.offset(pixel);
        x[at..][..inputs].copy_from_slice(&values[at..][..inputs]);
    }
    let packed = PackedConv3x3::pack_as(dtype, &random(outputs * inputs * 9), inputs);
    let (height, width) = sampling.size(size, size);
    let to = Layout::plain(batch, height, width, outputs);
    let mut out = Buffer::<f32>::new(to.len());
    let flops = 2.0 * (to.pixels() * inputs * outputs * 9) as f64;
    typed!(dtype, |x| {
        time(
            &format!("{dtype:?} {algorithm:?} {sampling:?} {batch}×{size}² {inputs} → {outputs}"),
            flops,
            || {
                let view = Image::new(&x, layout);
                conv3x3(
                    view,
                    &packed,
                    sampling,
                    algorithm,
                    &Epilogue::default(),
                    ImageMut::new(&mut out, to),
                );
            },
        );
    });
}

fn attend(dtype: Dtype, batch: usize, heads: usize, width: usize, queries: usize, keys: usize) {
    let channels = heads * width;
    let (q, kv) = (random(batch * queries * channels), random(batch * keys * 2 * channels));
    let out = Buffer::<f32>::new(q.len());
    let flops = 4.0 * (batch * heads * queries * keys * width) as f64;
    typed!(dtype, |q, kv, out| {
        let mut out = out;
        time(
            &format!("{dtype:?} attention {batch}×{heads}×{queries}×{width}, {keys} keys"),
            flops,
            || {
                let both = Image::new(&kv, Layout::tokens(batch, keys, 2 * channels));
                let (k, v) = (both.channels(0..channels), both.channels(channels..2 * channels));
                let layout = Layout::tokens(batch, queries, channels);
                attention(
                    Image::new(&q, layout),
                    k,
                    v,
                    Attention::full(heads),
                    ImageMut::new(&mut out, layout),
                );
            },
        );
    });
}

fn halves(from: &Buffer<f32>) -> Buffer<bf16> {
    let mut to = Buffer::new(from.len());
    for (to, from) in to.iter_mut().zip(from.iter()) {
        *to = bf16::from_f32(*from);
    }
    to
}

fn norms(size: usize, channels: usize) {
    let layout = Layout::plain(2, size, size, channels);
    let (x, weight, bias) = (random(layout.len()), random(channels), random(channels));
    let affine = Affine { weight: &weight, bias: &bias, epsilon: 1e-5 };
    let to = Layout { border: 1, ..layout };
    let mut out = Buffer::<f32>::new(to.len());
    time(&format!("group norm + SiLU 2×{size}²×{channels}"), 0.0, || {
        group_norm(&[Image::new(&x, layout)], 32, affine, Activation::Silu, ImageMut::new(&mut out, to));
    });
    time(&format!("layer norm {}×{channels}", layout.pixels()), 0.0, || {
        layer_norm(Image::new(&x, layout), affine, ImageMut::new(&mut out, layout));
    });
}

fn gates() {
    let (x, mut out) = (random(8192 * 2560), Buffer::<f32>::new(8192 * 1280));
    time("GEGLU alone 8192×(2·1280)", 0.0, || {
        geglu(
            Image::new(&x, Layout::tokens(1, 8192, 2560)),
            ImageMut::new(&mut out, Layout::tokens(1, 8192, 1280)),
        );
    });
    let (x, weights, bias) = (random(8192 * 320), random(2560 * 320), random(2560));
    let packed = PackedLinear::gated(&weights, 320);
    time("linear 8192 × 320 → 2560 with GEGLU", 2.0 * 8192.0 * 320.0 * 2560.0, || {
        let to = Layout::tokens(1, 8192, 1280);
        linear(
            Image::new(&x, Layout::tokens(1, 8192, 320)),
            &packed,
            &Epilogue::bias(&bias),
            ImageMut::new(&mut out, to),
        );
    });
}

/// The attention layers of SD 1.5: 128 linears of 93.5 million weights.
fn merges(dtype: Dtype) {
    let mut layers = vec![];
    for (channels, blocks) in [(320, 5), (640, 5), (1280, 6)] {
        for _ in 0..blocks {
            for inputs in [channels, channels, channels, channels, channels, 768, 768, channels] {
                let pristine = PackedLinear::stack_as(dtype, &[&random(channels * inputs)], inputs);
                let (up, down) = (random(channels * 16), random(16 * inputs));
                layers.push((pristine.clone(), pristine, up, down));
            }
        }
    }
    time(&format!("{dtype:?} merge rank 16 into 128 linears"), 0.0, || {
        use rayon::prelude::*;
        layers.par_iter_mut().for_each(|(effective, pristine, up, down)| {
            let delta = Delta::LowRank { up, down, rank: 16, strength: 0.8 };
            effective.merge(pristine, &[Change { first: 0, outputs: pristine.outputs(), delta }]);
        });
    });
}

fn random(len: usize) -> Buffer<f32> {
    let mut state = 1u64;
    let mut out = Buffer::new(len);
    for x in out.iter_mut() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *x = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
    }
    out
}

/// Prints the best times of many runs in 0.7 s.
fn time(name: &str, flops: f64, mut run: impl FnMut()) {
    run();
    let (mut wall, mut cpu, begin) = (f64::MAX, f64::MAX, Instant::now());
    let mut runs = 0;
    while runs < 3 || begin.elapsed().as_secs_f64() < 0.7 {
        let before = clocks();
        let start = Instant::now();
        run();
        wall = wall.min(start.elapsed().as_secs_f64());
        let after = clocks();
        cpu = cpu.min(before.iter().zip(&after).map(|(a, b)| b - a).sum::<f64>());
        runs += 1;
    }
    let rate =
        |seconds: f64| if flops > 0.0 { format!("{:7.1}", flops / seconds / 1e9) } else { String::new() };
    println!("{name:44} {:9.3} {:9.3}  {:>7} {:>8}", wall * 1e3, cpu * 1e3, rate(wall), rate(cpu));
}

/// Seconds that each thread of the pool, and this one, has computed.
fn clocks() -> Vec<f64> {
    let mut all = rayon::broadcast(|_| thread_clock());
    all.push(thread_clock());
    all
}

#[cfg(target_os = "linux")]
fn thread_clock() -> f64 {
    #[repr(C)]
    struct Time {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Time) -> i32;
    }
    let mut time = Time { seconds: 0, nanoseconds: 0 };
    // SAFETY: it writes one `timespec`; 3 is the thread's CPU time.
    unsafe { clock_gettime(3, &mut time) };
    time.seconds as f64 + time.nanoseconds as f64 * 1e-9
}

#[cfg(not(target_os = "linux"))]
fn thread_clock() -> f64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// What one thread's registers could do, with nothing to load.
#[cfg(target_arch = "x86_64")]
fn peak() {
    const LOOPS: usize = 100_000;
    macro_rules! run {
        ($register:literal, $lanes:literal) => {{
            let mut best = f64::MAX;
            for _ in 0..50 {
                let start = thread_clock();
                // SAFETY: registers only, named as clobbered; the instruction set was detected.
                unsafe {
                    std::arch::asm!(
                        "2:",
                        concat!("vfmadd231ps ", $register, "0,", $register, "12,", $register, "13"),
                        concat!("vfmadd231ps ", $register, "1,", $register, "12,", $register, "13"),
                        concat!("vfmadd231ps ", $register, "2,", $register, "12,", $register, "13"),
                        concat!("vfmadd231ps ", $register, "3,", $register, "12,", $register, "13"),
                        concat!("vfmadd231ps ", $register, "4,", $register, "12,", $register, "13"),
                        concat!("vfmadd231ps ", $register, "5,", $register, "12,", $register, "13"),
                        concat!("vfmadd231ps ", $register, "6,", $register, "12,", $register, "13"),
                        concat!("vfmadd231ps ", $register, "7,", $register, "12,", $register, "13"),
                        concat!("vfmadd231ps ", $register, "8,", $register, "12,", $register, "13"),
                        concat!("vfmadd231ps ", $register, "9,", $register, "12,", $register, "13"),
                        "dec {n}", "jnz 2b", n = inout(reg) LOOPS => _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _,
                        out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm12") _, out("xmm13") _,
                    );
                }
                best = best.min(thread_clock() - start);
            }
            println!("one thread's limit: {:.1} GF/s", (LOOPS * 10 * 2 * $lanes) as f64 / best / 1e9);
        }};
    }
    match Isa::current() {
        Isa::Avx512 | Isa::Avx512Bf16 => run!("zmm", 16),
        Isa::Avx2 => run!("ymm", 8),
        _ => {}
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn peak() {}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(": ").nth(1)).unwrap_or("?").to_owned()
    };
    format!(
        "{}, family {} model {}, {} MHz",
        field("model name"),
        field("cpu family"),
        field("model\t"),
        field("cpu MHz")
    )
}
