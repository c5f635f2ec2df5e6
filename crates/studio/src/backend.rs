//! What the studio asks of a model. An implementation lives on one thread from birth to end.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use adire_protocol::{AdapterReceipt, GenerationSpec, ModelInfo, TokenCount};

/// Counts a prompt's tokens on any thread, without waiting for the backend. `<lora:…>` tags have been taken out.
pub type TokenCounter = Arc<dyn Fn(&str) -> Result<TokenCount, BackendError> + Send + Sync>;

/// A model on a device. Built on the worker's thread and never moved off it, so it need not be `Send`.
///
/// A panic inside is caught: the job fails and the same backend gets the next one. State that a panic can
/// leave half made must therefore be detected or rebuilt by the implementation.
pub trait Backend: 'static {
    /// What is loaded. Asked once, after construction.
    fn info(&self) -> ModelInfo;

    /// What counts tokens the way this model reads them. Asked once, after construction.
    fn token_counter(&self) -> TokenCounter;

    /// Reads an adapter file and tries it against the base model at strength 1.
    ///
    /// # Errors
    /// A sentence for people: what is wrong with the file, what was expected.
    fn check_adapter(&mut self, path: &Path) -> Result<AdapterReceipt, BackendError>;

    /// Makes one picture. Calls `on_step` after every denoising step and gives up when told to break.
    ///
    /// # Errors
    /// [`BackendError::Cancelled`] after a break, otherwise a sentence for people.
    fn render(
        &mut self,
        job: &RenderJob,
        on_step: &mut dyn FnMut(Step) -> ControlFlow<()>,
    ) -> Result<Rendered, BackendError>;
}

/// One picture to make.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderJob {
    /// The request with this picture's own seed and a count of 1.
    pub spec: GenerationSpec,
    /// The adapters of `spec`, in its order.
    pub adapters: Vec<AdapterFile>,
    /// The pictures that `spec` names.
    pub init: Option<InitFiles>,
}

/// The picture that a job begins with, as files that [`crate::read_picture`] reads; of any size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitFiles {
    /// The picture.
    pub image: PathBuf,
    /// What of it is made anew.
    pub mask: Option<PathBuf>,
}

/// An adapter version as a file that can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterFile {
    /// `name@vN`.
    pub id: String,
    /// sha256 of the file, 64 hex digits.
    pub hash: String,
    /// Where it lies; its name says nothing.
    pub path: PathBuf,
    /// Multiplies its effect in the UNet.
    pub strength: f64,
    /// Multiplies its effect in the text encoder.
    pub te_strength: f64,
}

/// A denoising step that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Steps done, from 1.
    pub step: u32,
    /// Steps in all, those of a second pass included ([`GenerationSpec::total_steps`]).
    pub steps: u32,
    /// The latent, roughly coloured; a few dozen pixels wide.
    pub preview: Option<Pixels>,
}

/// An RGB image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `3 × width × height` bytes, row by row from the top.
    pub rgb: Vec<u8>,
}

/// A finished picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The picture.
    pub pixels: Pixels,
    /// Names the weights that were in effect.
    pub fingerprint: String,
    /// A safety checker withheld it: the pixels are black.
    pub withheld: bool,
    /// Seconds the engine took for it.
    pub seconds: f64,
    /// Seconds it took to put the adapters into effect.
    pub switch_seconds: f64,
}

/// Why there is no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// `on_step` said so.
    #[error("cancelled")]
    Cancelled,
    /// A sentence for people.
    #[error("{0}")]
    Failed(String),
}
