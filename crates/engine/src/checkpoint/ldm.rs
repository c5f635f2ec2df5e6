//! The names that tensors have in single-file checkpoints: those of the original latent diffusion code (Rombach et
//! al. 2022). A model asks for diffusers' name; here it becomes the name in the file.

/// How a file names its tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// As diffusers does, and this engine.
    Diffusers,
    /// `model.diffusion_model.…`.
    LdmUnet {
        /// Residual blocks of each level on the way down, from the image's side.
        layers: Vec<usize>,
        /// For each block on the way up, whether it has attention.
        up_attention: Vec<bool>,
    },
    /// `first_stage_model.…`, or the same without that.
    LdmVae {
        /// How many levels there are.
        levels: usize,
        /// What stands before each name; `first_stage_model.` or nothing.
        prefix: &'static str,
    },
    /// `cond_stage_model.transformer.…`, from there on as transformers names it.
    LdmText,
}

/// Inside a residual block of the UNet.
const UNET_RESNET: [(&str, &str); 6] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];

/// Inside the VAE's attention.
const VAE_ATTENTION: [(&str, &str); 5] =
    [("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")];

impl Naming {
    /// The name in the file of what diffusers calls `key`; `None` where the file's format has no such tensor.
    pub(crate) fn stored(&self, key: &str) -> Option<String> {
        match self {
            Self::Diffusers => Some(key.to_owned()),
            Self::LdmUnet { layers, up_attention } => {
                Some(format!("model.diffusion_model.{}", unet(key, layers, up_attention)?))
            }
            Self::LdmVae { levels, prefix } => Some(format!("{prefix}{}", vae(key, *levels)?)),
            Self::LdmText => Some(format!("cond_stage_model.transformer.{key}")),
        }
    }

    /// Whether the weight of a linear layer may be stored as that of a 1×1 convolution.
    pub(crate) fn stores_linear_as_conv(&self, key: &str) -> bool {
        matches!(self, Self::LdmVae { .. }) && key.contains(".attentions.")
    }

    /// What says which tensors there should be.
    pub(crate) fn config(&self) -> &'static str {
        match self {
            Self::Diffusers => "its config.json",
            _ => "the structure of Stable Diffusion 1.x (a model of another structure needs its own configs)",
        }
    }
}

