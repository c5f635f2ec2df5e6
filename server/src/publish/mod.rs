//! Publishes adapter versions: puts a repository together and has it uploaded, again and again until it is there or it is
//! clear that it will not be.

use std::{sync::Arc, time::Duration};

use adire_protocol::PushRequest;
use adire_studio::{Publication, PushTask, Studio, StudioError};

use crate::{
    card::Card,
    exports::{DIFFUSERS, Exports},
    hub::{Content, Hub, Push, PushError, PushFile, Pushed},
};

/// Waits between tries; after the last one a push is given up.
const WAITS: [u64; 8] = [2, 10, 30, 60, 120, 300, 600, 1200];

/// Where to, and with which right.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    pub(crate) endpoint: String,
    /// As it was set; may be absent.
    pub(crate) token: Option<String>,
    /// Hosts that may have private addresses.
    pub(crate) allowed: Vec<String>,
    /// Divides the waits between tries; 1 but in tests.
    pub(crate) hurry: u32,
    /// How long the Hub may be silent.
    pub(crate) silence: Duration,
}

impl Destination {
    /// The Hub.
    ///
    /// # Errors
    /// A sentence: no token, or no address.
    pub(crate) fn hub(&self) -> Result<Hub, String> {
        Hub::new(&self.endpoint, self.token.as_deref().unwrap_or_default(), &self.allowed, self.silence)
    }
}

/// Runs pushes until the studio closes.
pub(crate) async fn run(studio: Studio, exports: Arc<Exports>, destination: Destination) {
    loop {
        let task = match studio.next_push().await {
            Ok(task) => task,
            Err(StudioError::ShuttingDown) => return,
            Err(error) => {
                tracing::error!(%error, "no push could be claimed");
                tokio::time::sleep(Duration::from_secs(5)).await;
                continue;
            }
        };
        let (version, to) = (task.record.version.clone(), task.record.request.repository.clone());
        tracing::info!(version, to, "push started");
        let ended = one(&studio, &exports, &destination, &task).await;
        match &ended {
            Ok(Pushed { url, commit }) => {
                tracing::info!(version, to, commit, "push done");
                studio.end_push(&task, Ok((url, commit.as_deref()))).await;
            }
            Err(message) => {
                tracing::warn!(version, to, message, "push ended");
                studio.end_push(&task, Err(message)).await;
            }
        }
    }
}

/// Uploads until it is done; a sentence where it is given up.
async fn one(
    studio: &Studio,
    exports: &Arc<Exports>,
    destination: &Destination,
    task: &PushTask,
) -> Result<Pushed, String> {
    let hub = Arc::new(destination.hub()?);
    let publication = studio.publication(&task.record.version).await.map_err(|error| error.to_string())?;
    let request = task.record.request.clone();
    let model = studio.model().name.clone();
    let (files, summary) =
        assemble(exports, publication, &request, &model).await.map_err(|error| error.to_string())?;
    let (files, request) = (Arc::new(files), Arc::new(request));
    let mut tries = 0;
    loop {
        let error = match attempt(studio, task, &hub, &request, &files, &summary).await {
            Ok(pushed) => return Ok(pushed),
            Err(error) => error,
        };
        let Some(wait) = WAITS.get(tries).filter(|_| error.transient) else { return Err(error.message) };
        tries += 1;
        let wait = error.wait_or(Duration::from_secs(*wait)) / destination.hurry;
        let progress = format!("{} Next try in {} s.", error.message, wait.as_secs());
        if let Err(error) = studio.push_progress(task, &progress).await {
            tracing::warn!(%error, "progress of a push was not stored");
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = task.until_stopped() => return Err("Cancelled.".to_owned()),
        }
    }
}

/// One try, on a thread that may wait.
async fn attempt(
    studio: &Studio,
    task: &PushTask,
    hub: &Arc<Hub>,
    request: &Arc<PushRequest>,
    files: &Arc<Vec<PushFile>>,
    summary: &str,
) -> Result<Pushed, PushError> {
    let (studio, task, hub) = (studio.clone(), task.clone(), hub.clone());
    let (request, files, summary) = (request.clone(), files.clone(), summary.to_owned());
    let handle = tokio::runtime::Handle::current();
    let work = move || {
        let PushRequest { repository, private, .. } = &*request;
        let push = Push { repository, private: *private, summary: &summary, files: &files };
        let mut report = |progress: &str| {
            // What it is doing matters less than that it is done.
            let _ = handle.block_on(studio.push_progress(&task, progress));
        };
        hub.push(&push, &task.stop, &mut report)
    };
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| Err(PushError { message: error.to_string(), transient: false, wait: None }))
}

/// The files of a repository, and the summary of its commit.
///
/// # Errors
/// The adapter cannot be exported.
pub(crate) async fn assemble(
    exports: &Arc<Exports>,
    publication: Publication,
    request: &PushRequest,
    model: &str,
) -> Result<(Vec<PushFile>, String), StudioError> {
    let Publication { version, file, samples, lineage, verdict } = publication;
    let exported = exports.export_all(version.clone(), file).await?;
    let base = request.base_model.as_deref().unwrap_or(model);
    let mut card = Card::of(&version, &request.repository, base);
    card.license.clone_from(&request.license);
    card.lineage = lineage;
    card.verdict = verdict;
    let mut files = Vec::new();
    for file in exported {
        let purpose =
            if file.name == DIFFUSERS { "for diffusers" } else { "for other programs (kohya's format)" };
        card.files.push((file.name.clone(), purpose));
        let (sha256, bytes) = (file.known.sha256, file.known.bytes);
        files.push(PushFile { path: file.name, content: Content::File { path: file.path, sha256, bytes } });
    }
    for (index, (prompt, png)) in samples.into_iter().enumerate() {
        let path = format!("images/sample-{}.png", index + 1);
        card.samples.push((prompt, path.clone()));
        files.push(PushFile { path, content: Content::Bytes(png) });
    }
    let text = card.markdown().into_bytes();
    files.push(PushFile { path: "README.md".to_owned(), content: Content::Bytes(text) });
    Ok((files, format!("Upload {} with Adire", version.id())))
}

#[cfg(test)]
mod tests;
