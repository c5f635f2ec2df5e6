//! Fetching a model from the Hub into the cache. The transfer is the `hf-hub` crate's, which continues after a
//! break; what comes is believed only when its hash is the one that the Hub promises.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use hf_hub::{
    Cache, Repo, RepoType,
    api::sync::{Api, ApiBuilder, ApiError, ApiRepo},
};
use indicatif::ProgressBar;

use super::{
    cache,
    check::{Expected, check},
    select::{Variant, pictures, select},
};

/// How often a broken transfer is taken up again.
const ATTEMPTS: usize = 5;

/// What to fetch.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// `model` or `dataset`, for messages.
    pub(crate) what: &'static str,
    /// `org/name`.
    pub(crate) repository: String,
    /// Branch, tag or commit.
    pub(crate) revision: String,
    pub(crate) variant: Variant,
    /// A single-file checkpoint of the repository.
    pub(crate) file: Option<String>,
}

/// Fetches everything that is not there yet, telling `report` of each file; gives the snapshot's folder.
///
/// # Errors
/// One sentence: no such model, no access, nothing usable in it, a broken transfer, a wrong hash.
pub(crate) fn pull(wanted: &Wanted, report: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    let choose = |files: &[String]| select(files, wanted.variant, wanted.file.as_deref());
    fetch(wanted, RepoType::Model, &choose, report)
}

/// Fetches the pictures of a dataset repository, and the captions beside them, as [`pull`] does.
///
/// # Errors
/// As there.
pub(crate) fn pull_pictures(
    repository: &str,
    revision: &str,
    report: &mut dyn FnMut(&str),
) -> anyhow::Result<PathBuf> {
    let wanted = Wanted {
        what: "dataset",
        repository: repository.to_owned(),
        revision: revision.to_owned(),
        variant: Variant::Full,
        file: None,
    };
    fetch(&wanted, RepoType::Dataset, &|files| pictures(files), report)
}

/// Which of a repository's files are wanted, or a clause that says why it cannot be used.
type Choose<'a> = &'a dyn Fn(&[String]) -> Result<Vec<String>, String>;

fn fetch(
    wanted: &Wanted,
    kind: RepoType,
    choose: Choose<'_>,
    report: &mut dyn FnMut(&str),
) -> anyhow::Result<PathBuf> {
    let endpoint = endpoint();
    check_name(&wanted.repository)?;
    let cache = Cache::new(cache::folder());
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let token = set("HF_TOKEN").map(|token| token.trim().to_owned()).or_else(|| cache.token());
    let told = |error| explain(&error, wanted, &endpoint);
    let api = ApiBuilder::from_cache(cache.clone())
        .with_endpoint(endpoint.clone())
        .with_token(token)
        .build()
        .map_err(told)?;
    let repo = Repo::with_revision(wanted.repository.clone(), kind, wanted.revision.clone());
    let remote = api.repo(repo.clone());
    let info = remote.info().map_err(told)?;
    let files: Vec<String> = info.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
    let chosen = choose(&files).map_err(|what| anyhow!("{} cannot be used: {what}", wanted.repository))?;
    if matches!(kind, RepoType::Dataset) {
        let left: Vec<_> = files.iter().filter(|file| !chosen.contains(file)).map(String::as_str).collect();
        if let [first, ..] = left[..] {
            report(&format!(
                "{} other files stay on the Hub, such as {first}: they are no images or captions",
                left.len()
            ));
        }
    }
    let mut snapshot = None;
    for file in &chosen {
        let folder =
            Pull { api: &api, remote: &remote, cache: &cache, repo: &repo, wanted, endpoint: &endpoint }
                .file(file, report)?;
        snapshot = Some(folder);
    }
    let local = cache.repo(repo);
    local.create_ref(&info.sha).map_err(|error| anyhow!("cannot write to the cache: {error}"))?;
    snapshot.ok_or_else(|| anyhow!("{} holds no file that is needed", wanted.repository))
}

struct Pull<'a> {
    api: &'a Api,
    remote: &'a ApiRepo,
    cache: &'a Cache,
    repo: &'a Repo,
    wanted: &'a Wanted,
    endpoint: &'a str,
}

