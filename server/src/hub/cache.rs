//! What the cache holds.

use std::path::{Path, PathBuf};

use super::select::CLIP;

/// Repositories that have CLIP's vocabulary as Stable Diffusion 1.x uses it, and where in them.
const TOKENIZERS: [(&str, &str); 4] = [
    ("openai/clip-vit-large-patch14", ""),
    ("stable-diffusion-v1-5/stable-diffusion-v1-5", "tokenizer"),
    ("runwayml/stable-diffusion-v1-5", "tokenizer"),
    ("CompVis/stable-diffusion-v1-4", "tokenizer"),
];

/// What a cached repository is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A folder in Hugging Face layout.
    Folder,
    /// A single-file checkpoint.
    Checkpoint,
    /// Only a tokenizer.
    Tokenizer,
    /// A CLIP, which judges images; it has a tokenizer too.
    Judge,
    /// An image tower alone, such as DINOv2.
    ImageTower,
}

/// One model in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cached {
    /// What `--model` takes: `org/name`, `org/name@revision` or `org/name/file.safetensors`.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The folder, or the file.
    pub(crate) path: PathBuf,
    /// The folder of the commit.
    pub(crate) snapshot: PathBuf,
}

/// The cache's folder: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else in `~/.cache/huggingface`.
pub(crate) fn folder() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("HF_HUB_CACHE") {
        return folder;
    }
    let home = set("HF_HOME").or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")));
    home.or_else(|| set("HOME").map(|home| home.join(".cache/huggingface")))
        .unwrap_or_else(|| PathBuf::from("huggingface"))
        .join("hub")
}

/// Everything in the cache that can be used, by name.
pub(crate) fn cached(cache: &Path) -> Vec<Cached> {
    let mut found = Vec::new();
    for repository in entries(cache) {
        let Some(name) =
            file_name(&repository).and_then(|name| name.strip_prefix("models--").map(str::to_owned))
        else {
            continue;
        };
        let name = name.replacen("--", "/", 1);
        for (revision, commit) in revisions(&repository.join("refs"), "", 0) {
            let snapshot = repository.join("snapshots").join(commit);
            let name = if revision == "main" { name.clone() } else { format!("{name}@{revision}") };
            found.extend(contents(&name, &snapshot));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The model that is called `name`.
pub(crate) fn find(cache: &Path, name: &str) -> Option<Cached> {
    let generates = |kind| matches!(kind, Kind::Folder | Kind::Checkpoint);
    cached(cache).into_iter().find(|cached| cached.name == name && generates(cached.kind))
}

/// The model of this kind that is called `name`.
pub(crate) fn find_kind(cache: &Path, name: &str, kind: Kind) -> Option<Cached> {
    cached(cache).into_iter().find(|cached| cached.name == name && cached.kind == kind)
}

/// A folder with CLIP's vocabulary.
pub(crate) fn tokenizer(cache: &Path) -> Option<PathBuf> {
    let known = TOKENIZERS.iter().flat_map(|(repository, inner)| {
        let snapshots = cache.join(format!("models--{}", repository.replace('/', "--"))).join("snapshots");
        entries(&snapshots).into_iter().map(move |snapshot| snapshot.join(inner))
    });
    known.into_iter().find(|folder| is_tokenizer(folder))
}

fn is_tokenizer(folder: &Path) -> bool {
    folder.join("vocab.json").is_file() && folder.join("merges.txt").is_file()
}

fn contents(name: &str, snapshot: &Path) -> Vec<Cached> {
    let cached =
        |name: String, kind, path: PathBuf| Cached { name, kind, path, snapshot: snapshot.to_owned() };
    if snapshot.join("model_index.json").is_file() {
        return vec![cached(name.to_owned(), Kind::Folder, snapshot.to_owned())];
    }
    if is_tokenizer(snapshot) {
        let judges = CLIP.iter().all(|file| snapshot.join(file).is_file());
        let kind = if judges { Kind::Judge } else { Kind::Tokenizer };
        return vec![cached(name.to_owned(), kind, snapshot.to_owned())];
    }
    if CLIP.iter().all(|file| snapshot.join(file).is_file()) {
        return vec![cached(name.to_owned(), Kind::ImageTower, snapshot.to_owned())];
    }
    let files = entries(snapshot).into_iter().filter(|path| {
        path.extension().is_some_and(|extension| extension == "safetensors") && path.is_file()
    });
    let named = files.filter_map(|path| {
        let file = file_name(&path)?;
        Some(cached(format!("{name}/{file}"), Kind::Checkpoint, path))
    });
    named.collect()
}

/// Names and commits below `refs`; a branch's name may have slashes.
fn revisions(refs: &Path, above: &str, depth: usize) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in entries(refs) {
        let Some(name) = file_name(&path).map(|name| format!("{above}{name}")) else { continue };
        if path.is_dir() && depth < 8 {
            found.extend(revisions(&path, &format!("{name}/"), depth + 1));
        } else if let Ok(commit) = std::fs::read_to_string(&path) {
            let commit = commit.trim().to_owned();
            if !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric()) {
                found.push((name, commit));
            }
        }
    }
    found
}

fn file_name(path: &Path) -> Option<String> {
    path.file_name()?.to_str().map(str::to_owned)
}

/// Sorted, so that what is found does not depend on the file system; none for a folder that is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
