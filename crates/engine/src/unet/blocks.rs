//! Down, mid and up blocks, with and without transformers.

use candle_core::Tensor;

use super::{
    config::{BlockConfig, MidBlockType},
    topology::{self, Block, DOWNSAMPLER, UPSAMPLER},
    transformer::Transformer,
};
use crate::{
    EngineError, ParameterVisitor, Result,
    checkpoint::Cursor,
    gradient_checkpointing::GradientCheckpointing,
    resnet::{Downsample, NormConfig, Resnet, Upsample},
};

/// What every block needs to know beside its own sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    pub(crate) norm: NormConfig,
    pub(crate) time_width: usize,
    pub(crate) downsample_padding: usize,
}

/// Residual blocks, each followed by a transformer where the block has attention.
#[derive(Clone, Debug)]
struct Layers {
    resnets: Vec<Resnet>,
    attentions: Vec<Transformer>,
    checkpointing: Option<GradientCheckpointing>,
}

impl Layers {
    fn load(block: &Block, common: &Common, cursor: &Cursor<'_>) -> Result<Self> {
        let channels = block.channels;
        let resnets = block.inputs.iter().enumerate().map(|(i, input)| {
            let cursor = cursor.pp(topology::resnet(i));
            Resnet::load(input.state + input.skip, channels, Some(common.time_width), &common.norm, &cursor)
        });
        let attentions = block.attention.iter().flat_map(|config| {
            (0..block.inputs.len())
                .map(move |i| Transformer::load(channels, config, &cursor.pp(topology::attention(i))))
        });
        Ok(Self {
            resnets: resnets.collect::<Result<_>>()?,
            attentions: attentions.collect::<Result<_>>()?,
            checkpointing: None,
        })
    }

    fn forward(&self, i: usize, x: &Tensor, time: &Tensor, context: &Tensor) -> Result<Tensor> {
        let (resnet, attention) = (&self.resnets[i], self.attentions.get(i));
        let Some(checkpointing) = &self.checkpointing else {
            return layer(resnet, attention, x, time, context);
        };
        let (resnet, attention, time) = (resnet.clone(), attention.cloned(), time.clone());
        checkpointing.run(x, context, move |x, context| layer(&resnet, attention.as_ref(), x, &time, context))
    }

    fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        for (i, resnet) in self.resnets.iter_mut().enumerate() {
            resnet.visit(&format!("{path}.{}", topology::resnet(i)), f)?;
        }
        for (i, attention) in self.attentions.iter_mut().enumerate() {
            attention.visit(&format!("{path}.{}", topology::attention(i)), f)?;
        }
        Ok(())
    }
}

fn layer(
    resnet: &Resnet,
    attention: Option<&Transformer>,
    x: &Tensor,
    time: &Tensor,
    context: &Tensor,
) -> Result<Tensor> {
    let h = resnet.forward(x, Some(time))?;
    match attention {
        Some(attention) => attention.forward(&h, context),
        None => Ok(h),
    }
}

/// DownBlock2D and CrossAttnDownBlock2D.
#[derive(Clone, Debug)]
pub(crate) struct DownBlock {
    layers: Layers,
    downsample: Option<Downsample>,
}

impl DownBlock {
    /// `cursor` stands at the UNet's root.
    pub(crate) fn load(block: &Block, common: &Common, cursor: &Cursor<'_>) -> Result<Self> {
        let cursor = cursor.pp(&block.path);
        let load = || Downsample::load(block.channels, common.downsample_padding, &cursor.pp(DOWNSAMPLER));
        Ok(Self {
            layers: Layers::load(block, common, &cursor)?,
            downsample: block.resamples.then(load).transpose()?,
        })
    }

    /// Pushes every state that the up blocks will need to `skips`.
    pub(crate) fn forward(
        &self,
        x: Tensor,
        time: &Tensor,
        context: &Tensor,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        let mut x = x;
        for i in 0..self.layers.resnets.len() {
            x = self.layers.forward(i, &x, time, context)?;
            skips.push(x.clone());
        }
        if let Some(downsample) = &self.downsample {
            x = downsample.forward(&x)?;
            skips.push(x.clone());
        }
        Ok(x)
    }

    /// Whether the layers' intermediate results are kept for the gradient or computed again.
    pub(crate) fn set_checkpointing(&mut self, checkpointing: Option<&GradientCheckpointing>) {
        self.layers.checkpointing = checkpointing.cloned();
    }

    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.layers.visit(path, f)?;
        match &mut self.downsample {
            Some(downsample) => downsample.visit(&format!("{path}.{DOWNSAMPLER}"), f),
            None => Ok(()),
        }
    }
}

