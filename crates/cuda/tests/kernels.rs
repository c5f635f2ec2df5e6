//! Every kernel against f64 on the CPU, by the emulator of `kernels/emulate.h`: odd sizes, gaps, borders, both types.
#![expect(unsafe_code, reason = "the kernels are called through C")]
#![expect(clippy::unwrap_used, reason = "what fails ends the test")]
#![cfg(target_os = "linux")]

mod emulated;

use std::{
    ffi::{c_char, c_int, c_void},
    ptr::{null, null_mut},
};

use emulated::abi::{self, *};

/// As the header counts activations.
fn activated(activation: i32, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match activation {
        1 => x * sigmoid(x),
        2 => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        3 => x * sigmoid(1.702 * x),
        _ => x,
    }
}

unsafe extern "C" {
    safe fn erf(x: f64) -> f64;
}

/// A size with gaps that are multiples of `step`.
fn size(random: &mut Random, channels: usize, step: usize, dtype: i32) -> Size {
    Size {
        images: random.int(1, 3),
        height: random.int(1, 6),
        width: random.int(1, 7),
        channels,
        border: random.int(0, 1),
        gaps: (step * random.int(0, 2), step * random.int(0, 2)),
        dtype,
    }
}

/// The same of either type.
fn any_size(random: &mut Random, channels: usize, step: usize) -> Size {
    let dtype = random.pick(&[F32, F16]);
    size(random, channels, step, dtype)
}

/// Numbers as they are stored.
fn stored(numbers: &Numbers) -> Vec<f64> {
    (0..numbers.len).map(|i| f64::from(numbers.get(i))).collect()
}

/// Runs `test` with three orders of threads.
fn in_all_orders(seed: u64, rounds: usize, mut test: impl FnMut(&mut Random)) {
    let mut random = Random(seed);
    for round in 0..rounds {
        set("adire_emulate_order", round as i32 % 3);
        test(&mut random);
    }
}

#[test]
fn header_and_library_agree() {
    assert_eq!(count("adire_abi_version"), 1);
    assert!(count("adire_algorithm_count") >= 1);
    assert_eq!(algorithm_name(PLAIN), "plain");
    assert_eq!(algorithm_name(99), "");
}

#[test]
fn group_norm_equals_f64() {
    in_all_orders(1, 48, |random| {
        let eight = random.bool();
        let groups = random.pick(&[1, 2, 4, 8, 32]);
        let width = if eight { random.pick(&[8, 10, 16]) } else { random.int(1, 5) };
        let channels = if eight { (groups * width).next_multiple_of(8 * groups) } else { groups * width };
        let step = if eight { 8 } else { 1 };
        let from = any_size(random, channels, step);
        let to = Size { border: random.int(0, 1), gaps: (step, 0), dtype: random.pick(&[F32, F16]), ..from };
        let mean = random.pick(&[0.0, 5.0]);
        let x = Image::filled(from, || random.signed() + mean);
        check_group_norm(random, &x, to, groups, 1e-5);
    });
}

#[test]
fn group_norm_of_many_pixels_joins_its_chunks() {
    in_all_orders(2, 3, |random| {
        let from =
            Size { images: 2, height: 67, width: 41, channels: 16, border: 0, gaps: (0, 8), dtype: F32 };
        let x = Image::filled(from, || random.signed() + 30.0);
        // Single precision leaves 30 · 6e-8 of the numbers, which the norm makes larger by 1/0.58.
        check_group_norm(random, &x, Size { border: 1, gaps: (0, 0), ..from }, 4, 2e-5);
    });
}

fn check_group_norm(random: &mut Random, x: &Image, to: Size, groups: usize, error: f64) {
    let channels = x.channels;
    let (weight, bias) = (random.vector(channels), random.vector(channels));
    let y = Image::poison(to);
    let (epsilon, activation) = (1e-5, random.int(0, 3) as i32);
    let mut args = GroupNorm {
        x: x.view(),
        y: y.view(),
        weight: weight.as_ptr(),
        bias: bias.as_ptr(),
        epsilon,
        groups: groups as i32,
        activation,
        workspace: Workspace::NONE,
    };
    let scratch = Scratch::new(bytes("adire_group_norm_workspace", &args));
    args.workspace = scratch.get();
    call!(adire_group_norm, &args => *const GroupNorm).unwrap();
    let (width, area) = (channels / groups, x.height * x.width);
    let mut moments = Vec::new();
    for image in 0..x.images {
        for group in 0..groups {
            let values: Vec<f64> = (image * area..(image + 1) * area)
                .flat_map(|pixel| (group * width..(group + 1) * width).map(move |c| (pixel, c)))
                .map(|(pixel, c)| x.pixel(pixel, c))
                .collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
            moments.push((mean, 1.0 / (variance + f64::from(epsilon)).sqrt()));
        }
    }
    y.check("group norm", error, true, |image, row, column, channel| {
        let (mean, scale) = moments[image * groups + channel / width];
        let value = x.get(image, row, column, channel);
        let value = (value - mean) * scale * f64::from(weight[channel]) + f64::from(bias[channel]);
        (activated(activation, value), 1.0 + value.abs())
    });
}

