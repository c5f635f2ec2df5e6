//! State machine of a training run: prepares images, then alternates optimizer steps with due actions.

use std::{ops::ControlFlow, path::PathBuf, time::Instant};

use adire_engine::{
    EngineError, Pipeline, Result,
    adapter::Adapter,
    train::{Preparation, Source, Trainer},
};
use adire_protocol::TrainingPoint;
use adire_studio::{TrainingTask, UnitOutcome, read_pixels};

use super::{
    card::Outcome,
    class_images::{ClassImages, plain_spec},
    milestones::{DueAction, Milestones},
    output::{self, CHECKPOINT},
    probe::ResourceProbe,
};
use crate::init_image::pixels;

/// Drives one training run; see [`adire_studio::Backend::advance_training`] for its guarantees.
#[derive(Debug)]
pub struct TrainingDriver {
    task: TrainingTask,
    milestones: Milestones,
    state: State,
    begun: Instant,
    /// Adapters that take effect only in part, one sentence each.
    warnings: Vec<String>,
    /// The adapter in both formats and the model card, once they are there.
    written: Vec<PathBuf>,
}

#[derive(Debug)]
enum State {
    /// `next`: the place in the task's images, then its class images, then those that are made; `time`: how often
    /// that one was added.
    Preparing {
        preparation: Box<Preparation>,
        next: usize,
        time: u32,
        made: ClassImages,
    },
    Training(Box<Trainer>),
    Ended,
}

impl TrainingDriver {
    /// A run that has not started.
    ///
    /// # Errors
    /// The dataset has no images.
    pub fn new(pipeline: &Pipeline, task: TrainingTask) -> Result<Self> {
        let count = |images: &[adire_studio::TrainingImage]| {
            images.iter().map(|image| image.repeats as usize).sum::<usize>()
        };
        let given = count(&task.classes);
        let made = ClassImages::new(&task, given);
        let preparation = pipeline.preparation(count(&task.images), given + made.count, &task.config)?;
        let milestones = Milestones::new(&task.known);
        let state = State::Preparing { preparation: Box::new(preparation), next: 0, time: 0, made };
        Ok(Self { task, milestones, state, begun: Instant::now(), warnings: Vec::new(), written: Vec::new() })
    }

    /// One sentence for each adapter that takes effect only in part; complete once the run is
    /// [`UnitOutcome::Ready`].
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The adapter in both formats and the model card, once the run has finished.
    pub fn written(&self) -> &[PathBuf] {
        &self.written
    }

