//! Convolution and nearest-neighbour upsampling on [batch, channels, height, width].

use candle_core::{DType, Device, Tensor};

use super::{
    cpu::{self, Geometry, floats},
    gradient::attach,
    operand::Operand,
    packed::Planes,
};
use crate::Result;

/// Most values that a convolution on a GPU writes out at once before it multiplies; 2²⁷ are 512 MiB in f32.
const MAX_COLUMN_VALUES: usize = 1 << 27;

/// Convolution with a square `stride` and symmetric zero `padding`. `bias` is [out], or [batch, out] where
/// something else that is constant over the image (the time embedding) is added along. `add`, of the result's
/// shape, is a residual.
pub(crate) fn conv2d(
    x: &Tensor,
    weight: &Operand,
    bias: &Tensor,
    add: Option<&Tensor>,
    stride: usize,
    padding: usize,
) -> Result<Tensor> {
    let dtype = x.dtype();
    // candle has no convolution in bf16 for the CPU, and f32's is the fastest there anyway.
    if x.device().is_cpu() && matches!(dtype, DType::F16 | DType::BF16) {
        let wide = |x: &Tensor| x.to_dtype(DType::F32);
        let add = add.map(wide).transpose()?;
        let weight = match weight {
            Operand::Tensor(weight) => wide(weight)?.into(),
            packed => packed.clone(),
        };
        let y = conv2d(&wide(x)?, &weight, &wide(bias)?, add.as_ref(), stride, padding)?;
        return Ok(y.to_dtype(dtype)?);
    }
    if let Operand::Tensor(weight) = weight
        && weight.track_op()
    {
        return composed(x, weight, bias, add, stride, padding);
    }
    let y = forward(&x.detach(), weight, &bias.detach(), add.map(Tensor::detach).as_ref(), stride, padding)?;
    let inputs: Vec<_> = [Some(x), Some(bias), add].into_iter().flatten().filter(|t| t.track_op()).collect();
    if inputs.is_empty() {
        return Ok(y);
    }
    let wanted = (x.track_op(), bias.track_op(), add.is_some_and(Tensor::track_op));
    let (weight, like, bias) = (weight.clone(), x.detach(), bias.shape().clone());
    attach(y, &inputs, move |gradient| {
        let mut gradients = Vec::with_capacity(3);
        if wanted.0 {
            gradients.push(Some(backward(gradient, &weight, &like, stride, padding)?));
        }
        if wanted.1 {
            let sums = gradient.sum((2, 3))?;
            let sums = if bias.rank() == 2 && bias.dims()[0] > 1 { sums } else { sums.sum_keepdim(0)? };
            gradients.push(Some(sums.reshape(&bias)?));
        }
        if wanted.2 {
            gradients.push(Some(gradient.clone()));
        }
        Ok(gradients)
    })
}

/// Its result, without a graph.
fn forward(
    x: &Tensor,
    weight: &Operand,
    bias: &Tensor,
    add: Option<&Tensor>,
    stride: usize,
    padding: usize,
) -> Result<Tensor> {
    let matrix = match weight {
        Operand::Tensor(weight) => {
            return match fast(x, weight, bias, add, stride, padding)? {
                Some(y) => Ok(y),
                None => composed(x, weight, bias, add, stride, padding),
            };
        }
        Operand::Packed(matrix) => matrix,
    };
    let (x, bias) = (x.contiguous()?, bias.contiguous()?);
    let planes = Planes::new(&x, matrix, stride, padding)?;
    let (Some(planes), Some(values), Some(bias)) = (planes, floats(&x), floats(&bias)) else {
        return Err(unfit().into());
    };
    let y = planes.forward(&values, matrix, &bias);
    let y = Tensor::from_vec(y, planes.result(matrix), x.device())?;
    Ok(match add {
        Some(add) => (y + add)?,
        None => y,
    })
}

/// Error for operands that a packed weight does not take.
fn unfit() -> candle_core::Error {
    candle_core::Error::Msg("a packed convolution has stride 1 or 2 and takes f32 on the CPU".to_owned())
}

