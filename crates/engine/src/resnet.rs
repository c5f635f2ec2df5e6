//! ResnetBlock2D, down- and upsampling: what UNet and VAE have in common.

use candle_core::Tensor;

use crate::{
    ParameterVisitor, Result,
    checkpoint::Cursor,
    layers::{Conv2d, GroupNorm, Linear},
    ops::{self, Activation},
};

/// How the normalisations of a model are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormConfig {
    /// Groups of every group normalisation.
    pub(crate) groups: usize,
    /// Added to the variance.
    pub(crate) eps: f64,
    /// The nonlinearity after it.
    pub(crate) activation: Activation,
}

impl NormConfig {
    pub(crate) fn load(&self, channels: usize, cursor: &Cursor<'_>) -> Result<GroupNorm> {
        GroupNorm::load(channels, self.groups, self.eps, Some(self.activation), cursor)
    }
}

/// Two 3×3 convolutions, each after a normalisation, around a shortcut; the time embedding is added between.
#[derive(Clone, Debug)]
pub(crate) struct Resnet {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

impl Resnet {
    /// `time_width` is the width of the time embedding, if there is one.
    pub(crate) fn load(
        input: usize,
        output: usize,
        time_width: Option<usize>,
        norm: &NormConfig,
        cursor: &Cursor<'_>,
    ) -> Result<Self> {
        let shortcut = |_| Conv2d::load(input, output, 1, &cursor.pp("conv_shortcut"));
        Ok(Self {
            norm1: norm.load(input, &cursor.pp("norm1"))?,
            conv1: Conv2d::load(input, output, 3, &cursor.pp("conv1"))?,
            time_emb_proj: time_width
                .map(|width| Linear::load(width, output, &cursor.pp("time_emb_proj")))
                .transpose()?,
            norm2: norm.load(output, &cursor.pp("norm2"))?,
            conv2: Conv2d::load(output, output, 3, &cursor.pp("conv2"))?,
            conv_shortcut: (input != output).then_some(()).map(shortcut).transpose()?,
        })
    }

    /// `x` [batch, in, height, width]; `time` [1 or batch, 1, time width] with its activation applied.
    pub(crate) fn forward(&self, x: &Tensor, time: Option<&Tensor>) -> Result<Tensor> {
        // Assigned, not shadowed: at the VAE's full size each of these has hundreds of megabytes.
        let mut h = self.norm1.forward(x)?;
        h = match (&self.time_emb_proj, time) {
            (Some(proj), Some(time)) => self.conv1.forward_plus(&h, &proj.forward(time)?.squeeze(1)?)?,
            _ => self.conv1.forward(&h)?,
        };
        h = self.norm2.forward(&h)?;
        match &self.conv_shortcut {
            Some(shortcut) => self.conv2.forward_onto(&h, &shortcut.forward(x)?),
            None => self.conv2.forward_onto(&h, x),
        }
    }

    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.norm1.visit(&format!("{path}.norm1"), f)?;
        self.conv1.visit(&format!("{path}.conv1"), f)?;
        if let Some(proj) = &mut self.time_emb_proj {
            proj.visit(&format!("{path}.time_emb_proj"), f)?;
        }
        self.norm2.visit(&format!("{path}.norm2"), f)?;
        self.conv2.visit(&format!("{path}.conv2"), f)?;
        match &mut self.conv_shortcut {
            Some(shortcut) => shortcut.visit(&format!("{path}.conv_shortcut"), f),
            None => Ok(()),
        }
    }
}

/// Halves the size by a convolution of stride 2.
#[derive(Clone, Debug)]
pub(crate) struct Downsample {
    conv: Conv2d,
    pad_right: bool,
}

impl Downsample {
    /// With `padding` 0 the image is padded at the right and bottom only, as the VAE does it.
    pub(crate) fn load(channels: usize, padding: usize, cursor: &Cursor<'_>) -> Result<Self> {
        let conv = Conv2d::load_strided(channels, channels, 3, 2, padding, &cursor.pp("conv"))?;
        Ok(Self { conv, pad_right: padding == 0 })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.pad_right {
            self.conv.forward(&x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?)
        } else {
            self.conv.forward(x)
        }
    }

    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.conv.visit(&format!("{path}.conv"), f)
    }
}

/// Nearest-neighbour enlargement and a convolution.
#[derive(Clone, Debug)]
pub(crate) struct Upsample {
    conv: Conv2d,
}

impl Upsample {
    pub(crate) fn load(channels: usize, cursor: &Cursor<'_>) -> Result<Self> {
        Ok(Self { conv: Conv2d::load(channels, channels, 3, &cursor.pp("conv"))? })
    }

    /// To `size` (height, width), or to twice the size.
    pub(crate) fn forward(&self, x: &Tensor, size: Option<(usize, usize)>) -> Result<Tensor> {
        let (_, _, height, width) = x.dims4()?;
        let (height, width) = size.unwrap_or((2 * height, 2 * width));
        self.conv.forward(&ops::upsample_nearest(x, height, width)?)
    }

    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.conv.visit(&format!("{path}.conv"), f)
    }
}
