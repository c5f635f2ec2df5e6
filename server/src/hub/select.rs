//! Which files of a repository are needed: configs, tokenizer, and one precision of the weights as safetensors.
//! Never a pickle, never what another framework reads.

use clap::ValueEnum;

/// Which weights are wanted where a repository has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Variant {
    /// Full precision where there is one, else half
    Full,
    /// Half precision where there is one, else full
    Fp16,
}

/// Parts of a model: folder, config, and the stem of the weights.
const PARTS: [(&str, &str, &str); 3] = [
    ("text_encoder", "config.json", "model"),
    ("unet", "config.json", "diffusion_pytorch_model"),
    ("vae", "config.json", "diffusion_pytorch_model"),
];

const TOKENIZER: [&str; 5] =
    ["vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

/// What a CLIP has beside its tokenizer, and an image tower alone: with these it can judge images.
pub(super) const CLIP: [&str; 3] = ["preprocessor_config.json", "model.safetensors", "config.json"];

/// Most files of a dataset that are fetched.
const MAX_FILES: usize = 30_000;

/// The images of a dataset and the captions beside them.
///
/// # Errors
/// A clause about the repository: why nothing in it can be used.
pub(crate) fn images(files: &[String]) -> Result<Vec<String>, String> {
    let ends = |name: &str, endings: &[&str]| {
        let lower = name.to_lowercase();
        endings.iter().any(|ending| lower.ends_with(ending))
    };
    let plain: Vec<&String> = files.iter().filter(|name| is_plain(name)).collect();
    if !plain.iter().any(|name| ends(name, &PICTURES)) {
        let packed = plain.iter().any(|name| ends(name, &[".parquet", ".tar", ".arrow"]));
        let why = if packed {
            "its images are packed in table files; only datasets with plain image files are supported"
        } else {
            "it has no PNG, JPEG or WebP files"
        };
        return Err(why.to_owned());
    }
    let wanted: Vec<String> =
        plain.into_iter().filter(|name| ends(name, &PICTURES) || ends(name, &CAPTIONS)).cloned().collect();
    if wanted.len() > MAX_FILES {
        return Err(format!("it has {} files; the limit is {MAX_FILES}", wanted.len()));
    }
    Ok(wanted)
}

const PICTURES: [&str; 4] = [".png", ".jpg", ".jpeg", ".webp"];
const CAPTIONS: [&str; 7] = [".txt", ".caption", ".jsonl", ".ndjson", ".json", ".csv", ".tsv"];

/// A name becomes a path below the cache.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains('\\') && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Which part of a repository is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All that the program can use.
    Whole,
    /// The tokenizer of a CLIP without its weights.
    Tokenizer,
    /// This single-file checkpoint.
    File(String),
}

/// The files to fetch, the one that says that all are there last.
///
/// # Errors
/// A clause about the repository: why nothing in it can be used.
pub(crate) fn select(files: &[String], variant: Variant, part: &Part) -> Result<Vec<String>, String> {
    let files: Vec<&str> = files.iter().filter(|name| is_plain(name)).map(String::as_str).collect();
    let has = |name: &str| files.contains(&name);
    if let Part::File(file) = part {
        return match file.as_str() {
            file if !file.ends_with(".safetensors") => Err(format!("{file} is not a .safetensors file")),
            file if has(file) => Ok(vec![file.to_owned()]),
            file => Err(format!("it has no file {file}")),
        };
    }
    if has("model_index.json") {
        return folder(&files, variant);
    }
    if has("vocab.json") && has("merges.txt") {
        let whole = *part == Part::Whole && CLIP.iter().all(|name| has(name));
        let clip = if whole { &CLIP[..] } else { &[] };
        let wanted = TOKENIZER.iter().filter(|name| has(name)).chain(clip);
        return Ok(wanted.map(|name| (*name).to_owned()).collect());
    }
    if *part == Part::Tokenizer {
        return Err("it has no vocab.json and merges.txt".to_owned());
    }
    if CLIP.iter().all(|name| has(name)) {
        return Ok(CLIP.map(str::to_owned).to_vec());
    }
    let single: Vec<&str> =
        files.iter().copied().filter(|name| !name.contains('/') && name.ends_with(".safetensors")).collect();
    match single[..] {
        [one] => Ok(vec![one.to_owned()]),
        [] => Err("it has neither model_index.json nor a .safetensors checkpoint".to_owned()),
        _ => Err(format!("it has several checkpoints; name one with --file: {}", single.join(", "))),
    }
}