/// The gradient of its input, which is `x`'s size.
fn backward(
    gradient: &Tensor,
    weight: &Operand,
    x: &Tensor,
    stride: usize,
    padding: usize,
) -> candle_core::Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let matrix = match weight {
        Operand::Tensor(weight) => {
            return input_gradient(gradient, weight, (height, width), stride, padding);
        }
        Operand::Packed(matrix) => matrix,
    };
    let gradient = gradient.contiguous()?;
    let planes = Planes::new(x, matrix, stride, padding)?;
    let (Some(planes), Some(values)) = (planes, floats(&gradient)) else { return Err(unfit()) };
    Tensor::from_vec(planes.backward(&values, matrix), x.shape(), x.device())
}

/// The gradient of a convolution's input of `size`: a convolution of the result's gradient with the transposed and
/// turned kernel.
fn input_gradient(
    gradient: &Tensor,
    weight: &Tensor,
    size: (usize, usize),
    stride: usize,
    padding: usize,
) -> candle_core::Result<Tensor> {
    let (batch, output, out_height, out_width) = gradient.dims4()?;
    let (_, input, kernel_height, kernel_width) = weight.dims4()?;
    let gradient = gradient.contiguous()?;
    let square = kernel_height == kernel_width && padding < kernel_height;
    if let (true, Some(found), Some(values)) = (square, floats(&gradient), floats(weight)) {
        let g = Geometry {
            batch,
            input,
            height: size.0,
            width: size.1,
            output,
            kernel_height,
            kernel_width,
            stride,
            padding,
        };
        let out = cpu::conv2d_backward(&found, &values, &g);
        return Tensor::from_vec(out, (batch, input, size.0, size.1), gradient.device());
    }
    let reached = |out: usize, kernel: usize| (out - 1) * stride + kernel - 2 * padding;
    let missing = (size.0 - reached(out_height, kernel_height), size.1 - reached(out_width, kernel_width));
    let whole = gradient.conv_transpose2d(weight, padding, missing.0.max(missing.1), stride, 1)?;
    whole.narrow(2, 0, size.0)?.narrow(3, 0, size.1)
}

fn composed(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    add: Option<&Tensor>,
    stride: usize,
    padding: usize,
) -> Result<Tensor> {
    // cuDNN writes nothing out.
    let y = if x.device().is_cuda() && !cfg!(feature = "cudnn") {
        in_bands(x, weight, stride, padding, MAX_COLUMN_VALUES)?
    } else {
        x.conv2d(weight, padding, stride, 1, 1)?
    };
    let batch = if bias.rank() == 2 { bias.dim(0)? } else { 1 };
    let y = y.broadcast_add(&bias.reshape((batch, y.dim(1)?, 1, 1))?)?;
    Ok(match add {
        Some(add) => (y + add)?,
        None => y,
    })
}

/// candle's convolution, in as many bands of rows as keep it below `most` values: on a GPU it first writes out all
/// that every output looks at, nine times the image for a 3×3 kernel.
fn in_bands(x: &Tensor, weight: &Tensor, stride: usize, padding: usize, most: usize) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let (_, _, kernel_height, kernel_width) = weight.dims4()?;
    let whole = || Ok(x.conv2d(weight, padding, stride, 1, 1)?);
    let length =
        |from: usize, kernel: usize| (from + 2 * padding).checked_sub(kernel).map(|n| n / stride + 1);
    let (Some(height), Some(width)) = (length(height, kernel_height), length(width, kernel_width)) else {
        // candle subtracts without looking.
        let message = format!("a kernel of {kernel_height}×{kernel_width} on an image of {height}×{width}");
        return Err(candle_core::Error::Msg(message).into());
    };
    let columns = batch * channels * kernel_height * kernel_width * width;
    let rows = (most / columns.max(1)).max(1);
    if rows >= height {
        return whole();
    }
    let padded = x.pad_with_zeros(2, padding, padding)?.pad_with_zeros(3, padding, padding)?;
    let band = |first: usize| {
        let rows = rows.min(height - first);
        let seen = padded.narrow(2, first * stride, (rows - 1) * stride + kernel_height)?;
        seen.conv2d(weight, 0, stride, 1, 1)
    };
    let bands: Vec<_> = (0..height).step_by(rows).map(band).collect::<candle_core::Result<_>>()?;
    Ok(Tensor::cat(&bands, 2)?)
}

