//! The one thread that owns the backend. Others send it messages; it knows no queue, rows or events.

use std::{
    any::Any,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc as blocking,
    },
    thread,
    time::{Duration, Instant},
};

use adire_protocol::{AdapterReceipt, MetricInfo, ModelInfo, TrainingConfig};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Backend, BackendError, BundledWords, EmbeddingReader, FeatureRequest, FeatureSet, ImageUpdate, JudgeInfo,
    MeasureRequest, Measurements, MemoryGauge, RenderRequest, RenderStep, Rendered, StudioError,
    TokenCounter, TrainingTask, UnitOutcome,
};

/// A request to the worker thread. Requests are served in order, one at a time.
enum Request {
    Check {
        path: PathBuf,
        reply: oneshot::Sender<Result<AdapterReceipt, BackendError>>,
    },
    Pin {
        hashes: Vec<String>,
    },
    /// Images in one batch.
    Render(Vec<Image>),
    Train(TrainCommand),
    Judge {
        reply: oneshot::Sender<Result<JudgeInfo, BackendError>>,
    },
    Features {
        request: Box<FeatureRequest>,
        reply: oneshot::Sender<Result<FeatureSet, BackendError>>,
    },
    Measure {
        request: Box<MeasureRequest>,
        reply: oneshot::Sender<Result<Measurements, BackendError>>,
    },
    HeldOut {
        repeats: Vec<u32>,
        config: Box<TrainingConfig>,
        reply: oneshot::Sender<Result<Vec<usize>, BackendError>>,
    },
    Exit,
}

/// An image to render.
struct Image {
    job: RenderRequest,
    stop: Arc<AtomicBool>,
    /// Its place among the images that are followed with it.
    place: usize,
    updates: mpsc::UnboundedSender<(usize, RenderEvent)>,
}

/// Images with what stops each.
pub(crate) type Jobs = Vec<(RenderRequest, Arc<AtomicBool>)>;

/// What follows images that have been started: each event with the place of its image among them.
pub(crate) type Updates = mpsc::UnboundedReceiver<(usize, RenderEvent)>;

/// A command about the current training run.
enum TrainCommand {
    Begin { task: Box<TrainingTask>, reply: oneshot::Sender<Result<(), BackendError>> },
    Advance { interrupted: Interrupted, reply: oneshot::Sender<Result<Unit, BackendError>> },
    Save { reply: oneshot::Sender<Result<(), BackendError>> },
    End,
}

/// Whether a sample should be broken off.
pub(crate) type Interrupted = Arc<dyn Fn() -> bool + Send + Sync>;

/// A unit of training, and how long it held the thread.
pub(crate) type Unit = (UnitOutcome, Duration);

/// Events while an image is rendered. Times count from `Begun`.
pub(crate) enum RenderEvent {
    /// The device has begun with it, and with others in the same batch: so many in all. Once more where the batch failed.
    Begun(u32),
    Step(RenderStep, Duration),
    Ended(Result<Rendered, BackendError>, Duration),
}

/// Information about the loaded model that other threads may use.
pub(crate) struct Loaded {
    pub(crate) info: ModelInfo,
    pub(crate) counter: TokenCounter,
    pub(crate) bundled_words: BundledWords,
    pub(crate) embedding_reader: EmbeddingReader,
    pub(crate) device_memory: MemoryGauge,
    pub(crate) metrics: Vec<MetricInfo>,
}

/// Handle to the worker thread; clones share it. The thread ends with the last one.
#[derive(Clone)]
pub(crate) struct Worker {
    requests: blocking::Sender<Request>,
    batch: usize,
}