#[test]
fn layer_norm_equals_f64() {
    in_all_orders(3, 30, |random| {
        let (step, channels) =
            random.pick(&[(8, 8), (8, 320), (8, 640), (8, 1288), (1, 5), (1, 77), (8, 768)]);
        let from = Size { height: 2, ..any_size(random, channels, step) };
        let to = Size { border: random.int(0, 1), gaps: (0, step), dtype: random.pick(&[F32, F16]), ..from };
        let x = Image::filled(from, || random.signed() + 3.0);
        let (weight, bias) =
            (Numbers::of(&random.vector(channels), F32), Numbers::of(&random.vector(channels), F32));
        let y = Image::poison(to);
        let args = LayerNorm {
            x: x.view(),
            y: y.view(),
            weight: weight.pointer(),
            bias: bias.pointer(),
            epsilon: 1e-5,
        };
        call!(adire_layer_norm, &args => *const LayerNorm).unwrap();
        // Numbers and moments of the last pixel.
        let mut last = ((0, -1, 0), Vec::new(), 0.0, 0.0);
        y.check("layer norm", 3e-6, false, |image, row, column, channel| {
            if last.0 != (image, row, column) {
                let values: Vec<f64> = (0..channels).map(|c| x.get(image, row, column, c)).collect();
                let mean = values.iter().sum::<f64>() / channels as f64;
                let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / channels as f64;
                last = ((image, row, column), values, mean, variance);
            }
            let (_, values, mean, variance) = &last;
            let value = (values[channel] - mean) / (variance + 1e-5).sqrt();
            let value = value * f64::from(weight.get(channel)) + f64::from(bias.get(channel));
            (value, 4.0 + value.abs())
        });
    });
}

/// What to compute a product by, and what it is asked to do.
struct Case {
    algorithm: i32,
    /// Channels in steps of this.
    step: usize,
    x: i32,
    weight: i32,
}

fn check_linear(random: &mut Random, case: &Case, inputs: usize, outputs: usize) {
    let from = size(random, inputs, case.step, case.x);
    check_linear_of(random, case, from, outputs);
}

fn check_linear_of(random: &mut Random, case: &Case, from: Size, outputs: usize) {
    let inputs = from.channels;
    let name = algorithm_name(case.algorithm);
    let can_gate = !name.contains("split") && !name.contains("128x160");
    let gated = can_gate && random.int(0, 3) == 0;
    let x = Image::filled(from, || random.signed());
    // As many pixels in another arrangement.
    let (height, width) =
        if random.bool() { (from.height, from.width) } else { (1, from.height * from.width) };
    let result_step = if outputs.is_multiple_of(8) { case.step } else { 1 };
    let to = Size {
        height,
        width,
        channels: outputs,
        border: random.int(0, 1),
        gaps: (result_step * random.int(0, 1), result_step * random.int(0, 2)),
        dtype: random.pick(&[F32, F16]),
        ..from
    };
    let rows = if gated { 2 * outputs } else { outputs };
    let weights = Numbers::of(&random.vector(rows * inputs), case.weight);
    let bias = random.bool().then(|| random.vector(rows));
    let activation = if gated { 0 } else { random.int(0, 3) as i32 };
    let in_place = random.int(0, 3) == 0;
    let residual = match random.bool() {
        _ if in_place => Some(Image::filled(Size { border: 0, ..to }, || random.signed())),
        true => Some(Image::filled(
            Size { gaps: (0, result_step), dtype: random.pick(&[F32, F16]), ..to },
            || random.signed(),
        )),
        false => None,
    };
    let y =
        if in_place { copy(residual.as_ref().unwrap(), Size { border: 0, ..to }) } else { Image::poison(to) };
    let mut args = Linear {
        x: x.view(),
        y: y.view(),
        weight: Matrix {
            data: weights.pointer(),
            outputs: rows as i32,
            inputs: inputs as i32,
            dtype: case.weight,
            gated: gated.into(),
        },
        bias: bias.as_ref().map_or(null(), |bias| bias.as_ptr()),
        residual: residual
            .as_ref()
            .map_or(View::NONE, |residual| if in_place { y.view() } else { residual.view() }),
        activation,
        algorithm: case.algorithm,
        workspace: Workspace::NONE,
    };
    let scratch = Scratch::new(bytes("adire_linear_workspace", &args));
    args.workspace = scratch.get();
    call!(adire_linear, &args => *const Linear).unwrap();
    let weights = stored(&weights);
    let rows: Vec<f64> = (0..x.pixels())
        .flat_map(|pixel| (0..inputs).map(move |c| (pixel, c)))
        .map(|(p, c)| x.pixel(p, c))
        .collect();
    let area = height * width;
    let what = format!("linear by {} ({inputs} to {outputs})", algorithm_name(case.algorithm));
    y.check(&what, 4e-7, false, |image, row, column, channel| {
        let pixel = image * area + row as usize * width + column as usize;
        let product = |output: usize| {
            let (row, column) = (&rows[pixel * inputs..][..inputs], &weights[output * inputs..][..inputs]);
            let terms = row.iter().zip(column).map(|(x, w)| x * w);
            let bias = bias.as_ref().map_or(0.0, |bias| f64::from(bias[output]));
            terms.fold((bias, bias.abs()), |(sum, size), term| (sum + term, size + term.abs()))
        };
        let (value, size) = product(channel);
        let (value, size) = if gated {
            let (gate, gate_size) = product(outputs + channel);
            (value * activated(2, gate), (1.0 + size) * (1.0 + gate_size))
        } else {
            (activated(activation, value), size)
        };
        let residual = residual.as_ref().map_or(0.0, |residual| residual.pixel(pixel, channel));
        (value + residual, size + residual.abs() + 1.0)
    });
}

