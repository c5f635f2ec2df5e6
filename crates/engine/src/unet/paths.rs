//! The paths of every linear layer, convolution and normalisation of a UNet, from its config alone: what adapters' names are
//! looked up in where no weights are loaded.

use super::config::{AttentionConfig, BlockType, MidBlockType, UNetConfig};

/// In the order of [`super::UNet::visit_parameters`].
pub(crate) fn module_paths(config: &UNetConfig) -> Vec<String> {
    let levels: Vec<_> = (0..config.block_out_channels.len()).filter_map(|i| config.block(i)).collect();
    let (Some(first), last) = (levels.first(), levels.len().saturating_sub(1)) else { return Vec::new() };
    let mut paths: Vec<String> =
        ["conv_in", "time_embedding.linear_1", "time_embedding.linear_2"].map(str::to_owned).to_vec();
    let mut skips = vec![first.channels];
    let mut channels = first.channels;
    for (i, level) in levels.iter().enumerate() {
        let path = format!("down_blocks.{i}");
        let mut inputs = vec![level.channels; level.layers];
        if let Some(first) = inputs.first_mut() {
            *first = channels;
        }
        let attention = config.down_block_types[i] == BlockType::CrossAttnDown;
        block(&mut paths, &path, &inputs, level.channels, attention.then_some(&level.attention));
        channels = level.channels;
        skips.extend(vec![channels; level.layers + usize::from(i < last)]);
        if i < last {
            paths.push(format!("{path}.downsamplers.0.conv"));
        }
    }
    if let Some((kind, level)) = config.mid_block() {
        resnet(&mut paths, "mid_block.resnets.0", false);
        if kind == MidBlockType::CrossAttn {
            transformer(&mut paths, "mid_block.attentions.0", &level.attention);
            resnet(&mut paths, "mid_block.resnets.1", false);
        }
    }
    for (i, level) in levels.iter().rev().enumerate() {
        let path = format!("up_blocks.{i}");
        let mut inputs = Vec::new();
        for _ in 0..=level.layers {
            inputs.push(channels + skips.pop().unwrap_or(0));
            channels = level.channels;
        }
        let attention = config.up_block_types[i] == BlockType::CrossAttnUp;
        block(&mut paths, &path, &inputs, level.channels, attention.then_some(&level.attention));
        if i < last {
            paths.push(format!("{path}.upsamplers.0.conv"));
        }
    }
    paths.extend(["conv_norm_out", "conv_out"].map(str::to_owned));
    paths
}

fn block(
    paths: &mut Vec<String>,
    path: &str,
    inputs: &[usize],
    channels: usize,
    attention: Option<&AttentionConfig>,
) {
    for (i, input) in inputs.iter().enumerate() {
        resnet(paths, &format!("{path}.resnets.{i}"), *input != channels);
    }
    if let Some(config) = attention {
        for i in 0..inputs.len() {
            transformer(paths, &format!("{path}.attentions.{i}"), config);
        }
    }
}

fn resnet(paths: &mut Vec<String>, path: &str, shortcut: bool) {
    paths.extend(["norm1", "conv1", "time_emb_proj", "norm2", "conv2"].map(|name| format!("{path}.{name}")));
    if shortcut {
        paths.push(format!("{path}.conv_shortcut"));
    }
}

fn transformer(paths: &mut Vec<String>, path: &str, config: &AttentionConfig) {
    paths.extend(["norm", "proj_in"].map(|name| format!("{path}.{name}")));
    for i in 0..config.layers {
        let layer = format!("{path}.transformer_blocks.{i}");
        for (norm, attention) in [("norm1", "attn1"), ("norm2", "attn2")] {
            let projections = ["to_q", "to_k", "to_v", "to_out.0"];
            paths.push(format!("{layer}.{norm}"));
            paths.extend(projections.map(|name| format!("{layer}.{attention}.{name}")));
        }
        paths.extend(["norm3", "ff.net.0.proj", "ff.net.2"].map(|name| format!("{layer}.{name}")));
    }
    paths.push(format!("{path}.proj_out"));
}
