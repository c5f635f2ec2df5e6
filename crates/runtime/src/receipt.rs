//! The engine's receipts in the words of the studio and of recipes.

use adire_engine::adapter::{AppliedLayer, Receipt, SkippedLayer};
use adire_protocol::{AdapterLayer, AdapterReceipt, EmbeddingUse, SkippedAdapterLayer};

/// Words and hashes of the embeddings that took part.
pub fn embedding_uses(embeddings: Vec<(String, String)>) -> Vec<EmbeddingUse> {
    embeddings.into_iter().map(|(word, hash)| EmbeddingUse { word, hash }).collect()
}

/// The engine's receipt as others read it.
pub(crate) fn receipt(receipt: Receipt) -> AdapterReceipt {
    let layer = |layer: AppliedLayer| AdapterLayer {
        component: layer.component.name().to_owned(),
        module: layer.module,
        kind: layer.kind.name().to_owned(),
        rank: u32::try_from(layer.rank).unwrap_or(u32::MAX),
        alpha: finite(layer.alpha),
        scale: finite(layer.scale),
        ratio: finite(layer.ratio),
    };
    let skipped = |layer: SkippedLayer| SkippedAdapterLayer { module: layer.module, reason: layer.reason };
    AdapterReceipt {
        formats: receipt.formats.iter().map(|format| format.label().to_owned()).collect(),
        family: receipt.family.to_string(),
        warning: receipt.warning(),
        left_out: receipt.left_out,
        applied: receipt.applied.into_iter().map(layer).collect(),
        skipped: receipt.skipped.into_iter().map(skipped).collect(),
        unknown: receipt.unknown,
    }
}

/// JSON has no infinity; a base weight of zeros has a ratio that is none.
fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}