/// Poisoned as `size` says, with the values of `image`.
fn copy(image: &Image, size: Size) -> Image {
    let mut pixel = 0;
    let channels = image.channels;
    Image::filled(size, || {
        pixel += 1;
        image.pixel((pixel - 1) / channels, (pixel - 1) % channels) as f32
    })
}

fn check_conv(random: &mut Random, case: &Case, inputs: usize, outputs: usize) {
    let sampling = random.int(0, 3) as i32;
    let mut from = Size { border: 1, ..size(random, inputs, case.step, case.x) };
    (from.height, from.width) = (from.height.max(2), from.width.max(2));
    let x = Image::filled(from, || random.signed());
    let side = |n: usize| [n, n.div_ceil(2), n / 2, 2 * n][sampling as usize];
    let result_step = if outputs.is_multiple_of(8) { case.step } else { 1 };
    let to = Size {
        height: side(from.height),
        width: side(from.width),
        channels: outputs,
        border: random.int(0, 1),
        gaps: (result_step * random.int(0, 1), result_step * random.int(0, 2)),
        dtype: random.pick(&[F32, F16]),
        ..from
    };
    let weights = Numbers::of(&random.vector(outputs * 9 * inputs), case.weight);
    let rows = random.bool();
    let stride = if rows { outputs + 3 } else { 0 };
    let offset = random.bool().then(|| random.vector(stride * from.images + outputs));
    let residual = random
        .bool()
        .then(|| Image::filled(Size { dtype: random.pick(&[F32, F16]), ..to }, || random.signed()));
    let y = Image::poison(to);
    let mut args = Conv {
        x: x.view(),
        y: y.view(),
        weight: Matrix {
            data: weights.pointer(),
            outputs: outputs as i32,
            inputs: inputs as i32,
            dtype: case.weight,
            gated: 0,
        },
        offset: offset.as_ref().map_or(null(), |offset| offset.as_ptr()),
        offset_stride: stride as i64,
        residual: residual.as_ref().map_or(View::NONE, |residual| residual.view()),
        sampling,
        algorithm: case.algorithm,
        workspace: Workspace::NONE,
    };
    let scratch = Scratch::new(bytes("adire_conv_workspace", &args));
    args.workspace = scratch.get();
    call!(adire_conv, &args => *const Conv).unwrap();
    let weights = stored(&weights);
    let position = |at: isize, tap: isize| match sampling {
        0 => at + tap - 1,
        1 => 2 * at + tap - 1,
        2 => 2 * at + tap,
        // In the enlarged image.
        _ => (at + tap - 1).div_euclid(2),
    };
    let values = stored(&x.numbers);
    let what = format!("convolution {sampling} by {}", algorithm_name(case.algorithm));
    y.check(&what, 4e-7, false, |image, row, column, channel| {
        let (mut value, mut size) = (0.0, 1.0);
        for tap in 0..9 {
            let (row, column) = (position(row, tap / 3), position(column, tap % 3));
            let at = x.index(image, row, column, 0);
            let weights = &weights[(channel * 9 + tap as usize) * inputs..][..inputs];
            for (x, w) in values[at..at + inputs].iter().zip(weights) {
                let term = x * w;
                (value, size) = (value + term, size + term.abs());
            }
        }
        let offset = offset.as_ref().map_or(0.0, |offset| f64::from(offset[stride * image + channel]));
        let residual = residual.as_ref().map_or(0.0, |residual| residual.get(image, row, column, channel));
        (value + offset + residual, size + offset.abs() + residual.abs())
    });
}

#[test]
fn plain_linear_equals_f64() {
    in_all_orders(4, 60, |random| {
        let (x, weight) = (random.pick(&[F32, F16]), random.pick(&[F32, F16]));
        let case = Case { algorithm: PLAIN, step: 1, x, weight };
        let (inputs, outputs) = (random.int(1, 40), random.int(1, 70));
        check_linear(random, &case, inputs, outputs);
    });
}

#[test]
fn plain_convolution_equals_f64() {
    in_all_orders(5, 40, |random| {
        let (x, weight) = (random.pick(&[F32, F16]), random.pick(&[F32, F16]));
        let case = Case { algorithm: PLAIN, step: 1, x, weight };
        let (inputs, outputs) = (random.int(1, 20), random.int(1, 70));
        check_conv(random, &case, inputs, outputs);
    });
}

