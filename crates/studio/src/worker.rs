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
    Backend, BackendError, BundledWords, EmbeddingReader, FeatureRequest, FeatureSet, JudgeInfo,
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
    updates: mpsc::UnboundedSender<RenderEvent>,
}

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

/// Events while an image is rendered. Times count from its start.
pub(crate) enum RenderEvent {
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

    /// Most images that [`Self::render_together`] takes.
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

    /// Starts an image. `stop` ends it within one step, as does dropping the receiver. The channel has no
    /// bound so that the thread never waits; an image has at most a few hundred small updates.
    pub(crate) fn render(
        &self,
        job: RenderRequest,
        stop: Arc<AtomicBool>,
    ) -> Result<mpsc::UnboundedReceiver<RenderEvent>, StudioError> {
        let (updates, receiver) = mpsc::unbounded_channel();
        self.requests.send(Request::Render(vec![Image { job, stop, updates }])).map_err(|_| gone())?;
        Ok(receiver)
    }

    /// Starts images whose specs share a batch, each with its own `stop`, as [`Self::render`] does one.
    pub(crate) fn render_together(
        &self,
        jobs: Vec<(RenderRequest, Arc<AtomicBool>)>,
    ) -> Result<Vec<mpsc::UnboundedReceiver<RenderEvent>>, StudioError> {
        let (images, receivers) = jobs
            .into_iter()
            .map(|(job, stop)| {
                let (updates, receiver) = mpsc::unbounded_channel();
                (Image { job, stop, updates }, receiver)
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        if !images.is_empty() {
            self.requests.send(Request::Render(images)).map_err(|_| gone())?;
        }
        Ok(receivers)
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
    let start = Instant::now();
    let (jobs, followers): (Vec<_>, Vec<_>) =
        images.into_iter().map(|Image { job, stop, updates }| (job, (stop, updates))).unzip();
    let wanted = jobs.first().map(adapters);
    let mut on_step = |image: usize, step: RenderStep| {
        let (stop, updates) = &followers[image];
        let heard = updates.send(RenderEvent::Step(step, start.elapsed())).is_ok();
        if heard && !stop.load(Ordering::Relaxed) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    let results = match &jobs[..] {
        [job] => vec![guarded(|| backend.render(job, &mut |step| on_step(0, step)))],
        // Of a batch that panics each image is tried alone, so that one fails no other.
        jobs => guarded(|| Ok(backend.render_batch(jobs, &mut on_step))).unwrap_or_else(|_| {
            let alone = |(image, job)| guarded(|| backend.render(job, &mut |step| on_step(image, step)));
            jobs.iter().enumerate().map(alone).collect()
        }),
    };
    // One that failed may have put them into effect or not.
    let known = results.iter().any(Result::is_ok);
    let mut switched = before != wanted;
    for (result, (_, updates)) in results.into_iter().zip(&followers) {
        // Only one of a batch waited for the switch.
        let result = result.map(|image| Rendered { switched: std::mem::take(&mut switched), ..image });
        let _ = updates.send(RenderEvent::Ended(result, start.elapsed()));
    }
    wanted.filter(|_| known)
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