    /// Executes one unit.
    ///
    /// # Errors
    /// A sentence: an image is lost, memory runs out, numbers break down for good, a checkpoint cannot be written.
    pub fn advance(
        &mut self,
        pipeline: &mut Pipeline,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<UnitOutcome> {
        match &mut self.state {
            State::Preparing { preparation, next, time, made }
                if preparation.done() < preparation.total() =>
            {
                let all = self.task.images.iter().chain(&self.task.classes);
                let given = self.task.images.len() + self.task.classes.len();
                let image = match all.clone().nth(*next) {
                    Some(image) => image.clone(),
                    None => made.image(pipeline, *next - given),
                };
                if *next >= given && !image.path.is_file() {
                    let place = *next - given;
                    return match made.make(pipeline, place, &image.path, interrupted) {
                        Ok(()) => {
                            Ok(UnitOutcome::ClassImage { done: small(place + 1), total: small(made.count) })
                        }
                        Err(EngineError::Cancelled) => Ok(UnitOutcome::PutOff),
                        Err(error) => Err(error),
                    };
                }
                let lost = |error: adire_studio::StudioError| {
                    EngineError::Request(format!("Cannot use {}. {error}", image.name))
                };
                let found = read_pixels(&image.path).map_err(lost)?;
                let short = || EngineError::Request(format!("{} has too few pixels", image.name));
                let rgb =
                    image::RgbImage::from_raw(found.width, found.height, found.rgb).ok_or_else(short)?;
                let source = Source { image: rgb, caption: image.caption.clone() };
                pipeline.prepare_next(preparation, &source)?;
                *time += 1;
                // Once more is free where nothing is computed.
                while *time < image.repeats && preparation.again() {
                    *time += 1;
                }
                if *time >= image.repeats {
                    (*next, *time) = (*next + 1, 0);
                }
                Ok(UnitOutcome::Preparing {
                    done: small(preparation.done()),
                    total: small(preparation.total()),
                })
            }
            State::Preparing { .. } => self.ready(pipeline),
            State::Training(_) => self.train(pipeline, interrupted),
            State::Ended => Err(EngineError::Request("the training run has ended".to_owned())),
        }
    }

    /// Writes a checkpoint, if steps have begun.
    ///
    /// # Errors
    /// As [`Trainer::save`].
    pub fn save(&self) -> Result<()> {
        match &self.state {
            State::Training(trainer) if !self.is_tried() => trainer.save(&self.task.folder.join(CHECKPOINT)),
            _ => Ok(()),
        }
    }

    /// Whether steps have been made that are to be undone.
    fn is_tried(&self) -> bool {
        matches!(self.milestones.due.front(), Some(DueAction::Try(_)))
    }

    fn ready(&mut self, pipeline: &mut Pipeline) -> Result<UnitOutcome> {
        let State::Preparing { preparation, .. } = std::mem::replace(&mut self.state, State::Ended) else {
            return Err(EngineError::Request("the training run has already started".to_owned()));
        };
        let data = preparation.finish()?;
        let (instances, held_out) = (data.instances.len(), data.held_out.len());
        let truncated = data.instances.iter().filter(|example| example.truncated).count();
        let mut trainer = pipeline.trainer(self.task.config.clone(), data)?;
        let checkpoint = self.task.folder.join(CHECKPOINT);
        if checkpoint.is_file() {
            trainer.load(&checkpoint)?;
        } else if let Some(parent) = &self.task.continue_from
            && let Some(warning) = trainer.begin_with(&Adapter::read(&parent.path)?)?
        {
            tracing::warn!(adapter = parent.id, "{warning}");
            self.warnings.push(format!("{}: {warning}", parent.id));
        }
        let step = trainer.steps_done();
        self.milestones.forget_after(step);
        if !self.task.known.forecast && !trainer.finished() {
            self.milestones.due.push_back(DueAction::Try(ResourceProbe::default()));
        }
        self.plan_at(&trainer, false);
        self.state = State::Training(Box::new(trainer));
        Ok(UnitOutcome::Ready {
            step,
            instances: small(instances),
            held_out: small(held_out),
            truncated: small(truncated),
        })
    }

    fn plan_at(&mut self, trainer: &Trainer, fresh: bool) {
        let changed = self.task.continue_from.is_some();
        self.milestones.at(
            trainer.steps_done(),
            trainer.config(),
            trainer.begin_held_out_loss(),
            fresh,
            changed,
        );
    }

    fn train(&mut self, pipeline: &mut Pipeline, interrupted: &dyn Fn() -> bool) -> Result<UnitOutcome> {
        let State::Training(mut trainer) = std::mem::replace(&mut self.state, State::Ended) else {
            return Err(EngineError::Request("the training run has not started".to_owned()));
        };
        let update = match self.milestones.due.pop_front() {
            Some(due) => self.due(due, pipeline, &mut trainer, interrupted)?,
            None if trainer.finished() => return self.finish(pipeline, &trainer),
            None => self.step(&mut trainer)?,
        };
        self.state = State::Training(trainer);
        Ok(update)
    }

    fn step(&mut self, trainer: &mut Trainer) -> Result<UnitOutcome> {
        let halved = trainer.halved();
        let micro = trainer.micro_step()?;
        let step = trainer.steps_done();
        if trainer.halved() && !halved {
            self.milestones.forget_after(step);
            self.plan_at(trainer, false);
            return Ok(UnitOutcome::Rewound { step });
        }
        let Some(update) = micro.optimizer_step else { return Ok(UnitOutcome::Step) };
        self.plan_at(trainer, true);
        Ok(UnitOutcome::Updated(TrainingPoint {
            step,
            loss: Some(update.loss),
            learning_rate: Some(update.learning_rate),
            gradient_norm: Some(update.gradient_norm),
            ..TrainingPoint::default()
        }))
    }

    fn due(
        &mut self,
        due: DueAction,
        pipeline: &mut Pipeline,
        trainer: &mut Trainer,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<UnitOutcome> {
        let step = trainer.steps_done();
        match due {
            DueAction::Try(mut probe) => {
                let Some(forecast) = probe.step(trainer)? else {
                    self.milestones.due.push_front(DueAction::Try(probe));
                    return Ok(UnitOutcome::Step);
                };
                match probe.refusal() {
                    Some(why) => Err(EngineError::Request(why)),
                    None => Ok(UnitOutcome::Forecast(forecast)),
                }
            }
            DueAction::Save => {
                trainer.save(&self.task.folder.join(CHECKPOINT))?;
                // What can be resumed matters more than what can be looked at.
                if let Err(error) = output::write_step(trainer, &self.outcome(pipeline, trainer)) {
                    tracing::warn!(%error, "the adapter of a checkpoint was not written");
                }
                Ok(UnitOutcome::Saved { step })
            }
            DueAction::Measure(mut measurement) => {
                trainer.advance_held_out_loss(&mut measurement)?;
                if let Some(loss) = measurement.loss() {
                    self.milestones.measured(step, loss);
                    return Ok(UnitOutcome::HeldOut { step, loss });
                }
                let (done, total) = (small(measurement.done()), small(measurement.total()));
                self.milestones.due.push_front(DueAction::Measure(measurement));
                Ok(UnitOutcome::Measuring { done, total })
            }
            DueAction::Sample { prompt, with_adapter } => {
                let made = self.sample(pipeline, trainer, prompt, with_adapter, interrupted);
                match made {
                    Ok(update) => {
                        self.milestones.sampled(step, prompt, with_adapter);
                        Ok(update)
                    }
                    Err(EngineError::Cancelled) => {
                        self.milestones.due.push_front(DueAction::Sample { prompt, with_adapter });
                        Ok(UnitOutcome::PutOff)
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// The same prompt with the same seed each time.
    fn sample(
        &self,
        pipeline: &mut Pipeline,
        trainer: &Trainer,
        prompt_index: u32,
        with_adapter: bool,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<UnitOutcome> {
        let prompt = self.task.config.sample_prompts.get(prompt_index as usize);
        let spec =
            plain_spec(pipeline, "sample prompt", prompt.map_or("", String::as_str), prompt_index.into())?;
        if interrupted() {
            return Err(EngineError::Cancelled);
        }
        // What somebody's last image had in effect has no part in it.
        pipeline.set_adapters(&[])?;
        let mut on_step = |_| if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let output = if with_adapter {
            pipeline.sample(trainer.parameters(), &spec, &mut on_step)?
        } else {
            pipeline.generate(&spec, &mut on_step)?
        };
        let (step, pixels) = (trainer.steps_done(), pixels(output.image));
        Ok(UnitOutcome::Sample { step, prompt_index, with_adapter, pixels })
    }

    fn outcome<'a>(&'a self, pipeline: &'a Pipeline, trainer: &Trainer) -> Outcome<'a> {
        Outcome {
            task: &self.task,
            model: pipeline.info(),
            held_out: self.milestones.held_out(),
            parameters: trainer.parameters().count(),
            seconds: self.begun.elapsed().as_secs_f64(),
        }
    }

    fn finish(&mut self, pipeline: &Pipeline, trainer: &Trainer) -> Result<UnitOutcome> {
        let written = output::write(trainer, &self.outcome(pipeline, trainer))?;
        self.written = written;
        let missing = || EngineError::Request("no adapter was written".to_owned());
        let adapter = self.written.first().cloned().ok_or_else(missing)?;
        Ok(UnitOutcome::Finished { adapter })
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
