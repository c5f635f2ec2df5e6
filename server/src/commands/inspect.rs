//! `adire adapters inspect`: shows what an adapter file holds and, given a model, its receipt.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    path::PathBuf,
    sync::Arc,
};

use adire_engine::{
    LoadOptions, Pipeline,
    adapter::{Adapter, Component, Family, Format, ModuleInfo, Receipt, Strength},
};
use clap::Args;
use serde::Serialize;

use crate::commands::{model_args, print};

/// Maximum number of list entries in the text output; `--json` has all.
const SHOWN: usize = 12;

/// Arguments of `adire adapters inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Adapter file (.safetensors), or a PEFT folder
    file: PathBuf,
    /// Model folder in Hugging Face layout: also show the receipt on this model
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    /// Fail if the file applies only in part
    #[arg(long)]
    strict: bool,
}

/// What is known about the file.
#[derive(Serialize)]
struct Report<'a> {
    path: PathBuf,
    hash: &'a str,
    formats: Vec<Format>,
    family: Family,
    modules: Vec<ModuleInfo>,
    /// Frequency of each tag in the training captions, most frequent first.
    tags: Vec<(String, u64)>,
    metadata: &'a BTreeMap<String, String>,
    /// Words of the embeddings bundled in the file.
    embeddings: Vec<&'a String>,
    unknown_keys: &'a [String],
    receipt: Option<Receipt>,
}

impl InspectArgs {
    /// Prints the report.
    ///
    /// # Errors
    /// The file is not an adapter, is damaged, or does not fit the model: one sentence.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let adapter = Arc::new(Adapter::read(&self.file)?);
        let receipt = match &self.model {
            None => None,
            Some(folder) => {
                let mut pipeline = Pipeline::load(&model_args::resolve(folder), &LoadOptions::default())?;
                pipeline.set_adapters(&[(Arc::clone(&adapter), Strength::from(1.0))])?.pop()
            }
        };
        let report = Report {
            path: self.file,
            hash: adapter.hash(),
            formats: adapter.formats(),
            family: adapter.family(),
            modules: adapter.modules(),
            tags: tags(adapter.metadata()),
            metadata: adapter.metadata(),
            embeddings: adapter.embeddings().keys().collect(),
            unknown_keys: adapter.unknown_keys(),
            receipt,
        };
        let text = if self.json { serde_json::to_string_pretty(&report)? } else { report.text() };
        print(text.trim_end())?;
        match &report.receipt {
            Some(receipt) if self.strict => match receipt.warning() {
                Some(warning) => anyhow::bail!("{}: {warning}", report.path.display()),
                None => Ok(()),
            },
            None if self.strict && !(report.unknown_keys.is_empty() && report.embeddings.is_empty()) => {
                anyhow::bail!(
                    "{} holds tensors that are not adapter layers, listed above",
                    report.path.display()
                )
            }
            _ => Ok(()),
        }
    }
}

impl Report<'_> {
    fn text(&self) -> String {
        let mut text = format!("{}\n", self.path.display());
        let mut line = |what: &str, value: String| {
            if !value.is_empty() {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  {what:<14} {}", adire_protocol::visible(&value));
            }
        };
        line("sha256", self.hash.to_owned());
        line("format", self.formats.iter().map(|f| f.label()).collect::<Vec<_>>().join(", "));
        line("made for", self.family.to_string());
        line("layers", counted(self.modules.iter().map(kind)));
        line("ranks", counted(self.modules.iter().map(|module| format!("rank {}", module.rank))));
        line("scales", counted(self.modules.iter().map(|module| format!("{:.4}", module.scale))));
        for (key, what) in [
            ("modelspec.title", "title"),
            ("modelspec.author", "author"),
            ("modelspec.trigger_phrase", "trigger"),
            ("ss_output_name", "name"),
            ("ss_sd_model_name", "trained on"),
            ("ss_num_train_images", "images"),
            ("ss_steps", "steps"),
        ] {
            line(
                what,
                self.metadata.get(key).map(|value| value.chars().take(200).collect()).unwrap_or_default(),
            );
        }
        let tags = self.tags.iter().take(SHOWN).map(|(tag, count)| format!("{tag} ({count})"));
        line("tags", tags.collect::<Vec<_>>().join(", "));
        line("embeddings", self.embeddings.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", "));
        line("unknown keys", listed(self.unknown_keys));
        if let Some(receipt) = &self.receipt {
            let of = |component| receipt.applied.iter().filter(|layer| layer.component == component).count();
            let (unet, clip) = (of(Component::Unet), of(Component::TextEncoder));
            line("applies to", format!("{unet} layers of the UNet, {clip} of the text encoder"));
            let skipped: Vec<String> = receipt.skipped.iter().map(|layer| layer.module.clone()).collect();
            line("skipped", listed(&skipped));
            line("in part", receipt.warning().unwrap_or_default());
            for (block, ratios) in by_block(receipt) {
                let (sum, most) = ratios.iter().fold((0.0, 0f64), |(sum, most), r| (sum + r, most.max(*r)));
                let mean = sum / ratios.len() as f64;
                line("‖Δ‖/‖W‖", format!("{block}: {mean:.4} (at most {most:.4})"));
            }
        }
        text
    }
}

