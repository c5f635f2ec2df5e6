//! The public face: everything the server and the page call.

use std::{path::PathBuf, pin::Pin, sync::Arc};

use adire_protocol::{
    AdapterVersion, Event, Generation, GenerationRequest, ImageRecord, ModelInfo, QueueStatus,
};
use tokio_stream::Stream;

use crate::{Backend, BackendError, Pixels, StudioError};

/// Who asks: a random id that a browser keeps. The server puts it into the page's context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor(pub String);

/// Where a studio keeps its things and how much it takes on.
#[derive(Clone, Debug)]
pub struct StudioConfig {
    /// Data folder; made when absent.
    pub data: PathBuf,
    /// Most generations that may wait.
    pub queue_capacity: usize,
}

impl StudioConfig {
    /// The usual settings for a data folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), queue_capacity: 32 }
    }
}

/// An adapter file to be taken in.
#[derive(Clone, Debug)]
pub struct NewAdapter {
    /// Name without version.
    pub name: String,
    /// Version; the next number when absent.
    pub version: Option<u32>,
    /// The file; it is copied.
    pub path: PathBuf,
    /// What it teaches, one sentence; may be empty.
    pub description: String,
    /// Words that call the style up; may be empty.
    pub trigger: String,
}

/// The events of one generation; ends after the last one.
pub type EventStream = Pin<Box<dyn Stream<Item = Event> + Send + 'static>>;

/// A handle to the one studio of a process; clones are cheap.
#[derive(Clone)]
pub struct Studio {
    inner: Arc<Inner>,
}

struct Inner {
    model: ModelInfo,
}

impl Studio {
    /// Opens the data folder, loads the model on its own thread (`make` runs there) and goes on with what
    /// was left unfinished.
    ///
    /// # Errors
    /// The folder cannot be used, another server uses it, or the model cannot be loaded.
    pub async fn open<B: Backend>(
        config: StudioConfig,
        make: impl FnOnce() -> Result<B, BackendError> + Send + 'static,
    ) -> Result<Self, StudioError> {
        let _ = (config, make);
        Err(StudioError::ShuttingDown)
    }

    /// The model that is loaded.
    pub fn model(&self) -> &ModelInfo {
        &self.inner.model
    }

    /// How busy the worker is.
    pub fn queue(&self) -> QueueStatus {
        QueueStatus::default()
    }

    /// Checks a request and puts it into the queue.
    ///
    /// # Errors
    /// Wrong fields, unknown adapters, a full queue, a full disk.
    pub async fn submit(
        &self,
        request: GenerationRequest,
        visitor: Option<&str>,
    ) -> Result<Generation, StudioError> {
        let _ = (request, visitor);
        Err(StudioError::ShuttingDown)
    }

    /// A generation as it stands.
    ///
    /// # Errors
    /// No such generation.
    pub async fn generation(&self, id: &str) -> Result<Generation, StudioError> {
        let _ = id;
        Err(StudioError::ShuttingDown)
    }

    /// Stops a generation: at once while it waits, within one step while it runs (the returned record may
    /// still say `running`; the event tells). One that has ended stays as it is.
    ///
    /// # Errors
    /// No such generation.
    pub async fn cancel(&self, id: &str) -> Result<Generation, StudioError> {
        let _ = id;
        Err(StudioError::ShuttingDown)
    }

    /// Events with a number above `after`: what has happened, then what happens; ends after the last event.
    ///
    /// # Errors
    /// No such generation.
    pub async fn events(&self, id: &str, after: u64) -> Result<EventStream, StudioError> {
        let _ = (id, after);
        Err(StudioError::ShuttingDown)
    }

    /// A visitor's pictures, newest first; `before` is the `created_at` of the last one of the page before.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn history(
        &self,
        visitor: &str,
        limit: u32,
        before: Option<i64>,
    ) -> Result<Vec<ImageRecord>, StudioError> {
        let _ = (visitor, limit, before);
        Err(StudioError::ShuttingDown)
    }

    /// A visitor's generations that wait or run, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn active(&self, visitor: &str) -> Result<Vec<Generation>, StudioError> {
        let _ = visitor;
        Err(StudioError::ShuttingDown)
    }

    /// The PNG file of a picture.
    ///
    /// # Errors
    /// No such picture.
    pub async fn image(&self, hash: &str) -> Result<Vec<u8>, StudioError> {
        let _ = hash;
        Err(StudioError::ShuttingDown)
    }

    /// Every adapter version, by name, the newest version of each first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn adapters(&self) -> Result<Vec<AdapterVersion>, StudioError> {
        Err(StudioError::ShuttingDown)
    }

    /// Takes an adapter file in. The same file under the same name and version gives the existing version.
    ///
    /// # Errors
    /// The name is wrong, the file does not fit the model, the version exists with another content.
    pub async fn add_adapter(&self, new: NewAdapter) -> Result<AdapterVersion, StudioError> {
        let _ = new;
        Err(StudioError::ShuttingDown)
    }

    /// Takes no more requests, lets the running step end and leaves what is unfinished for the next start.
    /// Every event stream ends.
    pub async fn shutdown(&self) {}
}

/// A PNG file with `infotext` as its `parameters` entry.
///
/// # Errors
/// `pixels.rgb` does not have `3 × width × height` bytes.
pub fn encode_png(pixels: &Pixels, infotext: &str) -> Result<Vec<u8>, StudioError> {
    let _ = (pixels, infotext);
    Err(StudioError::ShuttingDown)
}

/// The request that made a PNG, from its text entries.
///
/// # Errors
/// The bytes are no PNG, or carry no generation parameters.
pub fn read_request(png: &[u8]) -> Result<GenerationRequest, StudioError> {
    let _ = png;
    Err(StudioError::ShuttingDown)
}