impl Worker {
    /// Starts the thread and builds the backend on it.
    pub(crate) async fn start<B: Backend>(
        make: impl FnOnce() -> Result<B, BackendError> + Send + 'static,
    ) -> Result<(Self, Loaded, thread::JoinHandle<()>), StudioError> {
        let (requests, inbox) = blocking::channel();
        let (ready, built) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("adire-worker".to_owned())
            .spawn(move || {
                let made = guarded(|| {
                    let backend = make()?;
                    let (info, counter) = (backend.info(), backend.token_counter());
                    let (bundled_words, device_memory) = (backend.bundled_words(), backend.memory_gauge());
                    let (embedding_reader, metrics) = (backend.embedding_reader(), backend.metrics());
                    let loaded =
                        Loaded { info, counter, bundled_words, embedding_reader, device_memory, metrics };
                    Ok(((loaded, backend.batch()), backend))
                });
                let backend = match made {
                    Ok((loaded, backend)) => ready.send(Ok(loaded)).map(|()| backend).ok(),
                    Err(error) => ready.send(Err(error)).err().and(None),
                };
                if let Some(backend) = backend {
                    serve(backend, &inbox);
                }
            })
            .map_err(|error| StudioError::Backend(format!("Cannot start the worker thread: {error}.")))?;
        let (loaded, batch) =
            built.await.map_err(|_| gone())?.map_err(|error| StudioError::Backend(error.to_string()))?;
        Ok((Self { requests, batch }, loaded, thread))
    }