/// The first name of `path` and what follows, if it is a number.
fn index(path: &str) -> Option<(usize, &str)> {
    let (number, rest) = path.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

/// Replaces the beginning of `path` by the other side of `table`.
fn renamed(path: &str, table: &[(&str, &str)]) -> Option<String> {
    table.iter().find_map(|(from, to)| {
        let rest = path.strip_prefix(from)?;
        rest.starts_with('.').then(|| format!("{to}{rest}"))
    })
}

fn unet(key: &str, layers: &[usize], up_attention: &[bool]) -> Option<String> {
    let whole = [
        ("conv_in", "input_blocks.0.0"),
        ("time_embedding.linear_1", "time_embed.0"),
        ("time_embedding.linear_2", "time_embed.2"),
        ("conv_norm_out", "out.0"),
        ("conv_out", "out.2"),
        ("mid_block.attentions.0", "middle_block.1"),
    ];
    if let Some(name) = renamed(key, &whole) {
        return Some(name);
    }
    if let Some(rest) = key.strip_prefix("mid_block.resnets.") {
        let (i, rest) = index(rest)?;
        return Some(format!("middle_block.{}.{}", 2 * i, renamed(rest, &UNET_RESNET)?));
    }
    if let Some(rest) = key.strip_prefix("down_blocks.") {
        let (block, rest) = index(rest)?;
        // The first input block is conv_in; each level has its layers and one for the downsampling.
        let first = 1 + layers.get(..block)?.iter().map(|n| n + 1).sum::<usize>();
        if let Some(rest) = rest.strip_prefix("resnets.") {
            let (i, rest) = index(rest)?;
            return Some(format!("input_blocks.{}.0.{}", first + i, renamed(rest, &UNET_RESNET)?));
        }
        if let Some(rest) = rest.strip_prefix("attentions.") {
            let (i, rest) = index(rest)?;
            return Some(format!("input_blocks.{}.1.{rest}", first + i));
        }
        let rest = rest.strip_prefix("downsamplers.0.conv.")?;
        return Some(format!("input_blocks.{}.0.op.{rest}", first + layers.get(block)?));
    }
    let (block, rest) = index(key.strip_prefix("up_blocks.")?)?;
    // On the way up, each level has one layer more, and the upsampling is part of its last.
    let mut counts = layers.iter().rev().map(|n| n + 1);
    let first = counts.by_ref().take(block).sum::<usize>();
    if let Some(rest) = rest.strip_prefix("resnets.") {
        let (i, rest) = index(rest)?;
        return Some(format!("output_blocks.{}.0.{}", first + i, renamed(rest, &UNET_RESNET)?));
    }
    if let Some(rest) = rest.strip_prefix("attentions.") {
        let (i, rest) = index(rest)?;
        return Some(format!("output_blocks.{}.1.{rest}", first + i));
    }
    let rest = rest.strip_prefix("upsamplers.0.conv.")?;
    let place = 1 + usize::from(*up_attention.get(block)?);
    Some(format!("output_blocks.{}.{place}.conv.{rest}", first + counts.next()? - 1))
}

fn vae(key: &str, levels: usize) -> Option<String> {
    if key.starts_with("quant_conv.") || key.starts_with("post_quant_conv.") {
        return Some(key.to_owned());
    }
    let (side, rest) = key.split_once('.')?;
    let resnet = |rest: &str| match rest.strip_prefix("conv_shortcut.") {
        Some(rest) => format!("nin_shortcut.{rest}"),
        None => rest.to_owned(),
    };
    let inside = if let Some(rest) = rest.strip_prefix("mid_block.resnets.") {
        let (i, rest) = index(rest)?;
        format!("mid.block_{}.{}", i + 1, resnet(rest))
    } else if let Some(rest) = rest.strip_prefix("mid_block.attentions.0.") {
        format!("mid.attn_1.{}", renamed(rest, &VAE_ATTENTION)?)
    } else if let Some(rest) = rest.strip_prefix("down_blocks.") {
        let (level, rest) = index(rest)?;
        match rest.strip_prefix("downsamplers.0.") {
            Some(rest) => format!("down.{level}.downsample.{rest}"),
            None => {
                let (i, rest) = index(rest.strip_prefix("resnets.")?)?;
                format!("down.{level}.block.{i}.{}", resnet(rest))
            }
        }
    } else if let Some(rest) = rest.strip_prefix("up_blocks.") {
        let (block, rest) = index(rest)?;
        // The decoder's levels are numbered from the image's side.
        let level = levels.checked_sub(1 + block)?;
        match rest.strip_prefix("upsamplers.0.") {
            Some(rest) => format!("up.{level}.upsample.{rest}"),
            None => {
                let (i, rest) = index(rest.strip_prefix("resnets.")?)?;
                format!("up.{level}.block.{i}.{}", resnet(rest))
            }
        }
    } else {
        match rest.strip_prefix("conv_norm_out.") {
            Some(rest) => format!("norm_out.{rest}"),
            None => rest.to_owned(),
        }
    };
    Some(format!("{side}.{inside}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// diffusers' own conversion gives these names (`tools/goldens/checkpoints.py`).
    #[test]
    fn names_are_those_that_diffusers_maps_back() {
        let path = "tests/goldens/checkpoints/ldm.json";
        let text = std::fs::read_to_string(path).unwrap();
        let all: HashMap<String, HashMap<String, HashMap<String, String>>> =
            serde_json::from_str(&text).unwrap();
        let unet = |layers: &[usize], up_attention: &[bool]| Naming::LdmUnet {
            layers: layers.to_vec(),
            up_attention: up_attention.to_vec(),
        };
        let sd15 = unet(&[2; 4], &[false, true, true, true]);
        let vae = |levels| Naming::LdmVae { levels, prefix: "first_stage_model." };
        let counts = [("sd15", "unet", sd15, 686), ("sd15", "vae", vae(4), 248)];
        for (model, part, naming, count) in counts {
            let names = &all[model][part];
            assert_eq!(names.len(), count, "{model} {part}");
            for (key, name) in names {
                assert_eq!(naming.stored(key).as_ref(), Some(name), "{key}");
            }
        }
        for (key, name) in &all["sd15"]["text_encoder"] {
            assert_eq!(Naming::LdmText.stored(key).as_ref(), Some(name));
        }
    }

    #[test]
    fn what_the_format_does_not_have_has_no_name() {
        let unet = Naming::LdmUnet { layers: vec![1, 1], up_attention: vec![false, true] };
        for key in [
            "",
            "down_blocks",
            "down_blocks.9.resnets.0.conv1.weight",
            "down_blocks.x.resnets.0.conv1.weight",
            "up_blocks.9.upsamplers.0.conv.weight",
            "down_blocks.0.resnets.0.conv3.weight",
        ] {
            assert_eq!(unet.stored(key), None, "{key}");
        }
        let vae = Naming::LdmVae { levels: 2, prefix: "" };
        assert_eq!(vae.stored("decoder.up_blocks.2.resnets.0.conv1.weight"), None);
        assert_eq!(
            vae.stored("encoder.mid_block.attentions.0.query.weight"),
            None,
            "the old names are diffusers'"
        );
    }
}
