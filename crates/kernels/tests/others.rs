//! Attention, norms, activations and merges against f64.

#![expect(clippy::single_range_in_vec_init, reason = "an arena's parts are ranges")]

mod common;

use adire_kernels::{
    Activation, Affine, Arena, Attention, Buffer, Change, Delta, Image, ImageMut, Layout, PackedConv3x3,
    PackedLinear, activation, add, attention, clear_border, from_planes, geglu, group_norm, layer_norm,
    to_planes,
};
use common::{Owned, Random, activate, close, on_each_isa, same_on_any_threads};
use proptest::prelude::*;

fn attended(
    q: &Owned,
    k: &Owned,
    v: &Owned,
    options: Attention,
    image: usize,
    query: usize,
    head: usize,
) -> Vec<f64> {
    let (queries, keys) = (q.layout.height * q.layout.width, k.layout.height * k.layout.width);
    let width = q.layout.channels / options.heads;
    let part = head * width..(head + 1) * width;
    let scale = options.scale.map_or(1.0 / (width as f64).sqrt(), f64::from);
    let seen = if options.causal { query + 1 } else { keys };
    let row = &q.pixel(image * queries + query)[part.clone()];
    let dot = |key: usize| -> f64 {
        let other = &k.pixel(image * keys + key)[part.clone()];
        row.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() * scale
    };
    let scores: Vec<f64> = (0..seen).map(dot).collect();
    let max = scores.iter().copied().fold(f64::MIN, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
    let total: f64 = weights.iter().sum();
    let value = |c: usize| {
        weights.iter().enumerate().map(|(key, w)| w * f64::from(v.pixel(image * keys + key)[c])).sum::<f64>()
    };
    part.map(|c| value(c) / total).collect()
}

fn check_attention(
    seed: u64,
    shape: (usize, usize, usize, usize, usize),
    options: Attention,
    gap: usize,
    size: f32,
) {
    let (batch, queries, keys, width, _) = shape;
    let mut random = Random::new(seed);
    let channels = width * options.heads;
    let q = Owned::random(Layout::tokens(batch, queries, channels).with_stride(channels + gap), &mut random);
    let mut k =
        Owned::random(Layout::tokens(batch, keys, channels).with_stride(channels + 2 * gap), &mut random);
    let v = Owned::random(k.layout, &mut random);
    k.data.iter_mut().for_each(|x| *x *= size);
    let mut out = Owned::unwritten(q.layout);
    attention(q.view(), k.view(), v.view(), options, out.view_mut());
    out.check_gaps(false);
    for image in 0..batch {
        for query in 0..queries {
            for head in 0..options.heads {
                let wanted = attended(&q, &k, &v, options, image, query, head);
                let got = &out.pixel(image * queries + query)[head * width..];
                for (got, wanted) in got.iter().zip(wanted) {
                    close(
                        *got,
                        wanted,
                        1e-5 * f64::from(size.max(1.0)),
                        &(shape, options, image, query, head),
                    );
                }
            }
        }
    }
}

fn merged(weights: &[f32], row: usize, changes: &[Change<'_>]) -> Vec<f64> {
    let mut out: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
    for change in changes {
        for output in 0..change.outputs {
            for k in 0..row {
                out[(change.first + output) * row + k] += match change.delta {
                    Delta::LowRank { up, down, rank, strength } => (0..rank)
                        .map(|r| {
                            f64::from(up[output * rank + r])
                                * f64::from(down[r * row + k])
                                * f64::from(strength)
                        })
                        .sum::<f64>(),
                    Delta::Dense { delta, strength } => {
                        f64::from(delta[output * row + k]) * f64::from(strength)
                    }
                };
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn attention_between_sequences(
        seed: u64, batch in 1usize..3, queries in 1usize..120, keys in 1usize..300, width in 1usize..50, heads in 1usize..4,
        gap in 0usize..3, size in prop_oneof![Just(1.0f32), Just(30.0f32)],
    ) {
        on_each_isa(|_| check_attention(seed, (batch, queries, keys, width, heads), Attention::full(heads), gap, size));
    }

    #[test]
    fn causal_attention(seed: u64, batch in 1usize..3, tokens in 1usize..200, width in 1usize..70, heads in 1usize..3) {
        on_each_isa(|_| check_attention(seed, (batch, tokens, tokens, width, heads), Attention::causal(heads), 1, 1.0));
    }

    #[test]
    fn group_norms(
        seed: u64, batch in 1usize..3, height in 1usize..30, width in 1usize..30, groups in 1usize..6,
        sizes in (1usize..5, 1usize..5), borders in (0usize..2, 0usize..2, 0usize..2), gaps in (0usize..3, 0usize..3),
        two: bool, silu: bool, mean in prop_oneof![Just(0.0f32), Just(100.0f32)],
    ) {
        let channels = [groups * sizes.0, groups * sizes.1];
        on_each_isa(|_| {
            let mut random = Random::new(seed);
            let shape = |channels: usize, gap, border| Layout { border, ..Layout::plain(batch, height, width, channels).with_stride(channels + gap) };
            let mut parts = vec![Owned::random(shape(channels[0], gaps.0, borders.0), &mut random)];
            if two { parts.push(Owned::random(shape(channels[1], gaps.1, borders.1), &mut random)); }
            for part in &mut parts { part.data.iter_mut().for_each(|x| *x += mean); }
            let all: usize = parts.iter().map(|p| p.layout.channels).sum();
            let (weight, bias) = (random.numbers(all), random.numbers(all));
            let mut out = Owned::unwritten(shape(all, 1, borders.2));
            let views: Vec<Image<'_>> = parts.iter().map(Owned::view).collect();
            let affine = Affine { weight: &weight, bias: &bias, epsilon: 1e-5 };
            let act = if silu { Activation::Silu } else { Activation::Identity };
            group_norm(&views, groups, affine, act, out.view_mut());
            out.check_gaps(true);
            let pixels = height * width;
            let values = |pixel: usize| parts.iter().flat_map(|p| p.pixel(pixel)).map(|x| f64::from(*x)).collect::<Vec<_>>();
            let size = all / groups;
            for image in 0..batch {
                let rows: Vec<Vec<f64>> = (image * pixels..(image + 1) * pixels).map(values).collect();
                for group in 0..groups {
                    let part = group * size..(group + 1) * size;
                    let count = (pixels * size) as f64;
                    let mean = rows.iter().flat_map(|r| &r[part.clone()]).sum::<f64>() / count;
                    let var = rows.iter().flat_map(|r| &r[part.clone()]).map(|x| (x - mean).powi(2)).sum::<f64>() / count;
                    let scale = 1.0 / (var + 1e-5f32 as f64).sqrt();
                    for (p, row) in rows.iter().enumerate() {
                        for c in part.clone() {
                            let wanted = activate(act, (row[c] - mean) * scale * f64::from(weight[c]) + f64::from(bias[c]));
                            // Two numbers that cancel, each rounded to f32.
                            let bound = 1e-5 + 4e-7 * scale * (mean.abs() + row[c].abs()) * f64::from(weight[c].abs());
                            close(out.pixel(image * pixels + p)[c], wanted, bound, &(image, p, c));
                        }
                    }
                }
            }
            let edge = out.layout;
            if edge.border == 1 {
                let mut copy = Owned { layout: edge, data: out.data.clone() };
                clear_border(&mut copy.view_mut());
                assert!(copy.data == out.data, "the border was not cleared");
            }
        });
    }

    #[test]
    fn layer_norms(seed: u64, rows in 1usize..200, channels in 1usize..100, mean in prop_oneof![Just(0.0f32), Just(50.0f32)]) {
        on_each_isa(|_| {
            let mut random = Random::new(seed);
            let mut x = Owned::random(Layout::tokens(1, rows, channels).with_stride(channels + 2), &mut random);
            x.data.iter_mut().for_each(|x| *x += mean);
            let (weight, bias) = (random.numbers(channels), random.numbers(channels));
            let mut out = Owned::unwritten(Layout::tokens(1, rows, channels).with_stride(channels + 1));
            layer_norm(x.view(), Affine { weight: &weight, bias: &bias, epsilon: 1e-5 }, out.view_mut());
            out.check_gaps(false);
            for row in 0..rows {
                let x: Vec<f64> = x.pixel(row).iter().map(|x| f64::from(*x)).collect();
                let mean = x.iter().sum::<f64>() / channels as f64;
                let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / channels as f64;
                let scale = 1.0 / (var + 1e-5f32 as f64).sqrt();
                for c in 0..channels {
                    let wanted = (x[c] - mean) * scale * f64::from(weight[c]) + f64::from(bias[c]);
                    let bound = 2e-6 * (1.0 + wanted.abs()) + 2e-7 * scale * mean.abs() * f64::from(weight[c].abs());
                    close(out.pixel(row)[c], wanted, bound, &(row, c));
                }
            }
        });
    }

    #[test]
    fn number_by_number(
        seed: u64, batch in 1usize..3, height in 1usize..12, width in 1usize..12, channels in 1usize..50, border in 0usize..2,
        act in prop_oneof![Just(Activation::Identity), Just(Activation::Silu), Just(Activation::Gelu), Just(Activation::QuickGelu)],
        size in prop_oneof![Just(1.0f32), Just(40.0f32)],
    ) {
        on_each_isa(|_| {
            let mut random = Random::new(seed);
            let plain = Layout::plain(batch, height, width, channels).with_stride(channels + 3);
            let mut a = Owned::random(plain, &mut random);
            a.data.iter_mut().for_each(|x| *x *= size);
            let b = Owned::random(Layout { border: 1, ..plain }, &mut random);
            let to = Layout { border, ..plain.with_stride(channels + 1) };
            let mut out = Owned::unwritten(to);
            activation(a.view(), act, out.view_mut());
            out.check_gaps(true);
            for p in 0..plain.pixels() {
                for (got, x) in out.pixel(p).iter().zip(a.pixel(p)) {
                    close(*got, activate(act, f64::from(*x)), 2e-6 * f64::from(1.0 + x.abs()), &(act, x));
                }
            }
            add(a.view(), b.view(), out.view_mut());
            for p in 0..plain.pixels() {
                let sums: Vec<f32> = a.pixel(p).iter().zip(b.pixel(p)).map(|(a, b)| a + b).collect();
                assert!(out.pixel(p) == sums);
            }
            let both = Owned::random(Layout::plain(batch, height, width, 2 * channels), &mut random);
            geglu(both.view(), out.view_mut());
            out.check_gaps(true);
            for p in 0..plain.pixels() {
                let (values, gates) = both.pixel(p).split_at(channels);
                for (got, (value, gate)) in out.pixel(p).iter().zip(values.iter().zip(gates)) {
                    let wanted = f64::from(*value) * activate(Activation::Gelu, f64::from(*gate));
                    close(*got, wanted, 4e-6 * (1.0 + wanted.abs()), &(value, gate));
                }
            }
            let planes = random.numbers(plain.pixels() * channels);
            from_planes(&planes, out.view_mut());
            let mut back = vec![0.0; planes.len()];
            to_planes(out.view(), &mut back);
            assert!(back == planes);
            let last = (plain.pixels() - 1, channels - 1);
            assert_eq!(out.pixel(last.0)[last.1], planes[planes.len() - 1]);
        });
    }

    #[test]
    fn merges(
        seed: u64, inputs in 1usize..150, outputs in 2usize..150, ranks in (1usize..40, 1usize..10), convolution: bool, gated: bool,
        dense: bool, part in 0.0f64..1.0,
    ) {
        on_each_isa(|_| {
            let mut random = Random::new(seed);
            let gated = gated && !convolution;
            let outputs = if gated { outputs / 2 * 2 } else { outputs };
            let row = if convolution { 9 * inputs } else { inputs };
            let weights = random.numbers(outputs * row);
            let first = (outputs as f64 * part) as usize;
            let some = outputs - first;
            let (up, down) = (random.numbers(outputs * ranks.0), random.numbers(ranks.0 * row));
            let (up_2, down_2) = (random.numbers(some * ranks.1), random.numbers(ranks.1 * row));
            let delta = random.numbers(some * row);
            let a = Change { first: 0, outputs, delta: Delta::LowRank { up: &up, down: &down, rank: ranks.0, strength: 0.7 } };
            let b = Change { first, outputs: some, delta: Delta::LowRank { up: &up_2, down: &down_2, rank: ranks.1, strength: -1.5 } };
            let c = Change { first, outputs: some, delta: Delta::Dense { delta: &delta, strength: 0.5 } };
            let sets = [vec![a], if dense { vec![c] } else { vec![b] }, vec![a, b, c], vec![]];
            let mut merges: Vec<Vec<f32>> = vec![];
            if convolution {
                let pristine = PackedConv3x3::pack(&weights, inputs);
                let mut effective = pristine.clone();
                for set in sets.iter().chain(&sets) { effective.merge(&pristine, set); merges.push(effective.unpack()); }
                for (set, merge) in sets.iter().zip(&merges) { assert!(pristine.plus(set).unpack() == *merge); }
                assert!(pristine.unpack() == weights);
            } else {
                let pristine = if gated { PackedLinear::gated(&weights, inputs) } else { PackedLinear::pack(&weights, inputs) };
                let mut effective = pristine.clone();
                for set in sets.iter().chain(&sets) { effective.merge(&pristine, set); merges.push(effective.unpack()); }
                for (set, merge) in sets.iter().zip(&merges) { assert!(pristine.plus(set).unpack() == *merge); }
                assert!(pristine.unpack() == weights);
            }
            for (i, set) in sets.iter().enumerate() {
                assert!(merges[i] == merges[i + sets.len()], "a set of changes gives the same weights again");
                for (at, (got, wanted)) in merges[i].iter().zip(merged(&weights, row, set)).enumerate() {
                    close(*got, wanted, 1e-5 * (1.0 + ranks.0 as f64 / 4.0), &(i, at));
                }
            }
            assert!(merges[3] == weights, "without changes the weights are the pristine ones");
        });
    }
}

#[test]
fn nothing_depends_on_the_number_of_threads() {
    on_each_isa(|_| {
        let mut random = Random::new(3);
        let layout = Layout::plain(2, 40, 40, 64);
        let x = Owned::random(layout, &mut random);
        let (weight, bias) = (random.numbers(64), random.numbers(64));
        let affine = Affine { weight: &weight, bias: &bias, epsilon: 1e-5 };
        same_on_any_threads(|| {
            let mut out = Owned::unwritten(Layout { border: 1, ..layout });
            group_norm(&[x.view()], 32, affine, Activation::Silu, out.view_mut());
            out.data
        });
        same_on_any_threads(|| {
            let mut out = Owned::unwritten(layout);
            layer_norm(x.view(), affine, out.view_mut());
            out.data
        });
        same_on_any_threads(|| {
            let mut out = Owned::unwritten(layout);
            attention(x.view(), x.view(), x.view(), Attention::full(4), out.view_mut());
            out.data
        });
        let pristine = PackedLinear::pack(&random.numbers(300 * 200), 200);
        let (up, down) = (random.numbers(300 * 16), random.numbers(16 * 200));
        same_on_any_threads(|| {
            let mut effective = pristine.clone();
            let delta = Delta::LowRank { up: &up, down: &down, rank: 16, strength: 1.0 };
            effective.merge(&pristine, &[Change { first: 0, outputs: 300, delta }]);
            effective.unpack()
        });
    });
}

#[test]
fn parts_of_an_arena() {
    let mut arena = Arena::<f32>::new(100);
    let ([], [a, b]) = arena.parts([], [0..10, 10..20]);
    a.fill(1.0);
    b.fill(2.0);
    let ([a, again], [b]) = arena.parts([0..10, 5..10], [10..20]);
    assert_eq!((a[9], again[0], b[0]), (1.0, 1.0, 2.0));
    let overlap = refused(|| _ = arena.parts([0..11], [10..20]));
    assert!(overlap, "a part that is written must not be read");
    assert!(refused(|| _ = arena.parts([90..101], [])));
}

fn refused(work: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err()
}

#[test]
fn wrong_shapes_panic() {
    let mut data = vec![0.0f32; 99];
    assert!(refused(|| _ = Image::new(&data, Layout::plain(1, 10, 10, 1))));
    assert!(refused(|| _ = PackedLinear::pack(&data, 10)));
    assert!(refused(|| _ = ImageMut::new(&mut data, Layout::plain(1, 10, 5, 2))));
}

#[test]
fn large_buffers_are_zero_and_aligned() {
    for len in [0, 1, 1 << 10, (1 << 20) - 1, 1 << 20, (3 << 20) + 5] {
        let mut buffer = Buffer::<f32>::new(len);
        assert_eq!(buffer.len(), len);
        assert!(buffer.iter().all(|x| *x == 0.0));
        assert_eq!(buffer.as_ptr().addr() % if len >= 1 << 20 { 2 << 20 } else { 64 }, 0);
        buffer.fill(1.0);
        assert!(buffer.clone().iter().all(|x| *x == 1.0));
    }
}
