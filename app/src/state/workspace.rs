//! What the canvas, the strip and the button show.

use adire_protocol::{Generation, GenerationEvent, ImageRecord, Progress, QueueStatus};
use leptos::prelude::*;

use super::generation;
use crate::api::StudioData;

/// Something to tell that belongs to no field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Something did not work.
    Problem(String),
    /// Something worked differently than one might think.
    Remark(String),
    /// The parameters of the kept file are in the form, as this says; it can be started from, too.
    Offer(String),
}

/// Everything that moves while images are made. Copies share the signals.
#[derive(Clone, Copy)]
pub(crate) struct Workspace {
    /// The generation that this page follows, running or ended.
    pub(crate) generation: RwSignal<Option<Generation>>,
    /// The image on the canvas; `None`: the generation itself.
    pub(crate) shown: RwSignal<Option<ImageRecord>>,
    /// The newest preview, and whose it is.
    pub(crate) last_preview: RwSignal<Option<(String, String)>>,
    /// The visitor's images, newest first.
    pub(crate) history: RwSignal<Vec<ImageRecord>>,
    /// Whether the server has older ones.
    pub(crate) more: RwSignal<bool>,
    /// How busy the worker is.
    pub(crate) queue: RwSignal<QueueStatus>,
    /// What is told above the canvas.
    pub(crate) notice: RwSignal<Option<Notice>>,
    /// Whether the stream of events is broken.
    pub(crate) lost: RwSignal<bool>,
    /// A request is on its way; its generation is not known yet.
    pub(crate) sending: RwSignal<bool>,
    /// An image is on its way to the server.
    pub(crate) uploading: RwSignal<bool>,
    /// The kept file has no parameters; what it is for is asked. Its name, and why nothing was read.
    pub(crate) asking: RwSignal<Option<(String, String)>>,
    /// Cancelling has been asked for.
    pub(crate) stopping: RwSignal<bool>,
    /// What a screen reader is told.
    pub(crate) announcement: RwSignal<String>,
}

impl Workspace {
    /// The workspace as the page starts. What runs is followed; what the address names is shown.
    pub(super) fn new(data: StudioData, notice: Option<Notice>, index: u32) -> Self {
        let (mut generation, mut shown) = (data.active, None);
        if let Some(named) = data.named {
            if named.state.is_final() {
                let image = named.images.iter().find(|image| image.index == index);
                shown = image.or(named.images.first()).cloned();
            }
            if !named.state.is_final() || (generation.is_none() && shown.is_none()) {
                generation = Some(named);
            }
        }
        if generation.is_none() && shown.is_none() {
            // Whoever comes back finds the newest image on the table.
            shown = data.history.first().cloned();
        }
        Self {
            generation: RwSignal::new(generation),
            shown: RwSignal::new(shown),
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

    /// Whether a generation waits or runs.
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

    /// Goes on from the record as the server has it.
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

    /// Shows and says something.
    pub(crate) fn notify(&self, notice: Notice) {
        self.notice.set(Some(notice));
    }

    /// The generation cannot be followed any more.
    pub(crate) fn fail(&self, sentence: String) {
        self.generation.set(None);
        self.stopping.set(false);
        self.notify(Notice::Problem(sentence));
    }

    /// Takes an event of the followed generation in.
    pub(crate) fn apply_event(&self, event: GenerationEvent) {
        self.say(&event);
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
            // The image takes the preview's place, unless another one is being looked at.
            if self.shown.with_untracked(Option::is_none) {
                let first = self.generation.with_untracked(|generation| {
                    generation.as_ref().and_then(|generation| generation.images.first().cloned())
                });
                self.shown.set(first);
            }
        }
    }

    /// Takes a deleted image off the page; `None`: all of them.
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

    /// Puts an image at the newest end of the strip.
    fn remember(&self, image: &ImageRecord) {
        let same = |known: &ImageRecord| known.generation == image.generation && known.index == image.index;
        if !self.history.with_untracked(|history| history.iter().any(same)) {
            self.history.update(|history| history.insert(0, image.clone()));
        }
    }

    /// Screen readers hear what changes, not every step.
    fn say(&self, event: &GenerationEvent) {
        let words = match event {
            GenerationEvent::Queued { ahead: 0, .. } | GenerationEvent::Progress(_) => return,
            GenerationEvent::Queued { ahead, .. } => format!("Waiting; {ahead} ahead of you."),
            GenerationEvent::Started => "Your image is being made.".to_owned(),
            GenerationEvent::Image { image } => format!("Picture {} is finished.", image.index + 1),
            GenerationEvent::Done => "Done.".to_owned(),
            GenerationEvent::Failed { message } => message.clone(),
            GenerationEvent::Cancelled => "Cancelled.".to_owned(),
        };
        self.announcement.set(words);
    }
}
