//! Uploads an adapter to the Hub: a repository, large files over Git LFS, one commit. Whatever is there already is not sent
//! again, so a push that broke off resumes, and a push that was done changes nothing.
//!
//! The token goes to the Hub's own address only. Addresses that the Hub names for uploads get the headers that came with
//! them, never the token.

mod file;
mod lfs;
mod requests;

use std::{
    collections::HashMap,
    io::Read,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;
use ureq::Agent;
use url::Url;

use super::client::{address, check_token};
use crate::{exports::git_blob, outward};
use file::unreadable;
pub(crate) use file::{Content, PushFile};
use requests::answer;

/// Bytes of a file by which the Hub chooses how it wants it.
const SAMPLE: usize = 512;
/// How long a connection may be silent.
pub(crate) const SILENCE: Duration = Duration::from_secs(120);

/// The Hub and the right to write to it.
pub(crate) struct Hub {
    agent: Agent,
    endpoint: Url,
    token: String,
}

/// What a repository is to hold.
pub(crate) struct Push<'a> {
    /// `owner/name`.
    pub(crate) repository: &'a str,
    pub(crate) private: bool,
    /// Summary of the commit.
    pub(crate) summary: &'a str,
    pub(crate) files: &'a [PushFile],
}

/// How a push ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// The repository's page.
    pub(crate) url: String,
    /// The commit; absent where nothing had changed.
    pub(crate) commit: Option<String>,
}

/// Why a push failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PushError {
    /// A sentence without secrets.
    pub(crate) message: String,
    /// Another try may succeed.
    pub(crate) transient: bool,
    /// How long the Hub asks to wait.
    pub(crate) wait: Option<Duration>,
}

/// The longest that a Hub may ask to wait.
const MAX_WAIT: Duration = Duration::from_secs(1800);

impl PushError {
    /// How long to wait before the next try: as long as the Hub asks within reason, else `usual`.
    pub(crate) fn wait_or(&self, usual: Duration) -> Duration {
        self.wait.unwrap_or(usual).min(MAX_WAIT)
    }

    fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: false, wait: None }
    }

    fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: true, wait: None }
    }
}

#[derive(Deserialize)]
struct Modes {
    files: Vec<Mode>,
}

#[derive(Deserialize)]
struct Mode {
    path: String,
    #[serde(rename = "uploadMode")]
    upload_mode: String,
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    private: bool,
}

#[derive(Deserialize)]
struct Committed {
    #[serde(rename = "commitOid", default)]
    oid: Option<String>,
}

impl Hub {
    /// # Errors
    /// A sentence: the endpoint is not an http(s) address, or the token cannot be one.
    pub(crate) fn new(
        endpoint: &str,
        token: &str,
        allowed: &[String],
        silence: Duration,
    ) -> Result<Self, String> {
        let endpoint = address(endpoint).map_err(|clause| format!("{clause}."))?;
        check_token(token).map_err(|clause| format!("{clause}."))?;
        if token.is_empty() {
            return Err(
                "HF_TOKEN is not set to a token. Create one with write access in your account's settings on \
                        the Hub."
                    .to_owned(),
            );
        }
        // Whoever set the endpoint may reach it, wherever it is; what it names may be public only.
        let own = endpoint.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let allowed = [&[own], allowed].concat();
        let agent = outward::uploader(&allowed, silence);
        Ok(Self { agent, endpoint, token: token.to_owned() })
    }

    /// Brings a repository to hold these files; files that only it has stay.
    ///
    /// # Errors
    /// As the variants of [`PushError`] say.
    pub(crate) fn push(
        &self,
        push: &Push<'_>,
        stop: &AtomicBool,
        report: &mut dyn FnMut(&str),
    ) -> Result<Pushed, PushError> {
        let stopped = || PushError::lasting("Cancelled.");
        let check = || if stop.load(Ordering::Relaxed) { Err(stopped()) } else { Ok(()) };
        report("Creating the repository.");
        self.create(push)?;
        check()?;
        let there = self.tree(push.repository)?;
        let changed: Vec<&PushFile> = push.files.iter().filter(|file| !is_there(file, &there)).collect();
        let url = self.url(push.repository);
        if changed.is_empty() {
            return Ok(Pushed { url, commit: None });
        }
        check()?;
        let large = self.large(push.repository, &changed)?;
        let (lfs, small): (Vec<&PushFile>, Vec<&PushFile>) =
            changed.into_iter().partition(|file| large.contains(&file.path));
        self.upload(push.repository, &lfs, stop, report)?;
        check()?;
        report("Committing.");
        let commit = self.commit(push, &lfs, &small)?;
        Ok(Pushed { url, commit: Some(commit) })
    }