/// Each tensor-core algorithm that takes a product, on Turing and on Ampere.
fn by_tensor_cores(seed: u64, rounds: usize, mut test: impl FnMut(&mut Random, &Case)) {
    for generation in [75, 80] {
        set("adire_emulate_generation", generation);
        in_all_orders(seed + generation as u64, rounds, |random| {
            for algorithm in PLAIN + 1..=count("adire_algorithm_count") {
                if generation == 75 && algorithm_name(algorithm).contains("256x128") {
                    continue;
                }
                test(random, &Case { algorithm, step: 8, x: F16, weight: F16 });
            }
        });
    }
}

#[test]
fn linear_by_tensor_cores_equals_f64() {
    by_tensor_cores(100, 3, |random, case| {
        let (inputs, outputs) = (8 * random.int(1, 16), random.pick(&[8, 40, 72, 136, 168]));
        // Splitting k needs enough of it.
        let inputs = if algorithm_name(case.algorithm).contains("split") { inputs + 1024 } else { inputs };
        check_linear(random, case, inputs, outputs);
    });
}

#[test]
fn convolutions_by_tensor_cores_equal_f64() {
    by_tensor_cores(200, 3, |random, case| {
        let (inputs, outputs) = (8 * random.int(1, 8), random.pick(&[3, 4, 8, 40, 168]));
        let inputs = if algorithm_name(case.algorithm).contains("split") { inputs + 96 } else { inputs };
        check_conv(random, case, inputs, outputs);
    });
}

/// (pixels of an image, outputs, k) of the UNet at 64 × 64, and of the VAE's decoder.
const SHAPES: [(usize, usize, usize); 9] = [
    (4096, 320, 320),
    (4096, 1280, 320),
    (1024, 640, 640),
    (256, 1280, 1280),
    (64, 1280, 1280),
    (256, 1280, 2560),
    (77, 640, 768),
    (4096, 512, 512),
    (262_144, 128, 128),
];

#[test]
fn the_table_has_a_choice_for_every_shape_and_generation() {
    // Where it is not looked at.
    let nowhere = Numbers::poison(64, F16);
    for generation in [75, 80, 86, 89, 90, 120] {
        set("adire_emulate_generation", generation);
        for (pixels, outputs, inputs) in SHAPES {
            let view = |channels: usize| View {
                data: nowhere.pointer(),
                image_stride: (pixels * channels) as i64,
                row_stride: (pixels * channels) as i64,
                pixel_stride: channels as i64,
                images: 2,
                height: 1,
                width: pixels as i32,
                channels: channels as i32,
                border: 0,
                dtype: F16,
            };
            let (outputs_i, inputs_i) = (outputs as i32, inputs as i32);
            let weight = Matrix {
                data: nowhere.pointer(),
                outputs: outputs_i,
                inputs: inputs_i,
                dtype: F16,
                gated: 0,
            };
            let mut args = Linear {
                x: view(inputs),
                y: view(outputs),
                weight,
                bias: null(),
                residual: View::NONE,
                activation: 0,
                algorithm: 0,
                workspace: Workspace::NONE,
            };
            let chosen = number("adire_linear_algorithm", &args);
            assert!(chosen > PLAIN, "sm_{generation}: {pixels} × {outputs} × {inputs}");
            let is_split = algorithm_name(chosen).contains("split");
            assert_eq!(bytes("adire_linear_workspace", &args) > 0, is_split);
            println!("sm_{generation} {pixels} × {outputs} × {inputs}: {}", algorithm_name(chosen));
            // The order of a sum, and so its bits, must not depend on how many images there are.
            let order = |name: String| name.split_once("split").map(|(_, parts)| parts.to_owned());
            for images in [1, 4, 8, 16, 32] {
                (args.x.images, args.y.images) = (images, images);
                let of_more = algorithm_name(number("adire_linear_algorithm", &args));
                assert_eq!(order(of_more), order(algorithm_name(chosen)), "{images} of {pixels} pixels");
            }
            (args.x.images, args.y.images) = (2, 2);
            args.weight.dtype = F32;
            assert_eq!(number("adire_linear_algorithm", &args), PLAIN);
        }
    }
}

#[test]
fn many_pixels_by_tensor_cores_equal_f64() {
    by_tensor_cores(300, 1, |random, case| {
        let inputs = if algorithm_name(case.algorithm).contains("split") { 1032 } else { 72 };
        let shape =
            Size { images: 2, height: 15, width: 11, channels: inputs, border: 0, gaps: (0, 0), dtype: F16 };
        check_linear_of(random, case, shape, 96);
    });
}