/// `None` where the fast form does not apply.
fn fast(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    add: Option<&Tensor>,
    stride: usize,
    padding: usize,
) -> Result<Option<Tensor>> {
    let (batch, input, height, width) = x.dims4()?;
    let (output, weight_input, kernel_height, kernel_width) = weight.dims4()?;
    let g = Geometry { batch, input, height, width, output, kernel_height, kernel_width, stride, padding };
    let fits = input == weight_input
        && height + 2 * padding >= kernel_height
        && width + 2 * padding >= kernel_width
        && (bias.elem_count() == output || bias.dims() == [batch, output]);
    if !fits {
        return Ok(None);
    }
    let (out_height, out_width) = g.output_size();
    let shape = (batch, output, out_height, out_width);
    let add = match add {
        None => None,
        Some(add) if add.dims() == [batch, output, out_height, out_width] => match floats(add) {
            None => return Ok(None),
            some => some,
        },
        Some(_) => return Ok(None),
    };
    let (Some(x_values), Some(weight), Some(bias)) = (floats(x), floats(weight), floats(bias)) else {
        return Ok(None);
    };
    let y = cpu::conv2d(&x_values, &weight, Some(&bias), add.as_deref(), &g);
    Ok(Some(Tensor::from_vec(y, shape, x.device())?))
}

/// Nearest-neighbour interpolation to `height` × `width`, with torch's choice of source pixels.
pub(crate) fn upsample_nearest(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    // candle's own is the fast one, but its gradient is a convolution, which the CPU lacks in bf16; it takes equal whole
    // factors only, and overwrites what has been summed up. Picking rows and columns has a gradient for any.
    if !x.track_op() && height.is_multiple_of(h) && width.is_multiple_of(w) {
        return Ok(x.upsample_nearest2d(height, width)?);
    }
    let rows = source_indices(h, height, x.device())?;
    let columns = source_indices(w, width, x.device())?;
    Ok(x.index_select(&rows, 2)?.index_select(&columns, 3)?)
}

