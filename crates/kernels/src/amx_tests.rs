//! The instructions against f64, and whole layers against those of AVX-512, through the interpreter if need be.

use half::bf16;

use crate::amx::{available, emulator, multiply};
use crate::{
    Algorithm, Attention, Dtype, Epilogue, Image, ImageMut, Isa, Layout, PackedConv3x3, PackedLinear,
    Sampling, attention, conv3x3, linear,
};

fn numbers(len: usize, seed: u64) -> Vec<bf16> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bf16::from_f32((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
    };
    (0..len).map(|_| next()).collect()
}

fn prepare() {
    if !available() {
        emulator::install();
    }
}

#[test]
fn tiles_of_all_shapes() {
    prepare();
    for rows in [1, 15, 16, 17, 31, 32, 33, 50, 64, 75] {
        for width in [16, 32, 48, 64] {
            for (taps, depth, first) in [(1, 32, true), (3, 64, true), (9, 32, false)] {
                let a_stride = depth + 6;
                let offsets: Vec<isize> = (0..taps).map(|tap| tap * 2 * a_stride as isize).collect();
                let a = numbers((rows + 2 * taps as usize) * a_stride, 1);
                let b = numbers(taps as usize * depth * width, 2);
                let c_stride = width + 3;
                let mut c = vec![0.5f32; rows * c_stride];
                // SAFETY: the buffers are as long as the product needs.
                unsafe {
                    let (a, c) = ((a.as_ptr(), a_stride), (c.as_mut_ptr(), c_stride));
                    multiply(rows, width, a, &offsets, depth, b.as_ptr(), c, first);
                }
                for row in 0..rows {
                    for column in 0..c_stride {
                        let got = f64::from(c[row * c_stride + column]);
                        if column >= width {
                            assert_eq!(got, 0.5, "beside the sums");
                            continue;
                        }
                        let mut wanted = if first { 0.0 } else { 0.5 };
                        for (tap, offset) in offsets.iter().enumerate() {
                            for k in 0..depth {
                                let x = a[row * a_stride + *offset as usize + k].to_f64();
                                let pair = (tap * depth + k) / 2;
                                wanted += x * b[(pair * width + column) * 2 + k % 2].to_f64();
                            }
                        }
                        assert!(
                            (got - wanted).abs() < 1e-4,
                            "{rows} × {width}, {taps} taps: {got} instead of {wanted}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn layers_are_those_of_avx512() {
    if !Isa::available().contains(&Isa::Avx512Bf16) {
        return;
    }
    prepare();
    let weights: Vec<f32> = numbers(96 * 64 * 9, 3).iter().map(|x| x.to_f32()).collect();
    let (rows, from) = (Layout::tokens(1, 45, 64), Layout::bordered(1, 6, 7, 64));
    let x = numbers(rows.len().max(from.len()), 4);
    let run = || {
        let mut out = vec![0.0f32; 45 * 96 + 6 * 7 * 96];
        let (tokens, image) = out.split_at_mut(45 * 96);
        let packed = PackedLinear::stack_as(Dtype::Bf16, &[&weights[..96 * 64]], 64);
        let to = ImageMut::new(tokens, Layout::tokens(1, 45, 96));
        linear(Image::new(&x[..rows.len()], rows), &packed, &Epilogue::default(), to);
        let packed = PackedConv3x3::pack_as(Dtype::Bf16, &weights, 64);
        let to = ImageMut::new(image, Layout::plain(1, 6, 7, 96));
        let x = Image::new(&x[..from.len()], from);
        conv3x3(x, &packed, Sampling::Same, Algorithm::Auto, &Epilogue::default(), to);
        out
    };
    let with = Isa::Amx.force(run);
    let without = Isa::Avx512Bf16.run(|| {
        let mut out = run();
        let packed = PackedConv3x3::pack_as(Dtype::Bf16, &weights, 64);
        let to = ImageMut::new(&mut out[45 * 96..], Layout::plain(1, 6, 7, 96));
        let x = Image::new(&x[..from.len()], from);
        conv3x3(x, &packed, Sampling::Same, Algorithm::Direct, &Epilogue::default(), to);
        out
    });
    for (i, (a, b)) in with.iter().zip(&without).enumerate() {
        assert!((a - b).abs() < 1e-3, "{i}: {a} instead of {b}");
    }
}

#[test]
fn attention_is_that_of_avx512() {
    if !Isa::available().contains(&Isa::Avx512Bf16) {
        return;
    }
    prepare();
    // A head of whole tiles and one of parts; fewer keys than a block, and more.
    for (queries, keys, width, options) in [
        (50, 77, 80, Attention::full(2)),
        (20, 150, 64, Attention::full(2)),
        (70, 70, 40, Attention::causal(1)),
        (1, 33, 16, Attention::full(1)),
    ] {
        let (asking, asked) = (Layout::tokens(2, queries, width), Layout::tokens(2, keys, width));
        let q = numbers(asking.len(), 5);
        let (k, v) = (numbers(asked.len(), 6), numbers(asked.len(), 7));
        let run = || {
            let mut out = vec![bf16::ZERO; asking.len()];
            let view = |values| Image::new(values, asked);
            attention(Image::new(&q, asking), view(&k), view(&v), options, ImageMut::new(&mut out, asking));
            out
        };
        let (with, without) = (Isa::Amx.force(run), Isa::Avx512Bf16.run(run));
        for (i, (a, b)) in with.iter().zip(&without).enumerate() {
            let (a, b) = (a.to_f32(), b.to_f32());
            assert!((a - b).abs() < 5e-3, "{queries} × {keys} × {width}, {i}: {a} instead of {b}");
        }
    }
}