fn check_attention(
    random: &mut Random,
    algorithm: i32,
    dtype: i32,
    depth: usize,
    step: usize,
    longest: usize,
) {
    let (heads, images) = (random.int(1, 3), random.int(1, 2));
    let causal = random.int(0, 2) == 0;
    let (queries, keys) = (random.int(1, longest), random.int(1, longest));
    let keys = if causal { queries } else { keys };
    let channels = heads * depth;
    let tokens = |tokens: usize, random: &mut Random| Size {
        images,
        height: 1,
        width: tokens,
        channels,
        border: 0,
        gaps: (step * random.int(0, 2), step * random.int(0, 2)),
        dtype,
    };
    let mut image = |n: usize, by: f32| {
        let size = tokens(n, random);
        Image::filled(size, || by * random.signed())
    };
    let (q, k, v) = (image(queries, 2.0), image(keys, 2.0), image(keys, 1.0));
    // Queries in two rows, where there are twice as many.
    let mut to = tokens(queries, random);
    if queries.is_multiple_of(2) {
        (to.height, to.width) = (2, queries / 2);
    }
    let y = Image::poison(to);
    let args = Attention {
        q: q.view(),
        k: k.view(),
        v: v.view(),
        y: y.view(),
        heads: heads as i32,
        causal: causal.into(),
        algorithm,
    };
    call!(adire_attention, &args => *const Attention).unwrap();
    // Tensor cores multiply with weights of f16.
    let error = if algorithm == PLAIN { 3e-6 } else { 1.5e-3 };
    let what = format!("attention of {queries} × {keys}, d {depth}, algorithm {algorithm}, causal {causal}");
    // Weights of the keys, of the last query and head.
    let mut last = (usize::MAX, Vec::new());
    y.check(&what, error, false, |image, row, column, channel| {
        let query = row as usize * to.width + column as usize;
        let (head, row) = (channel / depth * depth, image * queries + query);
        let key = row * channels + head;
        if last.0 != key {
            let seen = if causal { query + 1 } else { keys };
            let score = |at: usize| -> f64 {
                let dot: f64 =
                    (head..head + depth).map(|c| q.pixel(row, c) * k.pixel(image * keys + at, c)).sum();
                dot / (depth as f64).sqrt()
            };
            let scores: Vec<f64> = (0..seen).map(score).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
            let sum: f64 = weights.iter().sum();
            last = (key, weights.into_iter().map(|weight| weight / sum).collect());
        }
        let value =
            last.1.iter().enumerate().map(|(at, weight)| weight * v.pixel(image * keys + at, channel));
        (value.sum(), 1.0)
    });
}

#[test]
fn plain_attention_equals_f64() {
    in_all_orders(6, 24, |random| {
        let (dtype, depth) = (random.pick(&[F32, F16]), random.pick(&[1, 7, 40, 64, 80, 160]));
        check_attention(random, PLAIN, dtype, depth, 1, 90);
    });
    let mut random = Random(7);
    check_attention(&mut random, PLAIN, F32, 512, 1, 40);
    check_attention(&mut random, PLAIN, F16, 512, 1, 70);
}

#[test]
fn attention_by_tensor_cores_equals_f64() {
    for generation in [75, 80] {
        set("adire_emulate_generation", generation);
        in_all_orders(60 + generation as u64, 9, |random| {
            let depth = random.pick(&[8, 40, 64, 72, 80, 160]);
            check_attention(random, 2, F16, depth, 8, 150);
        });
        in_all_orders(70 + generation as u64, 3, |random| {
            let depth = random.pick(&[200, 256, 512]);
            check_attention(random, 2, F16, depth, 8, 100);
        });
    }
}

#[test]
fn resizing_takes_the_nearest_pixel() {
    in_all_orders(8, 40, |random| {
        let step = random.pick(&[1, 8]);
        let channels = step * random.int(1, 4);
        let from = any_size(random, channels, step);
        let mut to =
            Size { border: random.int(0, 1), dtype: random.pick(&[F32, F16]), gaps: (step, 0), ..from };
        if random.bool() {
            (to.height, to.width) = (random.int(1, 9), random.int(1, 9));
        }
        let x = Image::filled(from, || random.signed());
        let y = Image::poison(to);
        call!(adire_resize, &x.view() => *const View, &y.view() => *const View).unwrap();
        let nearest = |at: isize, from: usize, to: usize| {
            ((at as f32 * (from as f32 / to as f32)).floor() as isize).min(from as isize - 1)
        };
        y.check("resize", 0.0, true, |image, row, column, channel| {
            let (row, column) = (nearest(row, from.height, to.height), nearest(column, from.width, to.width));
            (x.get(image, row, column, channel), 0.0)
        });
    });
}

#[test]
fn the_first_half_of_the_images_is_repeated() {
    in_all_orders(9, 12, |random| {
        let step = random.pick(&[1, 8]);
        let half = Size { border: 0, ..any_size(random, step * 3, step) };
        let x = Image::filled(half, || random.signed());
        let y = copy_into_first_half(&x, Size { images: 2 * half.images, ..half });
        call!(adire_repeat, &y.view() => *const View).unwrap();
        y.check("repeat", 0.0, false, |image, row, column, channel| {
            (x.get(image % half.images, row, column, channel), 0.0)
        });
    });
}

fn copy_into_first_half(x: &Image, size: Size) -> Image {
    let mut y = Image::poison(size);
    for pixel in 0..x.pixels() {
        let (image, at) = (pixel / (x.height * x.width), pixel % (x.height * x.width));
        for channel in 0..x.channels {
            let to = y.index(image, (at / x.width) as isize, (at % x.width) as isize, channel);
            y.numbers.set(to, x.pixel(pixel, channel) as f32);
        }
    }
    y
}