/// torch's rule: floor(i · in/out) in f32.
fn source_indices(from: usize, to: usize, device: &Device) -> Result<Tensor> {
    let scale = from as f32 / to as f32;
    let indices: Vec<u32> =
        (0..to).map(|i| ((i as f32 * scale).floor() as usize).min(from - 1) as u32).collect();
    Ok(Tensor::new(indices, device)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{assert_equal, random};

    #[test]
    fn the_fast_form_equals_the_composed_one() {
        // batch, input, height, width, output, kernel, stride, padding
        let cases = [
            (1, 1, 1, 1, 1, 1, 1, 0),
            (2, 3, 7, 5, 6, 3, 1, 1),
            (1, 5, 33, 31, 3, 3, 1, 1),
            (3, 4, 8, 8, 9, 3, 2, 1),
            (1, 4, 9, 7, 4, 3, 2, 1),
            (2, 6, 9, 9, 5, 3, 2, 0),
            (2, 17, 6, 40, 8, 1, 1, 0),
            (1, 2, 12, 11, 4, 5, 1, 2),
            (1, 2, 12, 11, 4, 5, 3, 2),
            (1, 2, 4, 900, 4, 3, 1, 1),
        ];
        for (i, (batch, input, height, width, output, kernel, stride, padding)) in
            cases.into_iter().enumerate()
        {
            let x = random(&[batch, input, height, width], i);
            let weight = random(&[output, input, kernel, kernel], 100 + i);
            let plain = composed(&x, &weight, &random(&[output], 200), None, stride, padding).unwrap();
            let add = random(plain.dims(), 300 + i);
            let biases = [random(&[output], 200), random(&[1, output], 202), random(&[batch, output], 201)];
            for (bias, add) in biases.into_iter().zip([None, Some(&add), Some(&add)]) {
                let expected = composed(&x, &weight, &bias, add, stride, padding).unwrap();
                let found = fast(&x, &weight, &bias, add, stride, padding).unwrap().unwrap();
                assert_equal(&found, &expected);
            }
        }
    }

    #[test]
    fn gradients_equal_those_of_the_composed_form() {
        // batch, input, height, width, output, kernel, stride, padding
        let cases = [
            (2, 3, 7, 5, 6, 3, 1, 1),
            (1, 5, 6, 9, 3, 1, 1, 0),
            (3, 4, 8, 8, 9, 3, 2, 1),
            (1, 4, 9, 7, 4, 3, 2, 1),
            (2, 6, 9, 9, 5, 3, 2, 0),
            (1, 2, 12, 11, 4, 5, 1, 2),
        ];
        for (i, (batch, input, height, width, output, kernel, stride, padding)) in
            cases.into_iter().enumerate()
        {
            let weight = random(&[output, input, kernel, kernel], 100 + i);
            let var = |shape: &[usize], seed| candle_core::Var::from_tensor(&random(shape, seed)).unwrap();
            let x = var(&[batch, input, height, width], i);
            for bias in [var(&[output], 200), var(&[1, output], 201), var(&[batch, output], 202)] {
                let plain = composed(&x, &weight, &bias, None, stride, padding).unwrap();
                let add = var(plain.dims(), 300);
                let gradients = |y: Tensor| {
                    let loss = (&y * random(y.dims(), 400)).unwrap().sum_all().unwrap();
                    let found = loss.backward().unwrap();
                    [&x, &bias, &add].map(|var| found.get(var).unwrap().clone())
                };
                // candle cannot differentiate every geometry; differences of the result can be had for all.
                let found = gradients(
                    conv2d(&x, &weight.clone().into(), &bias, Some(&add), stride, padding).unwrap(),
                );
                let at = |x: &Tensor| {
                    let y = composed(x, &weight, &bias, Some(&add), stride, padding).unwrap().detach();
                    (&y * random(y.dims(), 400)).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()
                };
                for direction in 0..3 {
                    let direction = random(x.dims(), 500 + direction);
                    let moved = |t: f64| (x.detach() + (&direction * t).unwrap()).unwrap();
                    // Linear in x, so any step will do.
                    let expected = (at(&moved(1.0)) - at(&moved(-1.0))) / 2.0;
                    let slope =
                        (&found[0] * &direction).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
                    assert!((slope - expected).abs() < 1e-3 * (1.0 + expected.abs()), "{slope} {expected}");
                }
                let other = gradients(composed(&x, &weight, &bias, Some(&add), stride, padding).unwrap());
                assert_equal(&found[1], &other[1]);
                assert_equal(&found[2], &other[2]);
            }
        }
    }

    #[test]
    fn bands_of_rows_equal_the_whole() {
        for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (3, 2, 0), (1, 1, 0), (5, 3, 2)] {
            let (x, weight) = (random(&[2, 3, 11, 8], kernel), random(&[4, 3, kernel, kernel], stride));
            let expected = x.conv2d(&weight, padding, stride, 1, 1).unwrap();
            let row = 2 * 3 * kernel * kernel * expected.dims()[3];
            for most in [0, row, 2 * row, 3 * row + 1, 1 << 20] {
                assert_equal(&in_bands(&x, &weight, stride, padding, most).unwrap(), &expected);
            }
        }
        let (x, weight) = (random(&[1, 3, 2, 2], 0), random(&[4, 3, 3, 3], 0));
        assert!(in_bands(&x, &weight, 1, 0, 1).is_err());
    }

    #[test]
    fn enlargement_to_any_size_takes_torchs_pixels() {
        let x = Tensor::new(&[[[[0f32, 1., 2.]]]], &Device::Cpu).unwrap();
        let row =
            |width| upsample_nearest(&x, 1, width).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(row(5), [0., 0., 1., 1., 2.]);
        assert_eq!(row(6), [0., 0., 1., 1., 2., 2.]);
    }
}