/// UNetMidBlock2DCrossAttn (residual block, transformer, residual block) and UNetMidBlock2D (one residual block).
#[derive(Clone, Debug)]
pub(crate) struct MidBlock {
    first: Resnet,
    rest: Option<(Transformer, Resnet)>,
    checkpointing: Option<GradientCheckpointing>,
}

impl MidBlock {
    pub(crate) fn load(
        kind: MidBlockType,
        config: &BlockConfig,
        common: &Common,
        cursor: &Cursor<'_>,
    ) -> Result<Self> {
        let channels = config.channels;
        let resnet = |i: usize| {
            let cursor = cursor.pp(topology::resnet(i));
            Resnet::load(channels, channels, Some(common.time_width), &common.norm, &cursor)
        };
        let rest = || {
            let attention =
                Transformer::load(channels, &config.attention, &cursor.pp(topology::attention(0)))?;
            Ok::<_, EngineError>((attention, resnet(1)?))
        };
        let rest = (kind == MidBlockType::CrossAttn).then(rest).transpose()?;
        Ok(Self { first: resnet(0)?, rest, checkpointing: None })
    }

    pub(crate) fn forward(&self, x: &Tensor, time: &Tensor, context: &Tensor) -> Result<Tensor> {
        let Some(checkpointing) = &self.checkpointing else { return self.layers(x, time, context) };
        let (this, time) = (Self { checkpointing: None, ..self.clone() }, time.clone());
        checkpointing.run(x, context, move |x, context| this.layers(x, &time, context))
    }

    fn layers(&self, x: &Tensor, time: &Tensor, context: &Tensor) -> Result<Tensor> {
        let h = self.first.forward(x, Some(time))?;
        match &self.rest {
            Some((attention, second)) => second.forward(&attention.forward(&h, context)?, Some(time)),
            None => Ok(h),
        }
    }

    /// Whether the layers' intermediate results are kept for the gradient or computed again.
    pub(crate) fn set_checkpointing(&mut self, checkpointing: Option<&GradientCheckpointing>) {
        self.checkpointing = checkpointing.cloned();
    }

    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.first.visit(&format!("{path}.{}", topology::resnet(0)), f)?;
        match &mut self.rest {
            Some((attention, second)) => {
                attention.visit(&format!("{path}.{}", topology::attention(0)), f)?;
                second.visit(&format!("{path}.{}", topology::resnet(1)), f)
            }
            None => Ok(()),
        }
    }
}

/// UpBlock2D and CrossAttnUpBlock2D.
#[derive(Clone, Debug)]
pub(crate) struct UpBlock {
    layers: Layers,
    upsample: Option<Upsample>,
}

impl UpBlock {
    /// `cursor` stands at the UNet's root.
    pub(crate) fn load(block: &Block, common: &Common, cursor: &Cursor<'_>) -> Result<Self> {
        let cursor = cursor.pp(&block.path);
        let load = || Upsample::load(block.channels, &cursor.pp(UPSAMPLER));
        Ok(Self {
            layers: Layers::load(block, common, &cursor)?,
            upsample: block.resamples.then(load).transpose()?,
        })
    }

    /// Takes its skips from the end of `skips`, and upsamples to the size of the one that comes next: a size
    /// that was odd on the way down is odd again on the way up.
    pub(crate) fn forward(
        &self,
        x: Tensor,
        time: &Tensor,
        context: &Tensor,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        let mut x = x;
        for i in 0..self.layers.resnets.len() {
            if let Some(skip) = skips.pop() {
                x = Tensor::cat(&[&x, &skip], 1)?;
            }
            x = self.layers.forward(i, &x, time, context)?;
        }
        match &self.upsample {
            Some(upsample) => {
                let size = skips.last().map(|skip| skip.dims4()).transpose()?;
                upsample.forward(&x, size.map(|(_, _, height, width)| (height, width)))
            }
            None => Ok(x),
        }
    }

    /// Whether the layers' intermediate results are kept for the gradient or computed again.
    pub(crate) fn set_checkpointing(&mut self, checkpointing: Option<&GradientCheckpointing>) {
        self.layers.checkpointing = checkpointing.cloned();
    }

    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.layers.visit(path, f)?;
        match &mut self.upsample {
            Some(upsample) => upsample.visit(&format!("{path}.{UPSAMPLER}"), f),
            None => Ok(()),
        }
    }
}
