//! Downloads a model from the Hub into the cache. Interrupted downloads resume, and a file is accepted
//! only when its hash is the one that the Hub promises.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use indicatif::ProgressBar;
use serde::Deserialize;
use url::Url;

use super::{
    cache,
    check::{Expected, check},
    client::{Client, Failure, text},
    select::{Part, Variant, images, select},
};

/// How often a broken transfer is taken up again.
const ATTEMPTS: usize = 5;

/// Where no HF_ENDPOINT says otherwise.
const HUB: &str = "https://huggingface.co";

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
    pub(crate) part: Part,
}

/// What a download tells of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Report<'a> {
    /// A line for people.
    Line(&'a str),
    /// How much of a file is there.
    Transfer(Transfer),
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    /// Of the file, from 1.
    pub(crate) number: usize,
    pub(crate) files: usize,
    /// Bytes of the file that are here.
    pub(crate) have: u64,
    /// Its size, where the server says it.
    pub(crate) size: Option<u64>,
}

/// Fetches everything that is not there yet, telling `report` of each file; gives the snapshot's folder.
///
/// # Errors
/// One sentence: no such model, no access, nothing usable in it, a broken transfer, a wrong hash.
pub(crate) fn pull(wanted: &Wanted, report: &mut dyn FnMut(Report<'_>)) -> anyhow::Result<PathBuf> {
    let choose = |files: &[String]| select(files, wanted.variant, &wanted.part);
    fetch(wanted, &choose, report)
}

/// Fetches the images of a dataset repository, and the captions beside them, as [`pull`] does.
///
/// # Errors
/// As there.
pub(crate) fn pull_images(
    repository: &str,
    revision: &str,
    report: &mut dyn FnMut(Report<'_>),
) -> anyhow::Result<PathBuf> {
    let wanted = Wanted {
        what: "dataset",
        repository: repository.to_owned(),
        revision: revision.to_owned(),
        variant: Variant::Full,
        part: Part::Whole,
    };
    fetch(&wanted, &|files| images(files), report)
}

/// Which of a repository's files are wanted, or a clause that says why it cannot be used.
type Choose<'a> = &'a dyn Fn(&[String]) -> Result<Vec<String>, String>;

/// What the Hub says of a repository.
#[derive(Deserialize)]
struct Info {
    /// Its present name.
    #[serde(default)]
    id: String,
    /// The commit.
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// The Hub's address and the token that the environment names, or that `hf auth login` left.
pub(crate) fn from_environment() -> (String, Option<String>) {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let kept = || std::fs::read_to_string(cache::folder().with_file_name("token")).ok();
    let token = set("HF_TOKEN").or_else(kept).map(|token| token.trim().to_owned());
    (set("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned()), token.filter(|token| !token.is_empty()))
}

fn fetch(wanted: &Wanted, choose: Choose<'_>, report: &mut dyn FnMut(Report<'_>)) -> anyhow::Result<PathBuf> {
    check_name(&wanted.repository)?;
    check_revision(&wanted.revision)?;
    let cache = cache::folder();
    let (endpoint, token) = from_environment();
    let client = Client::new(endpoint.trim(), token).map_err(|message| anyhow!(message))?;
    let plural = format!("{}s", wanted.what);
    let root = cache.join(format!("{plural}--{}", wanted.repository.replace('/', "--")));
    let pull = Pull { client, root, wanted };
    let info = pull.info(&plural)?;
    if info.id != wanted.repository && check_name(&info.id).is_ok() {
        report(Report::Line(&format!("{} is now called {}", wanted.repository, info.id)));
    }
    let files: Vec<String> = info.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
    let chosen = choose(&files).map_err(|what| anyhow!("{} cannot be used: {what}", wanted.repository))?;
    if wanted.what == "dataset" {
        let left: Vec<_> = files.iter().filter(|file| !chosen.contains(file)).collect();
        if let [first, ..] = left[..] {
            report(Report::Line(&format!(
                "skipped {} other files, such as {}: not images or captions",
                left.len(),
                first.escape_debug()
            )));
        }
    }
    if chosen.is_empty() {
        bail!("{} has none of the required files", wanted.repository);
    }
    let snapshot = pull.root.join("snapshots").join(&info.sha);
    for (before, file) in chosen.iter().enumerate() {
        let place = (before + 1, chosen.len());
        pull.file((file, place), &info.sha, &snapshot.join(file), report)?;
    }
    // Last, so that a name stands only for what is whole.
    let reference = pull.root.join("refs").join(&wanted.revision);
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(reference.parent().unwrap_or(&reference))?;
        std::fs::write(&reference, &info.sha)
    };
    write().context("cannot write to the cache")?;
    Ok(snapshot)
}

struct Pull<'a> {
    client: Client,
    /// The repository's folder in the cache.
    root: PathBuf,
    wanted: &'a Wanted,
}

impl Pull<'_> {
    fn info(&self, plural: &str) -> anyhow::Result<Info> {
        let Wanted { repository, revision, .. } = self.wanted;
        let segments = ["api", plural].into_iter().chain(repository.split('/')).chain(["revision", revision]);
        let text = self.client.text(self.client.url(segments)).map_err(|failure| self.explain(&failure))?;
        let info: Info = serde_json::from_str(&text).map_err(|error| {
            anyhow!("unexpected response from {} ({error}); check HF_ENDPOINT", self.client.origin())
        })?;
        if info.sha.is_empty() || !info.sha.chars().all(|c| c.is_ascii_alphanumeric()) {
            bail!("{} returned an invalid commit for {repository}", self.client.origin());
        }
        Ok(info)
    }

    /// Fetches one file of a commit and checks it.
    fn file(
        &self,
        (file, (number, files)): (&str, (usize, usize)),
        commit: &str,
        pointer: &Path,
        report: &mut dyn FnMut(Report<'_>),
    ) -> anyhow::Result<()> {
        let datasets = (self.wanted.what == "dataset").then_some("datasets");
        let repository = self.wanted.repository.split('/');
        let url = self
            .client
            .url(datasets.into_iter().chain(repository).chain(["resolve", commit]).chain(file.split('/')));
        let headers = self.client.head(url.clone()).map_err(|failure| self.explain(&failure))?;
        let etag = text(&headers, "x-linked-etag").or_else(|| text(&headers, "etag")).unwrap_or_default();
        // A weak ETag is what a server makes of it that may compress on the way.
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        let Some(expected) = Expected::new(etag) else {
            bail!("{} lists no hash for {file}, so it cannot be verified", self.client.origin());
        };
        let linked = text(&headers, "x-linked-size");
        let size = linked.or_else(|| text(&headers, "content-length")).and_then(|size| size.parse().ok());
        let blob = self.root.join("blobs").join(etag);
        let keep = |line: &str, report: &mut dyn FnMut(Report<'_>)| {
            link(&blob, pointer).context("cannot write to the cache")?;
            report(Report::Line(line));
            anyhow::Ok(())
        };
        std::fs::create_dir_all(self.root.join("blobs")).context("cannot write to the cache")?;
        let lock = File::create(blob.with_extension("lock")).context("cannot write to the cache")?;
        if lock.try_lock().is_err() {
            report(Report::Line(&format!("another program is downloading {file}; waiting")));
            lock.lock().context("cannot lock a file of the cache")?;
        }
        // What is there is read once more: a program that was stopped may have left a file unchecked.
        if blob.is_file() && check(&blob, &expected).is_ok() {
            return keep(&format!("{file} is ready"), report);
        }
        let _ = std::fs::remove_file(&blob);
        let part = blob.with_extension("part");
        self.transfer(&url, &part, size, &mut |have| {
            report(Report::Transfer(Transfer { number, files, have, size }));
        })?;
        std::fs::rename(&part, &blob).context("cannot write to the cache")?;
        if let Err(error) = check(&blob, &expected) {
            // Discard it: the next attempt starts from scratch.
            let _ = std::fs::remove_file(pointer);
            let _ = std::fs::remove_file(&blob);
            bail!("{file} was discarded: {error}. Try again; if it fails again, the Hub's copy is damaged");
        }
        keep(&format!("{file} downloaded and verified"), report)
    }

    fn transfer(
        &self,
        url: &Url,
        part: &Path,
        size: Option<u64>,
        on_progress: &mut dyn FnMut(u64),
    ) -> anyhow::Result<()> {
        let have = || std::fs::metadata(part).map_or(0, |metadata| metadata.len());
        let mut attempt = 1;
        loop {
            // A part that is as long as the file or longer was not written by a broken transfer of it.
            if size.is_some_and(|size| have() >= size.max(1)) {
                let _ = std::fs::remove_file(part);
            }
            let before = have();
            let failure = match self.attempt(url, part, (before, size), on_progress)? {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if let Failure::Status { status: 416, .. } = failure {
                // The server has less than the part.
                let _ = std::fs::remove_file(part);
            }
            let useless = match &failure {
                Failure::Status { status, .. } => matches!(status, 400..=407 | 409..=415 | 417..=499),
                Failure::Redirect(_) => true,
                Failure::Broken(_) => false,
            };
            if useless || attempt == ATTEMPTS || (attempt > 1 && have() == before) {
                return Err(self.explain(&failure));
            }
            tracing::debug!(?failure, attempt, "download interrupted; resuming");
            attempt += 1;
        }
    }

    /// Appends what comes to `part`. The outer error is the cache's, the inner one the network's.
    fn attempt(
        &self,
        url: &Url,
        part: &Path,
        (have, size): (u64, Option<u64>),
        on_progress: &mut dyn FnMut(u64),
    ) -> anyhow::Result<Result<(), Failure>> {
        let response = match self.client.get(url.clone(), have) {
            Ok(response) => response,
            Err(failure) => return Ok(Err(failure)),
        };
        let range = text(response.headers(), "content-range").unwrap_or_default().to_owned();
        let goes_on = response.status().as_u16() == 206 && range.starts_with(&format!("bytes {have}-"));
        if have > 0 && response.status().as_u16() == 206 && !goes_on {
            let message =
                format!("the server sent the range “{}” instead of the requested one", range.escape_debug());
            return Ok(Err(Failure::Broken(message)));
        }
        let mut file =
            OpenOptions::new().create(true).append(true).open(part).context("cannot write to the cache")?;
        let mut length = have;
        if !goes_on {
            file.set_len(0).context("cannot write to the cache")?;
            length = 0;
        }
        let bar = size.map_or_else(ProgressBar::no_length, ProgressBar::new).with_position(length);
        // One byte more than promised is enough to see that it is wrong.
        let most = size.map_or(u64::MAX, |size| size.saturating_add(1).saturating_sub(length));
        let mut reader = response.into_body().into_reader().take(most);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => return Ok(Err(Failure::Broken(error.to_string()))),
            };
            file.write_all(&buffer[..read]).context("cannot write to the cache")?;
            length += read as u64;
            bar.set_position(length);
            on_progress(length);
        }
        bar.finish_and_clear();
        Ok(match size {
            Some(size) if length < size => {
                Err(Failure::Broken(format!("the connection ended after {length} of {size} bytes")))
            }
            _ => Ok(()),
        })
    }

    /// What went wrong, and what to do.
    fn explain(&self, failure: &Failure) -> anyhow::Error {
        let Wanted { what, repository, revision, .. } = self.wanted;
        let hub = self.client.origin();
        let (status, origin, is_hub, code, retry_after) = match failure {
            Failure::Status { status, origin, is_hub, code, retry_after } => {
                (*status, origin, *is_hub, code.as_deref(), *retry_after)
            }
            Failure::Redirect(message) => {
                return anyhow!("cannot download {repository}: {message}. Check HF_ENDPOINT");
            }
            Failure::Broken(message) => {
                return anyhow!(
                    "cannot download {repository} from {hub}: {message}. Try again; the download resumes where it stopped"
                );
            }
        };
        match status {
            401 | 403 if !is_hub => anyhow!(
                "{hub} redirects to {origin}, which requires a token for {repository}; HF_TOKEN is only sent to {hub}. If you trust {origin}, set HF_ENDPOINT to it"
            ),
            401 | 403 => {
                let why = match code {
                    Some("GatedRepo") => "it is gated",
                    _ => "it is private or gated, or its name is wrong",
                };
                let token = if self.client.has_token() { "another token, one" } else { "a token" };
                anyhow!(
                    "{hub} denied access to {repository}: {why}. If it is gated, accept its terms on its page, then set HF_TOKEN to {token} with read access"
                )
            }
            404 if code == Some("EntryNotFound") => {
                anyhow!("{origin} lacks a file that {repository} lists; it may have just changed. Try again")
            }
            404 => anyhow!("{origin} has no {what} {repository} with a revision {revision}"),
            429 => {
                let when =
                    retry_after.map_or_else(|| "later".to_owned(), |wait| format!("in {} s", wait.as_secs()));
                let token = if self.client.has_token() { "" } else { ", or set HF_TOKEN" };
                anyhow!("{origin} is rate limiting (status 429); try again {when}{token}")
            }
            500.. => anyhow!("{origin} returned status {status}; try again later"),
            _ => anyhow!("{origin} refused the request for {repository} with status {status}"),
        }
    }
}

/// Whether a name is one of a repository: `org/name`.
pub(crate) fn is_repository(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    matches!(name.split('/').collect::<Vec<_>>()[..], [owner, name] if plain(owner) && plain(name))
}

fn check_name(repository: &str) -> anyhow::Result<()> {
    if is_repository(repository) {
        return Ok(());
    }
    bail!(
        "“{repository}” is not a repository; write OWNER/NAME, for example stable-diffusion-v1-5/stable-diffusion-v1-5"
    )
}

/// A revision becomes a path below the cache.
fn check_revision(revision: &str) -> anyhow::Result<()> {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', ':', '\0']);
    if revision.split('/').all(plain) {
        return Ok(());
    }
    bail!("“{}” is not a revision; write a branch, a tag or a commit", revision.escape_debug())
}

/// Makes `pointer` a relative link to `blob`, as the Hub's own tools do (a copy where links are unsupported).
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
