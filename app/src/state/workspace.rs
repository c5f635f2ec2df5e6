//! State of the canvas, the strip and the Generate button.

use adire_protocol::{Generation, GenerationEvent, ImageRecord, Progress, QueueStatus, Rating};
use leptos::prelude::*;

use super::generation;
use crate::{api::StudioData, words::waits_for};

/// A message that belongs to no field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Something failed.
    Problem(String),
    /// Something worked, but not as expected.
    Warning(String),
    /// The parameters of the kept file were loaded; it can also become the init image.
    Offer(String),
}

/// Everything that changes during a generation. Copies share the signals.
#[derive(Clone, Copy)]
pub(crate) struct Workspace {
    /// The generation that this page follows, running or ended.
    pub(crate) generation: RwSignal<Option<Generation>>,
    /// The image on the canvas; `None`: the generation itself.
    pub(crate) shown: RwSignal<Option<ImageRecord>>,
    /// Its rating; `None`: it is another visitor's.
    pub(crate) rating: RwSignal<Option<Rating>>,
    /// Id of a generation and its newest preview.
    pub(crate) last_preview: RwSignal<Option<(String, String)>>,
    /// The visitor's images, newest first.
    pub(crate) history: RwSignal<Vec<ImageRecord>>,
    /// Whether the server has older ones.
    pub(crate) more: RwSignal<bool>,
    /// State of the queue.
    pub(crate) queue: RwSignal<QueueStatus>,
    /// The message above the canvas.
    pub(crate) notice: RwSignal<Option<Notice>>,
    /// Whether the event stream is disconnected.
    pub(crate) lost: RwSignal<bool>,
    /// A request was sent; its generation is not known yet.
    pub(crate) sending: RwSignal<bool>,
    /// An upload is in progress.
    pub(crate) uploading: RwSignal<bool>,
    /// Name of a kept file without parameters whose purpose is being asked, and why nothing was loaded.
    pub(crate) asking: RwSignal<Option<(String, String)>>,
    /// A cancellation was sent.
    pub(crate) stopping: RwSignal<bool>,
    /// The latest announcement to screen readers.
    pub(crate) announcement: RwSignal<String>,
}

impl Workspace {
    /// The initial state: follows the generation in progress and shows the one that the address names.
    pub(super) fn new(data: StudioData, notice: Option<Notice>, index: u32) -> Self {
        // A returning visitor sees their newest image.
        let shown = data.first_image(index).cloned();
        let mut generation = data.active;
        if let Some(named) = data.named
            && (!named.state.is_final() || (generation.is_none() && shown.is_none()))
        {
            generation = Some(named);
        }
        Self {
            generation: RwSignal::new(generation),
            shown: RwSignal::new(shown),
            rating: RwSignal::new(data.rating),
            last_preview: RwSignal::new(None),
            history: RwSignal::new(data.history),
            more: RwSignal::new(data.more),
            queue: RwSignal::new(data.queue),
            notice: RwSignal::new(notice),
            lost: RwSignal::new(false),
            sending: RwSignal::new(false),
            uploading: RwSignal::new(false),
            asking: RwSignal::new(None),
            stopping: RwSignal::new(false),
            announcement: RwSignal::new(String::new()),
        }
    }

    /// Whether a generation is queued or running.
    pub(crate) fn is_busy(&self) -> bool {
        self.generation
            .with(|generation| generation.as_ref().is_some_and(|generation| !generation.state.is_final()))
    }

    /// Follows a new generation.
    pub(crate) fn begin(&self, generation: Generation) {
        self.notice.set(None);
        self.stopping.set(false);
        self.lost.set(false);
        self.shown.set(None);
        self.generation.set(Some(generation));
    }

    /// Continues from the server's record.
    pub(crate) fn resume(&self, generation: Generation) {
        let ended = generation.state.is_final();
        let first = generation.images.first().cloned();
        self.generation.set(Some(generation));
        if ended {
            self.stopping.set(false);
            if self.shown.with_untracked(Option::is_none) {
                self.shown.set(first);
            }
        }
    }

    /// Shows a message.
    pub(crate) fn notify(&self, notice: Notice) {
        self.notice.set(Some(notice));
    }

    /// The generation can no longer be followed.
    pub(crate) fn fail(&self, sentence: String) {
        self.generation.set(None);
        self.stopping.set(false);
        self.notify(Notice::Problem(sentence));
    }

    /// Applies an event of the followed generation.
    pub(crate) fn apply_event(&self, event: GenerationEvent) {
        self.announce(&event);
        if let GenerationEvent::Image { image } = &event {
            self.remember(image);
        }
        if let GenerationEvent::Progress(Progress { preview: Some(preview), .. }) = &event {
            let id = self.generation.with_untracked(|generation| {
                generation.as_ref().map(|generation| generation.id.clone()).unwrap_or_default()
            });
            self.last_preview.set(Some((id, preview.clone())));
        }
        let last = event.is_last();
        self.generation.update(|generation| {
            if let Some(generation) = generation {
                generation::apply(generation, event);
            }
        });
        if last {
            self.stopping.set(false);
            // The image replaces the preview, unless another one is selected.
            if self.shown.with_untracked(Option::is_none) {
                let first = self.generation.with_untracked(|generation| {
                    generation.as_ref().and_then(|generation| generation.images.first().cloned())
                });
                self.shown.set(first);
            }
        }
    }

    /// Whether this image is on the canvas.
    pub(super) fn shows(&self, image: &ImageRecord) -> bool {
        self.shown.with_untracked(|shown| {
            shown
                .as_ref()
                .is_some_and(|shown| shown.generation == image.generation && shown.index == image.index)
        })
    }

    /// Removes a deleted image from the page; `None`: all of them.
    pub(crate) fn forget(&self, image: Option<&ImageRecord>) {
        let is_kept = |known: &ImageRecord| {
            image.is_some_and(|image| known.generation != image.generation || known.index != image.index)
        };
        self.history.update(|history| history.retain(is_kept));
        if !untrack(|| self.is_busy()) {
            self.generation.update(|generation| {
                generation.iter_mut().for_each(|generation| generation.images.retain(is_kept));
                generation.take_if(|generation| generation.images.is_empty());
            });
        }
        if image.is_none() {
            self.more.set(false);
        }
        self.shown.set(self.history.with_untracked(|history| history.first().cloned()));
    }

    /// Adds an image at the newest end of the strip.
    fn remember(&self, image: &ImageRecord) {
        let same = |known: &ImageRecord| known.generation == image.generation && known.index == image.index;
        if !self.history.with_untracked(|history| history.iter().any(same)) {
            self.history.update(|history| history.insert(0, image.clone()));
        }
    }

    /// Announces changes to screen readers, but not every step.
    fn announce(&self, event: &GenerationEvent) {
        let words = match event {
            GenerationEvent::Queued { ahead: 0, .. } | GenerationEvent::Progress(_) => return,
            GenerationEvent::Queued { ahead, wait_reason, .. } => {
                let waits_for = waits_for(Some(*ahead), *wait_reason).unwrap_or_default();
                format!("Queued; {waits_for}.")
            }
            GenerationEvent::Started => "Generating.".to_owned(),
            GenerationEvent::Image { image } => format!("Image {} is ready.", image.index + 1),
            GenerationEvent::Done => "Done.".to_owned(),
            GenerationEvent::Failed { message } => message.clone(),
            GenerationEvent::Cancelled => "Cancelled.".to_owned(),
        };
        self.announcement.set(words);
    }
}
