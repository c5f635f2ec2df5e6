//! Layers with their weights, each reading its own keys.

use candle_core::Tensor;

use crate::{
    Parameter, ParameterVisitor, Result, Weight,
    checkpoint::Cursor,
    ops::{self, Activation, Operand},
};

/// `y = x·Wᵀ + b` over the last axis. Also stands for a 1×1 convolution of the checkpoint, applied to tokens.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Weight>,
}

impl Linear {
    pub(crate) fn load(input: usize, output: usize, cursor: &Cursor<'_>) -> Result<Self> {
        let weight = cursor.weight((output, input), "weight")?;
        Ok(Self { weight, bias: Some(Weight::new(cursor.get(output, "bias")?)) })
    }

    pub(crate) fn load_no_bias(input: usize, output: usize, cursor: &Cursor<'_>) -> Result<Self> {
        Ok(Self { weight: cursor.weight((output, input), "weight")?, bias: None })
    }

    /// From a weight [out, in] and a bias [out] that were stored among others.
    pub(crate) fn of(weight: Tensor, bias: Tensor) -> Self {
        Self { weight: Weight::new(weight), bias: Some(Weight::new(bias)) }
    }

    /// From the weight of a 1×1 convolution.
    pub(crate) fn load_conv(input: usize, output: usize, cursor: &Cursor<'_>) -> Result<Self> {
        let weight = cursor.weight((output, input, 1, 1), "weight")?;
        Ok(Self { weight, bias: Some(Weight::new(cursor.get(output, "bias")?)) })
    }

    /// `x` [batch, tokens, in] to [batch, tokens, out].
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let weight = self.weight.operand()?;
        let bias = self.bias.as_ref().map(Weight::effective).transpose()?;
        match self.weight.low_rank() {
            None => ops::linear(x, &weight, bias.as_ref()),
            Some(change) => {
                ops::linear_low_rank(x, &weight, bias.as_ref(), &change.down, &change.up, change.scale)
            }
        }
    }

    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        f(path, Parameter::Weight, &mut self.weight)?;
        match &mut self.bias {
            Some(bias) => f(path, Parameter::Bias, bias),
            None => Ok(()),
        }
    }
}

/// Convolution on [batch, channels, height, width].
#[derive(Clone, Debug)]
pub(crate) struct Conv2d {
    weight: Weight,
    bias: Weight,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    /// A `kernel` × `kernel` convolution of stride 1 that keeps the size.
    pub(crate) fn load(input: usize, output: usize, kernel: usize, cursor: &Cursor<'_>) -> Result<Self> {
        Self::load_strided(input, output, kernel, 1, kernel / 2, cursor)
    }

    pub(crate) fn load_strided(
        input: usize,
        output: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        cursor: &Cursor<'_>,
    ) -> Result<Self> {
        let weight = cursor.weight((output, input, kernel, kernel), "weight")?;
        Ok(Self { weight, bias: Weight::new(cursor.get(output, "bias")?), stride, padding })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.convolve(x, &self.bias.effective()?, None)
    }

    /// Adds `residual`, of the result's shape.
    pub(crate) fn forward_onto(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.convolve(x, &self.bias.effective()?, Some(residual))
    }

    /// Adds `extra` [batch, out] to every pixel of the result.
    pub(crate) fn forward_plus(&self, x: &Tensor, extra: &Tensor) -> Result<Tensor> {
        self.convolve(x, &extra.broadcast_add(&self.bias.effective()?)?, None)
    }

    /// The weight; packed only where kernels have a form for stride and padding.
    fn operand(&self) -> Result<Operand> {
        let kernel = self.weight.dims().last().copied().unwrap_or_default();
        match (kernel, self.stride, self.padding) {
            (3, 1 | 2, 1) | (1, 1, 0) => self.weight.operand(),
            _ => Ok(self.weight.effective()?.into()),
        }
    }

    fn convolve(&self, x: &Tensor, bias: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let y = ops::conv2d(x, &self.operand()?, bias, residual, self.stride, self.padding)?;
        match self.weight.low_rank() {
            None => Ok(y),
            Some(change) => {
                let wide = x.to_dtype(change.down.dtype())?;
                let hidden = wide.conv2d(&change.down, self.padding, self.stride, 1, 1)?;
                let delta = (hidden.conv2d(&change.up, 0, 1, 1, 1)? * change.scale)?;
                let delta = delta.to_dtype(y.dtype())?;
                Ok((y + delta)?)
            }
        }
    }

    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        f(path, Parameter::Weight, &mut self.weight)?;
        f(path, Parameter::Bias, &mut self.bias)
    }
}

/// Group normalisation with an activation after it.
#[derive(Clone, Debug)]
pub(crate) struct GroupNorm {
    weight: Weight,
    bias: Weight,
    groups: usize,
    eps: f64,
    activation: Option<Activation>,
}

impl GroupNorm {
    pub(crate) fn load(
        channels: usize,
        groups: usize,
        eps: f64,
        activation: Option<Activation>,
        cursor: &Cursor<'_>,
    ) -> Result<Self> {
        let weight = Weight::new(cursor.get(channels, "weight")?);
        let bias = Weight::new(cursor.get(channels, "bias")?);
        Ok(Self { weight, bias, groups, eps, activation })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (self.weight.effective()?, self.bias.effective()?);
        ops::group_norm(x, self.groups, &weight, &bias, self.eps, self.activation)
    }

    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        f(path, Parameter::NormWeight, &mut self.weight)?;
        f(path, Parameter::NormBias, &mut self.bias)
    }
}

/// Layer normalisation over the last axis.
#[derive(Clone, Debug)]
pub(crate) struct LayerNorm {
    weight: Weight,
    bias: Weight,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn load(width: usize, eps: f64, cursor: &Cursor<'_>) -> Result<Self> {
        let weight = Weight::new(cursor.get(width, "weight")?);
        Ok(Self { weight, bias: Weight::new(cursor.get(width, "bias")?), eps })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::layer_norm(x, &self.weight.effective()?, &self.bias.effective()?, self.eps)
    }

    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        f(path, Parameter::NormWeight, &mut self.weight)?;
        f(path, Parameter::NormBias, &mut self.bias)
    }
}