impl Pull<'_> {
    /// Fetches one file and checks it; gives the snapshot's folder.
    fn file(&self, file: &str, report: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
        let told = |error| explain(&error, self.wanted, self.endpoint);
        let metadata = self.api.metadata(&self.remote.url(file)).map_err(told)?;
        // A weak ETag is what a server makes of it that may compress on the way.
        let Some(expected) = Expected::new(metadata.etag().trim_start_matches("W/")) else {
            bail!("{} gives no hash for {file}, so that it cannot be checked", self.endpoint);
        };
        let commit = metadata.commit_hash();
        if commit.is_empty() || !commit.chars().all(|c| c.is_ascii_alphanumeric()) {
            bail!("{} names an impossible commit for {file}", self.endpoint);
        }
        let local = self.cache.repo(self.repo.clone());
        let (blob, snapshot) = (local.blob_path(metadata.etag()), local.pointer_path(commit));
        let pointer = snapshot.join(file);
        // What is there is read once more: a program that was stopped may have left a file unchecked.
        if blob.is_file() && check(&blob, &expected).is_ok() {
            link(&blob, &pointer).map_err(|error| anyhow!("cannot write to the cache: {error}"))?;
            report(&format!("{file} is there"));
            return Ok(snapshot);
        }
        let _ = std::fs::remove_file(&blob);
        self.transfer(file, &blob, metadata.size() as u64)?;
        if let Err(error) = check(&blob, &expected) {
            // Nothing of it may stay: the next attempt starts anew.
            let _ = std::fs::remove_file(&pointer);
            let _ = std::fs::remove_file(&blob);
            bail!(
                "{file} was not kept: {error}. Try again; if that does not help, the Hub's copy is damaged"
            );
        }
        link(&blob, &pointer).map_err(|error| anyhow!("cannot write to the cache: {error}"))?;
        report(&format!("{file} fetched and checked"));
        Ok(snapshot)
    }

    fn transfer(&self, file: &str, blob: &Path, size: u64) -> anyhow::Result<()> {
        let part = blob.with_extension("part");
        let have = || std::fs::metadata(&part).map_or(0, |metadata| metadata.len());
        let mut attempt = 1;
        loop {
            // A part that is as long as the file or longer was not written by a broken transfer of it.
            if have() >= size.max(1) {
                let _ = std::fs::remove_file(&part);
            }
            let before = have();
            let error = match self.remote.download_with_progress(file, ProgressBar::new(0)) {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let broken =
                matches!(&error, ApiError::IoError(_) | ApiError::TooManyRetries(_)) || !is_refusal(&error);
            if !broken || attempt == ATTEMPTS || (attempt > 1 && have() == before) {
                return Err(explain(&error, self.wanted, self.endpoint));
            }
            tracing::debug!(%error, file, attempt, "the transfer broke; going on");
            attempt += 1;
        }
    }
}

/// `HF_ENDPOINT`, or the Hub.
fn endpoint() -> String {
    let set = std::env::var("HF_ENDPOINT").ok().filter(|value| !value.trim().is_empty());
    set.map_or_else(
        || "https://huggingface.co".to_owned(),
        |value| value.trim().trim_end_matches('/').to_owned(),
    )
}

fn check_name(repository: &str) -> anyhow::Result<()> {
    let plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match repository.split('/').collect::<Vec<_>>()[..] {
        [owner, name] if plain(owner) && plain(name) => Ok(()),
        _ => bail!(
            "“{repository}” is no repository; write OWNER/NAME, for example stable-diffusion-v1-5/stable-diffusion-v1-5"
        ),
    }
}

fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(code) => Some(code),
            _ => None,
        },
        _ => None,
    }
}

/// Whether trying again is useless.
fn is_refusal(error: &ApiError) -> bool {
    status(error).is_some_and(|code| (400..500).contains(&code) && code != 408 && code != 429)
}

/// What went wrong, and what to do.
fn explain(error: &ApiError, wanted: &Wanted, endpoint: &str) -> anyhow::Error {
    let Wanted { what, repository, revision, .. } = wanted;
    match status(error) {
        Some(401 | 403) => anyhow!(
            "{endpoint} gives no access to {repository}: it is private or gated, or its name is wrong. If it is \
             gated, accept its terms on its page; then set HF_TOKEN to a token that may read it"
        ),
        Some(404) => anyhow!("{endpoint} has no {what} {repository} with a revision {revision}"),
        Some(429) => anyhow!("{endpoint} wants fewer requests; try again later, or set HF_TOKEN"),
        Some(code) => anyhow!("{endpoint} answered with status {code}; try again later"),
        None => anyhow!(
            "{repository} could not be fetched from {endpoint}: {error}. Try again: what has come is kept and the \
             transfer goes on from there"
        ),
    }
}

/// Makes `pointer` a relative link to `blob`, as the Hub's own tools do (a copy where there are no links).
fn link(blob: &Path, pointer: &Path) -> std::io::Result<()> {
    if pointer.is_file() {
        return Ok(());
    }
    let (Some(folder), Some(name)) = (pointer.parent(), blob.file_name()) else { return Ok(()) };
    std::fs::create_dir_all(folder)?;
    // A link to a blob that was removed is in the way.
    let _ = std::fs::remove_file(pointer);
    #[cfg(unix)]
    {
        // From the repository's folder: snapshots, commit, and the folders of the file.
        let root = blob.parent().and_then(Path::parent).unwrap_or(blob);
        let depth = folder.strip_prefix(root).map_or(0, |inner| inner.components().count());
        let up: PathBuf = std::iter::repeat_n("..", depth).collect();
        std::os::unix::fs::symlink(up.join("blobs").join(name), pointer)
    }
    #[cfg(not(unix))]
    {
        let _ = name;
        std::fs::copy(blob, pointer).map(|_| ())
    }
}