#[test]
fn planes_and_guidance() {
    in_all_orders(10, 12, |random| {
        let channels = random.int(1, 5);
        let shape = Size { images: 2, ..any_size(random, channels, 1) };
        let (area, len) = (shape.height * shape.width, 2 * channels * shape.height * shape.width);
        let planes = random.vector(len);
        let y = Image::poison(shape);
        call!(adire_from_planes, planes.as_ptr() => *const f32, &y.view() => *const View).unwrap();
        y.check("from planes", 0.0, true, |image, row, column, channel| {
            let at = (image * channels + channel) * area + row as usize * shape.width + column as usize;
            (f64::from(planes[at]), 0.0)
        });
        let mut back = vec![f32::NAN; len];
        call!(adire_to_planes, &y.view() => *const View, back.as_mut_ptr() => *mut f32).unwrap();
        let value = |image: usize, channel: usize, at: usize| y.pixel(image * area + at, channel);
        for (i, found) in back.iter().enumerate() {
            assert_eq!(f64::from(*found), value(i / area / channels, i / area % channels, i % area));
        }
        let (guidance, mut mixed) = (7.5_f32, vec![f32::NAN; len / 2]);
        call!(adire_guide, &y.view() => *const View, &guidance => *const f32, mixed.as_mut_ptr() => *mut f32)
            .unwrap();
        for (i, found) in mixed.iter().enumerate() {
            let (a, b) = (value(0, i / area, i % area), value(1, i / area, i % area));
            assert!((f64::from(*found) - (a + 7.5 * (b - a))).abs() < 1e-5);
        }
    });
}

#[test]
fn rows_are_selected_by_a_number_on_the_device() {
    let table: Vec<f32> = (0..40).map(|i| i as f32).collect();
    for (index, row) in [(0, 0), (3, 3), (9, 3), (-1, 0)] {
        let mut to = [0.0_f32; 7];
        call!(adire_select_row, table.as_ptr() => *const f32, 10 => i64, 4 => i32, &index => *const i32, to.as_mut_ptr() => *mut f32, 7 => i32)
            .unwrap();
        assert_eq!(to[..], table[row * 10..row * 10 + 7]);
    }
}

