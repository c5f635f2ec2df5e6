//! Which blocks a UNet has, in the order of a forward pass, what channels they get, and where they stand in a checkpoint. Its
//! modules and its plan are both built from this.

use super::config::{AttentionConfig, BlockConfig, BlockType, MidBlockType, UNetConfig};

/// Where the block between the way down and the way up stands.
pub(crate) const MID_BLOCK: &str = "mid_block";
/// Where a block's convolution to half the size stands in it.
pub(crate) const DOWNSAMPLER: &str = "downsamplers.0";
/// Where a block's convolution behind the doubled size stands in it.
pub(crate) const UPSAMPLER: &str = "upsamplers.0";

/// Where residual block `i` of a block stands in it.
pub(crate) fn resnet(i: usize) -> String {
    format!("resnets.{i}")
}

/// Where transformer `i` of a block stands in it.
pub(crate) fn attention(i: usize) -> String {
    format!("attentions.{i}")
}

/// The blocks of a UNet.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    /// Channels behind the first convolution, and before the last one.
    pub(crate) channels: usize,
    /// From the image's side.
    pub(crate) down: Vec<Block>,
    pub(crate) mid: Option<(MidBlockType, BlockConfig)>,
    /// Towards the image's side.
    pub(crate) up: Vec<Block>,
}

/// A block of the way down or up.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// `down_blocks.0`
    pub(crate) path: String,
    pub(crate) channels: usize,
    /// The transformer behind each residual block, where there is one.
    pub(crate) attention: Option<AttentionConfig>,
    /// What each residual block gets.
    pub(crate) inputs: Vec<Input>,
    /// Whether the size changes behind the last residual block.
    pub(crate) resamples: bool,
}

/// Channels that a residual block gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Input {
    /// Of the block's own state.
    pub(crate) state: usize,
    /// Of the skip beside it; none on the way down.
    pub(crate) skip: usize,
}

impl Topology {
    /// The blocks of a config that was checked.
    pub(crate) fn new(config: &UNetConfig) -> Self {
        let levels: Vec<BlockConfig> =
            (0..config.block_out_channels.len()).filter_map(|i| config.block(i)).collect();
        let first = levels.first().map_or(0, |level| level.channels);
        let last = levels.len().saturating_sub(1);
        let mut state = first;
        // Channels of every skip, in the order in which the way down makes them.
        let mut skips = vec![first];
        let mut down = Vec::with_capacity(levels.len());
        for (i, level) in levels.iter().enumerate() {
            let inputs = (0..level.layers)
                .map(|_| Input { state: std::mem::replace(&mut state, level.channels), skip: 0 })
                .collect();
            let resamples = i < last;
            skips.extend(std::iter::repeat_n(level.channels, level.layers + usize::from(resamples)));
            let attends = config.down_block_types.get(i) == Some(&BlockType::CrossAttnDown);
            down.push(Block {
                path: format!("down_blocks.{i}"),
                channels: level.channels,
                attention: attends.then_some(level.attention),
                inputs,
                resamples,
            });
        }
        let mut up = Vec::with_capacity(levels.len());
        for (i, level) in levels.iter().rev().enumerate() {
            let inputs = (0..=level.layers)
                .map(|_| Input {
                    state: std::mem::replace(&mut state, level.channels),
                    skip: skips.pop().unwrap_or(0),
                })
                .collect();
            let attends = config.up_block_types.get(i) == Some(&BlockType::CrossAttnUp);
            up.push(Block {
                path: format!("up_blocks.{i}"),
                channels: level.channels,
                attention: attends.then_some(level.attention),
                inputs,
                resamples: i < last,
            });
        }
        Self { channels: first, down, mid: config.mid_block(), up }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_diffusion_has_its_blocks() {
        let topology = Topology::new(&UNetConfig::sd15());
        assert_eq!(topology.channels, 320);
        let of = |block: &Block| {
            let inputs: Vec<usize> = block.inputs.iter().map(|input| input.state + input.skip).collect();
            (block.path.clone(), block.channels, block.attention.is_some(), inputs, block.resamples)
        };
        let down: Vec<_> = topology.down.iter().map(of).collect();
        assert_eq!(
            down,
            [
                ("down_blocks.0".to_owned(), 320, true, vec![320, 320], true),
                ("down_blocks.1".to_owned(), 640, true, vec![320, 640], true),
                ("down_blocks.2".to_owned(), 1280, true, vec![640, 1280], true),
                ("down_blocks.3".to_owned(), 1280, false, vec![1280, 1280], false),
            ]
        );
        let up: Vec<_> = topology.up.iter().map(of).collect();
        assert_eq!(
            up,
            [
                ("up_blocks.0".to_owned(), 1280, false, vec![2560, 2560, 2560], true),
                ("up_blocks.1".to_owned(), 1280, true, vec![2560, 2560, 1920], true),
                ("up_blocks.2".to_owned(), 640, true, vec![1920, 1280, 960], true),
                ("up_blocks.3".to_owned(), 320, true, vec![960, 640, 640], false),
            ]
        );
    }
}