fn kind(module: &ModuleInfo) -> String {
    let kind = serde_json::to_value(module.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
    let dora = if module.dora { ", DoRA" } else { "" };
    kind.unwrap_or_default() + dora
}

/// `a (3), b (1)`, most frequent first.
fn counted(values: impl Iterator<Item = String>) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let more = if counts.len() > SHOWN { ", …" } else { "" };
    let shown = counts.iter().take(SHOWN).map(|(value, count)| format!("{value} ({count})"));
    shown.collect::<Vec<_>>().join(", ") + more
}

fn listed(names: &[String]) -> String {
    match names.len() {
        0 => String::new(),
        n if n > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
        _ => names.join(", "),
    }
}

/// ‖Δ‖/‖W‖ of the layers of each block: `down_blocks.0`, `mid_block`, `text_encoder`.
fn by_block(receipt: &Receipt) -> BTreeMap<String, Vec<f64>> {
    let mut blocks = BTreeMap::<String, Vec<f64>>::new();
    for layer in &receipt.applied {
        let mut levels = layer.module.split('.');
        let block = match (layer.component, levels.next(), levels.next()) {
            (Component::TextEncoder, ..) => "text encoder".to_owned(),
            (Component::Unet, Some(block), Some(index)) if index.parse::<u32>().is_ok() => {
                format!("{block}.{index}")
            }
            (Component::Unet, block, _) => block.unwrap_or_default().to_owned(),
        };
        blocks.entry(block).or_default().push(layer.ratio);
    }
    blocks
}

/// kohya's `ss_tag_frequency`: `{"10_folder": {"tag": 24}}`.
fn tags(metadata: &BTreeMap<String, String>) -> Vec<(String, u64)> {
    let folders: HashMap<String, HashMap<String, u64>> =
        metadata.get("ss_tag_frequency").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut sums = BTreeMap::<String, u64>::new();
    for (tag, count) in folders.into_values().flatten() {
        let sum = sums.entry(tag.trim().to_owned()).or_default();
        *sum = sum.saturating_add(count);
    }
    let mut tags: Vec<_> = sums.into_iter().collect();
    tags.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_summed_over_folders() {
        let json = r#"{"10_a": {"adire": 3, "indigo": 5}, "5_b": {" adire": 4}}"#;
        let metadata = BTreeMap::from([("ss_tag_frequency".to_owned(), json.to_owned())]);
        assert_eq!(tags(&metadata), [("adire".to_owned(), 7), ("indigo".to_owned(), 5)]);
        let broken = BTreeMap::from([("ss_tag_frequency".to_owned(), "[1".to_owned())]);
        assert!(tags(&broken).is_empty());
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(counted(["a", "b", "b"].map(str::to_owned).into_iter()), "b (2), a (1)");
        let names: Vec<String> = (0..20).map(|i| i.to_string()).collect();
        assert!(listed(&names).ends_with("11 and 8 more"));
        assert_eq!(listed(&[]), "");
    }
}
