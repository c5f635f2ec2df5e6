//! Receipts: what loading an adapter onto the model did.

use serde::{Deserialize, Serialize};

use crate::AdapterVersion;

/// An adapter version with its receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AdapterDetail {
    /// The version itself.
    #[serde(flatten)]
    pub version: AdapterVersion,
    /// Receipt on the loaded model. Absent while the model is busy; request again later.
    pub receipt: Option<AdapterReceipt>,
    /// Whether its file can be downloaded.
    #[serde(default)]
    pub downloads: bool,
}

/// Receipt of loading an adapter onto the model at strength 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AdapterReceipt {
    /// Naming schemes in the file.
    pub formats: Vec<String>,
    /// Model family, as far as names and shapes tell.
    pub family: String,
    /// Layers applied.
    pub applied: Vec<AdapterLayer>,
    /// Layers skipped, because the model does not have them.
    pub skipped: Vec<SkippedAdapterLayer>,
    /// Unrecognised tensors.
    pub unknown: Vec<String>,
    /// Tensors without effect, by kind; empty if the adapter applies in full.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// One sentence if the adapter applies only in part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Tensors of one kind that have no effect on this model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeftOut {
    /// Their kind, to follow the number: `with unknown names`.
    pub sort: String,
    /// Number of tensors.
    pub tensors: u32,
    /// Some of their names in the file.
    pub examples: Vec<String>,
}

impl LeftOut {
    /// Maximum number of example names.
    pub const EXAMPLES: usize = 3;

    /// One sentence about a file of `total` tensors; `None` if it applies in full.
    pub fn sentence(all: &[Self], total: usize) -> Option<String> {
        let count: u32 = all.iter().map(|left| left.tensors).sum();
        let sorts: Vec<String> = all.iter().map(Self::words).collect();
        (count > 0).then(|| {
            let were = if count == 1 { "was" } else { "were" };
            format!("Applied in part: {count} of {total} tensors {were} left out: {}.", sorts.join("; "))
        })
    }

    fn words(&self) -> String {
        // A name may be as long as the header that it comes from.
        let shown = |name: &String| {
            let cut: String = name.chars().take(80).collect();
            crate::visible(&cut) + if cut.len() < name.len() { "…" } else { "" }
        };
        let examples: Vec<String> = self.examples.iter().map(shown).collect();
        let such = if self.tensors as usize > examples.len() { "such as " } else { "" };
        format!("{} {} ({such}{})", self.tensors, self.sort, examples.join(", "))
    }
}

/// A layer that an adapter changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AdapterLayer {
    /// `unet` or `text_encoder`.
    pub component: String,
    /// The model's own path of the module.
    pub module: String,
    /// How the change is stored: `lora`, `loha`, `lokr`, `full`, `norm`, `ia3`, `glora`, `oft`, `boft`.
    pub kind: String,
    /// Rank of the change.
    pub rank: u32,
    /// Alpha as stored, or the rank where none is.
    pub alpha: f64,
    /// Scale of the factors' product at strength 1: alpha / rank.
    pub scale: f64,
    /// ‖Δ‖ / ‖W‖ at strength 1 (Frobenius norms).
    pub ratio: f64,
}

/// A layer of the file that was skipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SkippedAdapterLayer {
    /// Its name in the file.
    pub module: String,
    /// Why: a clause.
    pub reason: String,
}

/// Relative change of one block of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockChange {
    /// `down_blocks.0`, `mid_block`, `text encoder`.
    pub block: String,
    /// Number of changed layers.
    pub layers: u32,
    /// Mean of their ‖Δ‖ / ‖W‖.
    pub mean: f64,
    /// The largest.
    pub most: f64,
}

impl AdapterReceipt {
    /// Groups the layers by block, in the order of the model.
    pub fn by_block(&self) -> Vec<BlockChange> {
        let mut blocks: Vec<BlockChange> = Vec::new();
        for layer in &self.applied {
            let block = layer.block();
            let at = blocks.iter().position(|known| known.block == block).unwrap_or_else(|| {
                blocks.push(BlockChange { block, layers: 0, mean: 0.0, most: 0.0 });
                blocks.len() - 1
            });
            let change = &mut blocks[at];
            change.layers += 1;
            change.mean += (layer.ratio - change.mean) / f64::from(change.layers);
            change.most = change.most.max(layer.ratio);
        }
        blocks
    }
}

impl AdapterLayer {
    /// Its block.
    fn block(&self) -> String {
        if self.component != "unet" {
            return self.component.replace('_', " ");
        }
        let mut levels = self.module.split('.');
        match (levels.next(), levels.next()) {
            (Some(block), Some(index)) if index.parse::<u32>().is_ok() => format!("{block}.{index}"),
            (block, _) => block.unwrap_or_default().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(component: &str, module: &str, ratio: f64) -> AdapterLayer {
        AdapterLayer {
            component: component.to_owned(),
            module: module.to_owned(),
            kind: "lora".to_owned(),
            rank: 4,
            alpha: 4.0,
            scale: 1.0,
            ratio,
        }
    }

    #[test]
    fn what_is_left_out_is_one_sentence() {
        let left = |sort: &str, tensors, examples: &[&str]| LeftOut {
            sort: sort.to_owned(),
            tensors,
            examples: examples.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(LeftOut::sentence(&[], 5), None);
        let all =
            [left("with unknown names", 1, &["a\u{1b}b"]), left("textual inversions", 7, &["x", "y", "z"])];
        assert_eq!(
            LeftOut::sentence(&all, 20).unwrap(),
            "Applied in part: 8 of 20 tensors were left out: 1 with unknown names (a\\u{1b}b); 7 textual inversions \
             (such as x, y, z)."
        );
    }

    #[test]
    fn layers_are_gathered_by_block() {
        let receipt = AdapterReceipt {
            applied: vec![
                layer("unet", "down_blocks.0.attentions.0.to_q", 0.1),
                layer("unet", "down_blocks.0.attentions.0.to_k", 0.3),
                layer("unet", "mid_block.attentions.0.to_q", 0.5),
                layer("unet", "conv_in", 0.25),
                layer("text_encoder", "text_model.encoder.layers.0.mlp.fc1", 0.0),
            ],
            ..AdapterReceipt::default()
        };
        let blocks = receipt.by_block();
        let names: Vec<_> = blocks.iter().map(|block| (block.block.as_str(), block.layers)).collect();
        assert_eq!(names, [("down_blocks.0", 2), ("mid_block", 1), ("conv_in", 1), ("text encoder", 1)]);
        assert!((blocks[0].mean - 0.2).abs() < 1e-12);
        assert_eq!((blocks[0].most, blocks[3].most), (0.3, 0.0));
    }
}