    fn create(&self, push: &Push<'_>) -> Result<(), PushError> {
        let (owner, name) = push.repository.split_once('/').unwrap_or(("", push.repository));
        let visibility = if push.private { "private" } else { "public" };
        let body = json!({ "type": "model", "name": name, "organization": owner, "visibility": visibility });
        let response = self.post("api/repos/create", "application/json", body.to_string())?;
        match response.status().as_u16() {
            200..300 => return Ok(()),
            // It exists, or may not be created but perhaps be written to.
            409 | 403 => {}
            _ => return Err(self.refusal(&response, push.repository)),
        }
        let info = self.get(&format!("api/models/{}", push.repository))?;
        if !info.status().is_success() {
            let shown = if info.status().as_u16() == 404 { &response } else { &info };
            return Err(self.refusal(shown, push.repository));
        }
        let info: Info = answer(info)?;
        if push.private && !info.private {
            return Err(PushError::lasting(format!(
                "{} exists and is public, but a private repository was requested. Make it private on the Hub, or choose \
                 another name.",
                push.repository
            )));
        }
        Ok(())
    }

    /// Names of the files that are there: git's for small ones, sha256 for large ones.
    fn tree(&self, repository: &str) -> Result<HashMap<String, String>, PushError> {
        let response = self.get(&format!("api/models/{repository}/tree/main?recursive=true&expand=false"))?;
        if response.status().as_u16() == 404 {
            // A repository without a commit.
            return Ok(HashMap::new());
        }
        if !response.status().is_success() {
            return Err(self.refusal(&response, repository));
        }
        let entries: Vec<Entry> = answer(response)?;
        let name = |entry: Entry| (entry.path, entry.lfs.map_or(entry.oid, |lfs| lfs.oid));
        Ok(entries.into_iter().map(name).collect())
    }

    /// Which files the Hub wants over LFS.
    fn large(&self, repository: &str, files: &[&PushFile]) -> Result<Vec<String>, PushError> {
        let mut listed = Vec::with_capacity(files.len());
        for file in files {
            let mut sample = Vec::with_capacity(SAMPLE);
            let opened = file.content.open().map_err(|error| unreadable(file, &error))?;
            opened.take(SAMPLE as u64).read_to_end(&mut sample).map_err(|error| unreadable(file, &error))?;
            let size = file.content.size();
            listed.push(json!({ "path": file.path, "sample": STANDARD.encode(sample), "size": size }));
        }
        let path = format!("api/models/{repository}/preupload/main");
        let response = self.post(&path, "application/json", json!({ "files": listed }).to_string())?;
        if !response.status().is_success() {
            return Err(self.refusal(&response, repository));
        }
        let modes: Modes = answer(response)?;
        let lfs = modes.files.into_iter().filter(|file| file.upload_mode == "lfs");
        Ok(lfs.map(|file| file.path).collect())
    }

    fn commit(&self, push: &Push<'_>, lfs: &[&PushFile], small: &[&PushFile]) -> Result<String, PushError> {
        let mut lines = vec![
            json!({ "key": "header", "value": { "summary": push.summary, "description": "" } }).to_string(),
        ];
        for file in small {
            let mut bytes = Vec::new();
            let mut opened = file.content.open().map_err(|error| unreadable(file, &error))?;
            opened.read_to_end(&mut bytes).map_err(|error| unreadable(file, &error))?;
            let value = json!({ "content": STANDARD.encode(bytes), "path": file.path, "encoding": "base64" });
            lines.push(json!({ "key": "file", "value": value }).to_string());
        }
        for file in lfs {
            let (oid, size) = (file.content.sha256(), file.content.size());
            let value = json!({ "path": file.path, "algo": "sha256", "oid": oid, "size": size });
            lines.push(json!({ "key": "lfsFile", "value": value }).to_string());
        }
        let path = format!("api/models/{}/commit/main", push.repository);
        let response = self.post(&path, "application/x-ndjson", lines.join("\n") + "\n")?;
        if !response.status().is_success() {
            return Err(self.refusal(&response, push.repository));
        }
        Ok(answer::<Committed>(response)?.oid.unwrap_or_default())
    }
}

fn is_there(file: &PushFile, there: &HashMap<String, String>) -> bool {
    let Some(known) = there.get(&file.path) else { return false };
    if known.len() == 64 {
        return *known == file.content.sha256();
    }
    match &file.content {
        Content::Bytes(bytes) => *known == git_blob(bytes),
        Content::File { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hub_has_a_push_wait_for_longer_than_half_an_hour() {
        let (usual, long) = (Duration::from_secs(2), Duration::from_secs(86_400));
        let asks = |wait| PushError { wait, ..PushError::passing("Busy.") };
        assert_eq!(asks(None).wait_or(usual), usual);
        assert_eq!(asks(Some(long)).wait_or(usual), Duration::from_secs(1800));
    }

    #[test]
    fn what_cannot_be_a_hub_or_its_token_is_named() {
        let new = |endpoint, token| Hub::new(endpoint, token, &[], SILENCE).err().unwrap();
        assert!(new("huggingface.co", "hf_a").contains("HF_ENDPOINT must be an address"));
        assert!(new("https://hub.example", "hf_a b").contains("not allowed in a token"));
        assert!(new("https://hub.example", "").contains("HF_TOKEN is not set"));
    }
}