fn folder(files: &[&str], variant: Variant) -> Result<Vec<String>, String> {
    let mut chosen = Vec::new();
    for (part, config, stem) in PARTS {
        let config = format!("{part}/{config}");
        if !files.contains(&config.as_str()) {
            return Err(format!("it has no {config}; is it a Stable Diffusion 1.x model?"));
        }
        chosen.extend(weights(files, part, stem, variant)?);
        chosen.push(config);
    }
    let tokenizer = TOKENIZER.iter().map(|name| format!("tokenizer/{name}"));
    let more = ["scheduler/scheduler_config.json", "adire.json"].map(str::to_owned);
    chosen.extend(tokenizer.chain(more).filter(|name| files.contains(&name.as_str())));
    chosen.push("model_index.json".to_owned());
    Ok(chosen)
}

fn weights(files: &[&str], part: &str, stem: &str, variant: Variant) -> Result<Vec<String>, String> {
    let full = || version(files, part, stem, "");
    let half = || version(files, part, stem, ".fp16");
    let found = match variant {
        Variant::Full => full().or_else(half),
        Variant::Fp16 => half().or_else(full),
    };
    found.ok_or_else(|| {
        let any = files.iter().any(|name| name.starts_with(&format!("{part}/")) && name.ends_with(".bin"));
        let pickle = if any { "only pickles (.bin), which can run any code when they are opened" } else { "none" };
        format!(
            "{part} has no weights as .safetensors, {pickle}. Look for a copy with .safetensors, or convert it in \
             Python with save_pretrained(…, safe_serialization=True)"
        )
    })
}