#[test]
fn bytes_are_those_of_the_cpu() {
    let values = [-7.0, -1.0, 0.0, 0.5, 1.0, 9.0, f32::NAN, 0.25, -0.25];
    let shape = Size { images: 1, height: 1, width: 3, channels: 3, border: 1, gaps: (1, 0), dtype: F32 };
    let mut next = values.iter();
    let x = Image::filled(shape, || *next.next().unwrap());
    let (mut rgb, mut flag) = ([7_u8; 9], 0_u32);
    call!(adire_to_rgb, &x.view() => *const View, rgb.as_mut_ptr() => *mut u8, &mut flag => *mut u32)
        .unwrap();
    assert_eq!(rgb, [0, 0, 128, 191, 255, 255, 0, 159, 96]);
    assert_eq!(flag, 1, "a NaN is reported");
    let mut random = Random(11);
    let y = Image::filled(Size { dtype: F16, ..shape }, || random.signed());
    flag = 0;
    call!(adire_to_rgb, &y.view() => *const View, rgb.as_mut_ptr() => *mut u8, &mut flag => *mut u32)
        .unwrap();
    assert_eq!(flag, 0);
    for (i, byte) in rgb.iter().enumerate() {
        let value = y.pixel(i / 3, i % 3) as f32;
        assert_eq!(*byte, ((value / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8);
    }
    let back = Image::poison(shape);
    call!(adire_from_rgb, rgb.as_ptr() => *const u8, &back.view() => *const View).unwrap();
    back.check("from rgb", 1e-7, true, |_, _, column, channel| {
        (f64::from(rgb[column as usize * 3 + channel]) / 127.5 - 1.0, 1.0)
    });
}

#[test]
fn f16_round_as_the_half_crate_does() {
    let mut random = Random(12);
    let mut values: Vec<f32> = (0..4000).map(|_| f32::from_bits(random.bits() as u32)).collect();
    values.extend((0..4000).map(|_| random.signed() * 2.0_f32.powi(random.int(0, 40) as i32 - 28)));
    values.extend([0.0, -0.0, 65504.0, 65519.9, 65520.0, f32::INFINITY, 5.9e-8, 2.9e-8, 2.98e-8, 6.1e-5]);
    let mut halves = vec![0_u16; values.len()];
    let n = values.len() as u64;
    call!(adire_convert, values.as_ptr().cast() => *const c_void, F32 => i32, halves.as_mut_ptr().cast() => *mut c_void, F16 => i32, n => u64)
        .unwrap();
    for (value, found) in values.iter().zip(&halves) {
        let expected = half::f16::from_f32(*value);
        assert!(
            expected.to_bits() == *found || value.is_nan() && half::f16::from_bits(*found).is_nan(),
            "{value:e}"
        );
    }
    let all: Vec<u16> = (0..=u16::MAX).collect();
    let mut floats = vec![0.0_f32; all.len()];
    call!(adire_convert, all.as_ptr().cast() => *const c_void, F16 => i32, floats.as_mut_ptr().cast() => *mut c_void, F32 => i32, all.len() as u64 => u64)
        .unwrap();
    for (bits, found) in all.iter().zip(&floats) {
        let expected = half::f16::from_bits(*bits).to_f32();
        assert!(expected.to_bits() == found.to_bits() || expected.is_nan() && found.is_nan(), "{bits:04x}");
    }
}

#[test]
fn merges_start_from_the_pristine_weights() {
    in_all_orders(13, 24, |random| {
        let (rows, columns) = (random.int(1, 150), random.int(1, 140));
        let dtype = random.pick(&[F32, F16]);
        let pristine = Numbers::of(&random.vector(rows * columns), dtype);
        let effective = Numbers::poison(rows * columns + 8, dtype);
        let changes = random.int(0, 3);
        let mut expected: Vec<(f64, f64)> = stored(&pristine).into_iter().map(|v| (v, v.abs())).collect();
        let (mut kept, mut list) = (Vec::new(), [Change::NONE; MAX_CHANGES]);
        for change in list.iter_mut().take(changes) {
            let first = random.int(0, rows - 1);
            let count = random.int(1, rows - first);
            let strength = random.signed();
            let rank = random.int(1, 40);
            let is_dense = random.int(0, 2) == 0;
            let (up, down) = (random.vector(count * rank), random.vector(rank * columns));
            let dense = random.vector(count * columns);
            for row in 0..count {
                for column in 0..columns {
                    let terms = (0..rank)
                        .map(|r| f64::from(up[row * rank + r]) * f64::from(down[r * columns + column]));
                    let (value, size) = if is_dense {
                        let value = f64::from(dense[row * columns + column]);
                        (value, value.abs())
                    } else {
                        terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
                    };
                    let at = &mut expected[(first + row) * columns + column];
                    *at = (at.0 + f64::from(strength) * value, at.1 + size);
                }
            }
            *change = Change {
                up: if is_dense { null() } else { up.as_ptr() },
                down: if is_dense { null() } else { down.as_ptr() },
                dense: if is_dense { dense.as_ptr() } else { null() },
                strength,
                rank: rank as i32,
                first: first as i32,
                rows: count as i32,
            };
            kept.push((up, down, dense));
        }
        let mut args = Merge {
            pristine: pristine.pointer(),
            effective: effective.pointer(),
            rows: rows as i32,
            columns: columns as i32,
            dtype,
            changes: changes as i32,
            change: list,
        };
        call!(adire_merge, &args => *const Merge).unwrap();
        let rounding = if dtype == F16 { 4.9e-4 } else { 6e-8 };
        for (i, (value, size)) in expected.iter().enumerate() {
            let found = f64::from(effective.get(i));
            assert!(
                (found - value).abs() <= 3e-7 * size + rounding * value.abs() + 3e-8,
                "{i}: {found}, {value}"
            );
        }
        assert!((0..8).all(|i| effective.is_poison(rows * columns + i)));
        // Without changes the pristine weights come back, bit by bit.
        args.changes = 0;
        call!(adire_merge, &args => *const Merge).unwrap();
        assert!((0..rows * columns).all(|i| effective.get(i).to_bits() == pristine.get(i).to_bits()));
    });
}

#[test]
fn square_sums_are_exact_enough() {
    let mut random = Random(14);
    for (n, dtype) in [(1, F32), (77, F16), (30_000, F16), (5001, F32)] {
        let (a, b) = (Numbers::of(&random.vector(n), dtype), Numbers::of(&random.vector(n), dtype));
        let scratch = Scratch::new(8192);
        for other in [None, Some(&b)] {
            let mut sum = f64::NAN;
            let pointer = other.map_or(null(), |b| b.pointer::<c_void>().cast_const());
            call!(adire_square_sum, a.pointer() => *const c_void, pointer => *const c_void, dtype => i32, n as u64 => u64, &mut sum => *mut f64, scratch.get() => Workspace)
                .unwrap();
            let b = other.map_or(vec![0.0; n], stored);
            let expected: f64 = stored(&a).iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
            assert!((sum - expected).abs() <= 1e-12 * expected, "{sum}, {expected}");
        }
    }
}

#[test]
fn fingerprints_add_up_from_blocks() {
    let mut random = Random(15);
    let numbers = Numbers::of(&random.vector(5000), F16);
    let words = numbers.words();
    let mut expected = [0_u64; 2];
    for (i, word) in words.iter().enumerate() {
        let start = u64::from(*word).wrapping_add(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(i as u64 + 1));
        expected[0] = expected[0].wrapping_add(abi::mix(start));
        expected[1] = expected[1].wrapping_add(abi::mix(start.wrapping_add(1 << 32)));
    }
    for cuts in [vec![0, 2500], vec![0, 1, 1700, 2500]] {
        let mut lanes = [0_u64; 2];
        for cut in cuts.windows(2) {
            let data = numbers.pointer::<u32>().wrapping_add(cut[0]).cast::<c_void>();
            let size = 4 * (cut[1] - cut[0]) as u64;
            call!(adire_fingerprint, data => *const c_void, size => u64, cut[0] as u64 => u64, lanes.as_mut_ptr() => *mut u64)
                .unwrap();
        }
        assert_eq!(lanes, expected);
    }
}

#[test]
fn graphs_replay_what_was_recorded() {
    type Pointer = *mut c_void;
    let create = function!(adire_stream_create(*mut Pointer));
    let destroy = function!(adire_stream_destroy(Pointer));
    let synchronize = function!(adire_stream_synchronize(Pointer));
    let (begin, end) =
        (function!(adire_graph_begin(Pointer)), function!(adire_graph_end(Pointer, *mut Pointer, *mut u64)));
    let (replay, forget) =
        (function!(adire_graph_launch(Pointer, Pointer)), function!(adire_graph_destroy(Pointer)));
    let copy = function!(adire_copy(Pointer, Pointer, *const c_void, u64));
    let convert = function!(adire_convert(Pointer, *const c_void, i32, Pointer, i32, u64));
    let (allocate, free) = (function!(adire_alloc(u64, *mut Pointer)), function!(adire_free(Pointer)));
    let (mut from, mut to) = ([1.0_f32, 2.0, 3.0], [0.0_f32; 3]);
    let (mut stream, mut graph, mut halves, mut nodes) = (null_mut(), null_mut(), null_mut(), 0);
    // SAFETY: pointers are to three numbers each, which live until the end.
    unsafe {
        assert_eq!(create(&mut stream), 0);
        assert_eq!(allocate(6, &mut halves), 0);
        assert_eq!(begin(stream), 0);
        assert_eq!(convert(stream, from.as_ptr().cast(), F32, halves, F16, 3), 0);
        assert_eq!(convert(stream, halves, F16, to.as_mut_ptr().cast(), F32, 3), 0);
        assert_ne!(synchronize(stream), 0, "nothing can be waited for while it is recorded");
        assert_eq!(end(stream, &mut graph, &mut nodes), 0);
        assert_eq!((to, nodes), ([0.0; 3], 2), "nothing has run");
        for factor in [1.0, 4.0] {
            let values = [factor, 2.0 * factor, 3.0 * factor];
            assert_eq!(copy(stream, from.as_mut_ptr().cast(), values.as_ptr().cast(), 12), 0);
            assert_eq!(replay(stream, graph), 0);
            assert_eq!(synchronize(stream), 0);
            assert_eq!(to, values);
        }
        assert_eq!((forget(graph), free(halves), destroy(stream)), (0, 0, 0));
    }
}

#[test]
fn the_emulator_says_that_it_is_one() {
    #[repr(C)]
    struct Properties {
        name: [u8; 256],
        numbers: [i32; 4],
        bytes: [u64; 2],
        integrated_driver_runtime_emulated: [i32; 4],
    }
    let read = function!(adire_device_properties(i32, *mut Properties));
    let devices = function!(adire_device_count(*mut i32, *mut *const c_char));
    let (mut count, mut reason) = (0, null());
    set("adire_emulate_generation", 89);
    // SAFETY: the properties are plain numbers; the reason is a constant.
    unsafe {
        let mut found: Properties = std::mem::zeroed();
        assert_eq!(read(0, &mut found), 0);
        assert_eq!(found.numbers[..2], [8, 9]);
        assert_eq!(found.integrated_driver_runtime_emulated, [0, 13000, 13000, 1]);
        assert_eq!(devices(&mut count, &mut reason), 0);
        assert_eq!((count, reason.read()), (1, 0));
        assert_eq!(read(1, &mut found), 1);
    }
    assert_eq!(text("adire_message"), "the emulator has one device, number 0");
}

#[test]
fn wrong_arguments_are_refused_with_a_reason() {
    let shape = Size { images: 1, height: 2, width: 2, channels: 8, border: 0, gaps: (0, 0), dtype: F16 };
    let (x, y) = (Image::filled(shape, || 0.0), Image::poison(shape));
    let weights = Numbers::of(&[0.0; 64], F16);
    let weight = Matrix { data: weights.pointer(), outputs: 8, inputs: 8, dtype: F16, gated: 0 };
    let mut args = Linear {
        x: x.view(),
        y: y.view(),
        weight,
        bias: null(),
        residual: View::NONE,
        activation: 0,
        algorithm: PLAIN,
        workspace: Workspace::NONE,
    };
    call!(adire_linear, &args => *const Linear).unwrap();
    args.algorithm = 99;
    let error = call!(adire_linear, &args => *const Linear).unwrap_err();
    assert_eq!(error, "adire_linear: unknown algorithm 99");
    args.weight.inputs = 7;
    let error = call!(adire_linear, &args => *const Linear).unwrap_err();
    assert_eq!(error, "adire_linear: weights of 8 × 7 for 8 channels in, 8 out");
    let conv = Conv {
        x: x.view(),
        y: y.view(),
        weight,
        offset: null(),
        offset_stride: 0,
        residual: View::NONE,
        sampling: 0,
        algorithm: PLAIN,
        workspace: Workspace::NONE,
    };
    let error = call!(adire_conv, &conv => *const Conv).unwrap_err();
    assert_eq!(error, "adire_conv: x of a convolution has a border of 1");
}