    /// Most images that are rendered in one batch.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Tries an adapter file against the model; waits for the image that is being made.
    pub(crate) async fn check_adapter(
        &self,
        path: PathBuf,
    ) -> Result<Result<AdapterReceipt, BackendError>, StudioError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Check { path, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    /// Names the adapter files to keep at hand.
    pub(crate) fn pin(&self, hashes: Vec<String>) {
        // A thread that is gone keeps none.
        let _ = self.requests.send(Request::Pin { hashes });
    }

    /// Renders an image. `stop` ends it within one step; `on_step` is called after each.
    pub(crate) async fn render(
        &self,
        job: RenderRequest,
        stop: Arc<AtomicBool>,
        mut on_step: impl FnMut(),
    ) -> Result<Result<Rendered, BackendError>, StudioError> {
        let mut updates = self.render_groups(vec![vec![(job, stop)]])?.pop().ok_or_else(gone)?;
        loop {
            match updates.recv().await.ok_or_else(gone)?.1 {
                RenderEvent::Begun(_) => {}
                RenderEvent::Step(..) => on_step(),
                RenderEvent::Ended(result, _) => return Ok(result),
            }
        }
    }

    /// Starts images whose specs share a batch, or a single one, in groups that are followed each for itself. An image's `stop`
    /// ends it within one step, as does dropping what follows it. The channels have no bound so that the thread never
    /// waits; an image has at most a few hundred small updates.
    pub(crate) fn render_groups(&self, groups: Vec<Jobs>) -> Result<Vec<Updates>, StudioError> {
        let (mut images, mut followed) = (Vec::new(), Vec::with_capacity(groups.len()));
        for group in groups {
            let (sender, receiver) = mpsc::unbounded_channel();
            let image = |(place, (job, stop))| Image { job, stop, place, updates: sender.clone() };
            images.extend(group.into_iter().enumerate().map(image));
            followed.push(receiver);
        }
        if !images.is_empty() {
            self.requests.send(Request::Render(images)).map_err(|_| gone())?;
        }
        Ok(followed)
    }

    /// Begins a training run.
    pub(crate) async fn begin_training(
        &self,
        task: TrainingTask,
    ) -> Result<Result<(), BackendError>, StudioError> {
        self.train(|reply| TrainCommand::Begin { task: Box::new(task), reply }).await
    }

    /// Does one unit of the run. Requests are served in order, so an image requested meanwhile waits
    /// for one unit at most.
    pub(crate) async fn advance_training(
        &self,
        interrupted: Interrupted,
    ) -> Result<Result<Unit, BackendError>, StudioError> {
        self.train(|reply| TrainCommand::Advance { interrupted, reply }).await
    }

    /// Writes a checkpoint.
    pub(crate) async fn save_training(&self) -> Result<Result<(), BackendError>, StudioError> {
        self.train(|reply| TrainCommand::Save { reply }).await
    }

    /// Drops the run.
    pub(crate) fn end_training(&self) {
        // A thread that is gone has no run.
        let _ = self.requests.send(Request::Train(TrainCommand::End));
    }

    /// The judge; the first call loads it.
    pub(crate) async fn judge(&self) -> Result<Result<JudgeInfo, BackendError>, StudioError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Judge { reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    /// What the judge sees in images and texts; an image that is requested meanwhile waits for it.
    pub(crate) async fn features(
        &self,
        request: FeatureRequest,
    ) -> Result<Result<FeatureSet, BackendError>, StudioError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Features { request: Box::new(request), reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    /// [`Backend::measure`], on the worker's thread.
    pub(crate) async fn measure(
        &self,
        request: MeasureRequest,
    ) -> Result<Result<Measurements, BackendError>, StudioError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Measure { request: Box::new(request), reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    /// [`Backend::held_out`], on the worker's thread.
    pub(crate) async fn held_out(
        &self,
        repeats: Vec<u32>,
        config: TrainingConfig,
    ) -> Result<Result<Vec<usize>, BackendError>, StudioError> {
        let (reply, answer) = oneshot::channel();
        let config = Box::new(config);
        self.requests.send(Request::HeldOut { repeats, config, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    async fn train<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> TrainCommand) -> Result<T, StudioError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Train(ask(reply))).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    /// Ends the thread after what it is doing.
    pub(crate) fn exit(&self) {
        // A thread that is gone has nothing left to end.
        let _ = self.requests.send(Request::Exit);
    }
}

/// Serves requests until `Exit` or until every sender is dropped.
fn serve<B: Backend>(mut backend: B, inbox: &blocking::Receiver<Request>) {
    // Adapters in effect, with their strengths; none where nobody knows.
    let mut in_effect = Some(Vec::new());
    while let Ok(request) = inbox.recv() {
        // A reply that cannot be sent means that the asker has left; there is nobody to tell.
        match request {
            Request::Check { path, reply } => {
                in_effect = None;
                let _ = reply.send(guarded(|| backend.check_adapter(&path)));
            }
            Request::Pin { hashes } => {
                let _ = guarded(|| {
                    backend.pin(hashes);
                    Ok(())
                });
            }
            Request::Render(images) => in_effect = render(&mut backend, images, in_effect),
            Request::Train(asked) => train(&mut backend, asked),
            Request::Judge { reply } => {
                let _ = reply.send(guarded(|| backend.judge()));
            }
            Request::Features { request, reply } => {
                let _ = reply.send(guarded(|| backend.features(&request)));
            }
            Request::Measure { request, reply } => {
                let _ = reply.send(guarded(|| backend.measure(&request)));
            }
            Request::HeldOut { repeats, config, reply } => {
                let _ = reply.send(guarded(|| Ok(backend.held_out(&repeats, &config))));
            }
            Request::Exit => break,
        }
    }
}

/// Adapters by hash, with their strengths as bits.
type InEffect = Vec<(String, u64, u64)>;

/// Renders images; the adapters in effect afterwards, of those before.
fn render<B: Backend>(backend: &mut B, images: Vec<Image>, before: Option<InEffect>) -> Option<InEffect> {
    let (jobs, mut followers): (Vec<_>, Vec<_>) = images
        .into_iter()
        .map(|Image { job, stop, place, updates }| {
            (job, Follower { stop, place, updates, begun: Instant::now(), ended: false })
        })
        .unzip();
    let wanted = jobs.first().map(adapters);
    // One that failed may have put them into effect or not.
    let (mut known, mut switched) = (false, before != wanted);
    let mut on_update = |image: usize, update: ImageUpdate| {
        let follower: &mut Follower = &mut followers[image];
        let update = match update {
            ImageUpdate::Ended(Ok(rendered)) => {
                known = true;
                // Only one of a batch waited for the switch.
                ImageUpdate::Ended(Ok(Rendered { switched: std::mem::take(&mut switched), ..rendered }))
            }
            update => update,
        };
        follower.pass(update)
    };
    if jobs.len() > 1
        && let Err(error) = guarded(|| backend.render_batch(&jobs, &mut on_update))
    {
        tracing::warn!(%error, images = jobs.len(), "a batch failed; its images are made one by one");
    }
    // Each alone that the batch has left, so that one fails no other.
    for (image, job) in jobs.iter().enumerate() {
        if on_update(image, ImageUpdate::Begun { together: 1 }).is_continue() {
            let on_step = &mut |step| on_update(image, ImageUpdate::Step(step));
            let result = guarded(|| backend.render(job, on_step));
            let _ = on_update(image, ImageUpdate::Ended(result));
        }
    }
    wanted.filter(|_| known)
}

/// Who waits for an image.
struct Follower {
    stop: Arc<AtomicBool>,
    place: usize,
    updates: mpsc::UnboundedSender<(usize, RenderEvent)>,
    begun: Instant,
    ended: bool,
}

impl Follower {
    /// Passes an update on unless the image has ended; a break if it has. One that is stopped ends at once, whatever a batch
    /// has still to do.
    fn pass(&mut self, update: ImageUpdate) -> ControlFlow<()> {
        if self.ended {
            return ControlFlow::Break(());
        }
        let event = match update {
            ImageUpdate::Begun { together } => {
                self.begun = Instant::now();
                RenderEvent::Begun(together)
            }
            ImageUpdate::Step(step) => RenderEvent::Step(step, self.begun.elapsed()),
            ImageUpdate::Ended(result) => {
                self.ended = true;
                RenderEvent::Ended(result, self.begun.elapsed())
            }
        };
        let heard = self.updates.send((self.place, event)).is_ok();
        if self.ended || (heard && !self.stop.load(Ordering::Relaxed)) {
            return ControlFlow::Continue(());
        }
        self.ended = true;
        let cancelled = RenderEvent::Ended(Err(BackendError::Cancelled), self.begun.elapsed());
        // Without anybody who hears it, it has ended all the same.
        let _ = self.updates.send((self.place, cancelled));
        ControlFlow::Break(())
    }
}

/// The adapters of a request.
fn adapters(job: &RenderRequest) -> InEffect {
    let bits =
        |file: &crate::AdapterFile| (file.hash.clone(), file.strength.to_bits(), file.te_strength.to_bits());
    job.adapters.iter().map(bits).collect()
}

fn train<B: Backend>(backend: &mut B, asked: TrainCommand) {
    match asked {
        TrainCommand::Begin { task, reply } => {
            let _ = reply.send(guarded(|| backend.begin_training(*task)));
        }
        TrainCommand::Advance { interrupted, reply } => {
            let start = Instant::now();
            let update = guarded(|| backend.advance_training(&|| interrupted()));
            // Not kept beyond the unit: it holds what a shutdown waits for.
            drop(interrupted);
            let _ = reply.send(update.map(|update| (update, start.elapsed())));
        }
        TrainCommand::Save { reply } => {
            let _ = reply.send(guarded(|| backend.save_training()));
        }
        TrainCommand::End => {
            let _ = guarded(|| {
                backend.end_training();
                Ok(())
            });
        }
    }
}

/// Turns a panic of the backend into an error. `AssertUnwindSafe`: the backend is used again after a panic,
/// and its contract says that it must bear that.
fn guarded<T>(work: impl FnOnce() -> Result<T, BackendError>) -> Result<T, BackendError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = message(panic.as_ref());
        tracing::error!(panic = text, "the backend panicked");
        Err(BackendError::Failed(format!(
            "The engine crashed ({text}). Only this request failed. Please report it."
        )))
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

fn gone() -> StudioError {
    StudioError::Backend("The worker thread has stopped. Restart the server.".to_owned())
}