/// One file, or the files that an index lists and the index.
fn version(files: &[&str], part: &str, stem: &str, variant: &str) -> Option<Vec<String>> {
    let single = format!("{part}/{stem}{variant}.safetensors");
    if files.contains(&single.as_str()) {
        return Some(vec![single]);
    }
    let name = |middle: &str| format!("{part}/{stem}{middle}.json");
    let indices = if variant.is_empty() {
        vec![name(".safetensors.index")]
    } else {
        vec![
            name(&format!("{variant}.safetensors.index")),
            name(&format!(".safetensors{variant}.index")),
            name(&format!(".safetensors.index{variant}")),
        ]
    };
    let index = indices.into_iter().find(|index| files.contains(&index.as_str()))?;
    let start = format!("{part}/{stem}{variant}-");
    let shards = files.iter().filter(|name| {
        let Some(rest) = name.strip_prefix(&start) else { return false };
        let numbers = rest.strip_suffix(".safetensors").and_then(|rest| rest.split_once("-of-"));
        numbers.is_some_and(|(a, b)| [a, b].iter().all(|n| n.chars().all(|c| c.is_ascii_digit())))
    });
    let mut chosen: Vec<String> = shards.map(|name| (*name).to_owned()).collect();
    if chosen.is_empty() {
        return None;
    }
    chosen.push(index);
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn file(name: &str) -> Part {
        Part::File(name.to_owned())
    }

    #[test]
    fn only_what_is_needed_is_chosen() {
        let repository = names(
            "README.md v1-5-pruned.ckpt v1-5-pruned.safetensors model_index.json feature_extractor/x.json \
             scheduler/scheduler_config.json safety_checker/model.safetensors text_encoder/config.json \
             text_encoder/model.safetensors text_encoder/model.fp16.safetensors text_encoder/pytorch_model.bin \
             tokenizer/vocab.json tokenizer/merges.txt unet/config.json unet/diffusion_pytorch_model.bin \
             unet/diffusion_pytorch_model.fp16.safetensors unet/diffusion_pytorch_model.non_ema.safetensors \
             unet/diffusion_pytorch_model-00001-of-00002.safetensors \
             unet/diffusion_pytorch_model-00002-of-00002.safetensors \
             unet/diffusion_pytorch_model.safetensors.index.json vae/config.json \
             vae/diffusion_pytorch_model.safetensors ../../escape.safetensors",
        );
        let full = select(&repository, Variant::Full, &Part::Whole).unwrap();
        let expected = names(
            "text_encoder/model.safetensors text_encoder/config.json \
             unet/diffusion_pytorch_model-00001-of-00002.safetensors \
             unet/diffusion_pytorch_model-00002-of-00002.safetensors \
             unet/diffusion_pytorch_model.safetensors.index.json unet/config.json \
             vae/diffusion_pytorch_model.safetensors vae/config.json tokenizer/vocab.json tokenizer/merges.txt \
             scheduler/scheduler_config.json model_index.json",
        );
        assert_eq!(full, expected);
        let half = select(&repository, Variant::Fp16, &Part::Whole).unwrap();
        assert!(half.contains(&"unet/diffusion_pytorch_model.fp16.safetensors".to_owned()));
        assert!(half.contains(&"vae/diffusion_pytorch_model.safetensors".to_owned()), "the only variant");
        assert!(!half.iter().any(|name| name.contains("-of-")));
        let one = select(&repository, Variant::Full, &file("v1-5-pruned.safetensors")).unwrap();
        assert_eq!(one, ["v1-5-pruned.safetensors"]);
    }

    #[test]
    fn of_a_dataset_images_and_captions_are_taken() {
        let files = names("README.md a.PNG b/c.jpg b/c.txt b/metadata.jsonl data.csv ../../up.png x.parquet");
        assert_eq!(images(&files).unwrap(), names("a.PNG b/c.jpg b/c.txt b/metadata.jsonl data.csv"));
        assert!(images(&names("data/train.parquet")).unwrap_err().contains("packed"));
        assert!(images(&names("README.md")).unwrap_err().contains("no PNG"));
    }

    #[test]
    fn unusable_repositories_are_reported() {
        let refusal = |files: &str, part| select(&names(files), Variant::Full, &part).unwrap_err();
        assert!(refusal("model.ckpt README.md", Part::Whole).contains("neither model_index.json nor"));
        assert!(refusal("a.safetensors b.safetensors", Part::Whole).contains("a.safetensors, b.safetensors"));
        assert!(refusal("a.safetensors", file("b.safetensors")).contains("no file b.safetensors"));
        assert!(refusal("a.ckpt", file("a.ckpt")).contains("not a .safetensors file"));
        assert!(refusal("../a.safetensors", file("../a.safetensors")).contains("no file"));
        let pickled = "model_index.json text_encoder/config.json text_encoder/pytorch_model.bin";
        assert!(refusal(pickled, Part::Whole).contains("only pickles"));
        assert!(
            refusal("model_index.json transformer/config.json", Part::Whole)
                .contains("text_encoder/config.json")
        );
    }

    #[test]
    fn an_image_tower_is_fetched_with_its_configs() {
        let dinov2 = "README.md config.json preprocessor_config.json model.safetensors pytorch_model.bin";
        let whole = ["preprocessor_config.json", "model.safetensors", "config.json"];
        assert_eq!(select(&names(dinov2), Variant::Full, &Part::Whole).unwrap(), whole);
        assert!(select(&names(dinov2), Variant::Full, &Part::Tokenizer).is_err());
    }

    #[test]
    fn a_clip_is_fetched_whole_or_for_its_tokenizer() {
        let clip = "vocab.json merges.txt pytorch_model.bin model.safetensors tokenizer.json config.json \
                    preprocessor_config.json flax_model.msgpack";
        let chosen = |files: &str, part| select(&names(files), Variant::Full, &part).unwrap();
        let tokenizer = names("vocab.json merges.txt tokenizer.json");
        let rest = names("preprocessor_config.json model.safetensors config.json");
        assert_eq!(chosen(clip, Part::Whole), [tokenizer.clone(), rest].concat());
        assert_eq!(chosen(clip, Part::Tokenizer), tokenizer);
        assert_eq!(chosen("vocab.json merges.txt config.json", Part::Whole), names("vocab.json merges.txt"));
    }
}
