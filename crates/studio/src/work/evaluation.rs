//! Evaluations: a job whose units are images to render and images to score. What a step has made is stored before the next
//! one begins; images are kept by their recipe, so a run that is taken up again, or another evaluation, renders none twice.

use std::{sync::Arc, time::Instant};

use adire_protocol::{
    AdapterUse, EvaluationImage, EvaluationRole, EvaluationStep, EvaluationStepName, EvaluationVerdict,
    GenerationRequest, GenerationSpec, PromotionRequest, StepState, VerdictOutcome,
};
use sha2::{Digest, Sha256};

use super::Progressed;
use crate::{
    AdapterFile, BackendError, FeatureRequest, JudgeInfo, RenderRequest, Rendered, StudioError,
    dataset::text_of,
    evaluation::{
        evidence::{self, Facts, Found},
        gate,
        plan::{CAPTIONS, Plan, Slot, Subjects},
        policy::Policy,
        steps::{self, Inputs},
        suite::Suite,
    },
    job::{Claimed, MAX_ATTEMPTS},
    png::encode_bare,
    queue::{Hold, Stop},
    read_pixels,
    registry::{Mover, Registry},
    shared::Shared,
    store::{EvaluationRow, NewImage},
    tasks::blocking,
    time::now,
    worker::RenderEvent,
};

/// Images that the judge sees in one unit.
const UNIT: usize = 4;
/// Images that are found rather than rendered in one unit.
const FOUND: usize = 32;
/// Training images that copying is tested against.
const MAX_TRAINING: usize = 200;

/// An evaluation that this node runs.
pub(crate) struct EvaluationRun {
    pub(crate) hold: Arc<Hold>,
    row: EvaluationRow,
    policy: Policy,
    suite: Suite,
    prepared: Option<Prepared>,
    at: At,
    /// Slots that are done, from the first on.
    next: usize,
    /// Blocks that are scored.
    block: usize,
    /// Of each slot its image; `None`: it could not be rendered.
    images: Vec<Option<EvaluationImage>>,
    found: Found,
    scored: Option<evidence::Scored>,
    stopped_early: Option<String>,
    verdict: Option<EvaluationVerdict>,
    render: Counts,
    step: Option<(EvaluationStep, Instant)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Prepare,
    Render,
    Score,
    Verdict,
    Promote,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    rendered: u32,
    found: u32,
    failed: u32,
}

/// What `prepare` has found out.
struct Prepared {
    plan: Plan,
    judge: JudgeInfo,
    revisions: Vec<(&'static str, u32)>,
    challenger: AdapterFile,
    champion: Option<AdapterFile>,
    facts: Facts,
    /// sha256 of the plan.
    plan_hash: String,
    dataset_hash: String,
}

impl EvaluationRun {
    /// Takes on an evaluation that has been claimed.
    pub(super) async fn begin(shared: &Shared, claimed: Claimed) -> Result<Self, (Arc<Hold>, Stop)> {
        let hold = shared.work.hold(&claimed);
        match Self::read(shared, hold.clone()).await {
            Ok(_) if claimed.attempts > MAX_ATTEMPTS => Err((
                hold,
                Stop::Failed(format!(
                    "The server crashed {MAX_ATTEMPTS} times during this evaluation, so it is not restarted \
                     automatically. It may need more memory than is available."
                )),
            )),
            Ok(run) => {
                tracing::info!(evaluation = run.row.id, version = run.row.id_of_version(), "started");
                Ok(run)
            }
            Err(error) => Err((hold, error.into())),
        }
    }

    async fn read(shared: &Shared, hold: Arc<Hold>) -> Result<Self, StudioError> {
        let id = hold.lease.job.clone();
        let missing = || StudioError::NotFound { what: "evaluation", id: id.chars().take(80).collect() };
        let row = shared.store.evaluation(&id).await?.ok_or_else(missing)?;
        if row.base != shared.model.hash {
            return Err(StudioError::Conflict(
                "The evaluation was requested for another base model than the loaded one. Evaluate the version again."
                    .to_owned(),
            ));
        }
        let policy = Policy::parse(&row.policy).map_err(|error| StudioError::Storage(error.to_string()))?;
        let suite = row.suite()?;
        Ok(Self {
            hold,
            row,
            policy,
            suite,
            prepared: None,
            at: At::Prepare,
            next: 0,
            block: 0,
            images: Vec::new(),
            found: Found::default(),
            scored: None,
            stopped_early: None,
            verdict: None,
            render: Counts::default(),
            step: None,
        })
    }

    /// Does its next unit.
    pub(super) async fn unit(&mut self, shared: &Arc<Shared>) -> Result<Progressed, Stop> {
        if let Some(stop) = self.hold.stopped() {
            return Err(stop);
        }
        let progressed = match self.at {
            At::Prepare => self.prepare(shared).await?,
            At::Render => self.render(shared).await?,
            At::Score => self.score(shared).await?,
            At::Verdict => self.decide(shared).await?,
            At::Promote => self.promote(shared).await?,
        };
        shared.work.notify(&self.row.id);
        Ok(progressed)
    }

    async fn prepare(&mut self, shared: &Shared) -> Result<Progressed, Stop> {
        let judge = shared.worker.judge().await??;
        let revisions = shared.worker.metric_revisions().await??;
        let subject = Subject::read(shared, &self.row).await?;
        let plan = Plan::new(&Subjects {
            suite: &self.suite,
            trigger: &subject.trigger,
            champion: subject.champion.as_ref().map(|(_, trigger)| trigger.as_str()),
            captions: &subject.captions,
        });
        let mut warnings: Vec<String> = self.suite.warning().into_iter().collect();
        warnings.extend(subject.warnings.iter().cloned());
        let model = &shared.model;
        let mut inputs: Inputs = [
            ("version", self.row.hash.clone()),
            ("champion", self.row.champion_hash.clone().unwrap_or_default()),
            ("base_model", model.hash.clone()),
            ("suite", self.suite.hash()),
            ("dataset", subject.dataset_hash.clone()),
            ("device", model.device.clone()),
            ("precision", model.dtype.clone()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        inputs.insert("held_out_images".to_owned(), subject.held_out.join(" ").to_string());
        self.begin_step(shared, EvaluationStepName::Prepare, inputs).await?;
        let slots: Vec<_> =
            plan.slots.iter().map(|slot| (slot.role.name(), slot.prompt, slot.seed, &slot.text)).collect();
        let text = serde_json::json!(slots).to_string();
        let plan_hash = steps::digest(&text);
        let images = u32::try_from(plan.slots.len()).unwrap_or(u32::MAX);
        shared.store.plan_evaluation(&self.hold.lease, &judge.name, images, &warnings).await?;
        let log = vec![
            format!("{images} images, judge {}.", judge.name),
            format!(
                "{} training and {} held-out images of the dataset.",
                subject.training.len(),
                subject.held_out.len()
            ),
        ];
        self.end_step(shared, StepState::Done, plan_hash.clone(), log).await?;
        let Subject {
            challenger, champion, dataset, training, held_out, applied_layers, dataset_hash, ..
        } = subject;
        let facts = Facts { applied_layers, dataset, training, held_out };
        let champion = champion.map(|(file, _)| file);
        self.images = Vec::with_capacity(plan.slots.len());
        self.prepared =
            Some(Prepared { plan, judge, revisions, challenger, champion, facts, plan_hash, dataset_hash });
        self.at = At::Render;
        Ok(Progressed::More)
    }

    /// Finds or renders images up to the end of the block; at most one is rendered.
    async fn render(&mut self, shared: &Arc<Shared>) -> Result<Progressed, Stop> {
        let prepared = self.prepared()?;
        let end = prepared.plan.blocks.get(self.block).copied().unwrap_or(prepared.plan.slots.len());
        if self.next == 0 && self.step.is_none() {
            let plan_hash = prepared.plan_hash.clone();
            let inputs = [("plan".to_owned(), plan_hash)].into_iter().collect::<Inputs>();
            let before = self.before(shared, EvaluationStepName::Prepare).await?;
            let mut inputs = inputs;
            // Differences are named by the plan's own inputs.
            if let Some(step) = before {
                inputs.extend(step.inputs);
            }
            self.begin_step(shared, EvaluationStepName::Render, inputs).await?;
        }
        for _ in 0..FOUND {
            if self.next >= end {
                self.at = At::Score;
                return Ok(Progressed::More);
            }
            let prepared = self.prepared()?;
            let slot = prepared.plan.slots[self.next].clone();
            let request = self.request(shared, &slot)?;
            let recipe = recipe(shared, &request);
            let again = self.row.request()?.rerun == Some(EvaluationStepName::Render);
            let known = if again { None } else { shared.store.rendered(&recipe).await? };
            let known = match known {
                // A file that is gone or damaged is rendered again.
                Some((hash, seconds)) if shared.blobs.is_sound(&hash).await? => Some((hash, seconds)),
                _ => None,
            };
            let rendered_now = known.is_none();
            let image = match known {
                Some((hash, seconds)) => {
                    self.render.found += 1;
                    Some((hash, seconds))
                }
                None => match self.render_one(shared, request).await? {
                    Ok((hash, seconds)) => {
                        self.render.rendered += 1;
                        Some((hash, seconds))
                    }
                    Err(message) => {
                        tracing::warn!(evaluation = self.row.id, message, "an image failed");
                        self.render.failed += 1;
                        None
                    }
                },
            };
            if let Some((hash, seconds)) = &image {
                let new = NewImage {
                    role: slot.role,
                    prompt: slot.prompt,
                    seed: slot.seed,
                    text: slot.text.clone(),
                    recipe,
                    hash: hash.clone(),
                    seconds: *seconds,
                };
                shared.store.save_evaluation_image(&self.hold.lease, &new).await?;
            }
            self.images.push(image.map(|(hash, seconds)| EvaluationImage {
                role: slot.role,
                prompt: slot.prompt,
                text: slot.text,
                seed: slot.seed,
                url: String::new(),
                hash,
                seconds,
                clip_score: None,
                style_margin: None,
            }));
            self.next += 1;
            if rendered_now {
                break;
            }
        }
        Ok(Progressed::More)
    }

    fn request(&self, shared: &Shared, slot: &Slot) -> Result<RenderRequest, Stop> {
        let prepared = self.prepared()?;
        let file = match slot.role {
            EvaluationRole::Base | EvaluationRole::BaseCaption => None,
            EvaluationRole::Champion => prepared.champion.clone(),
            EvaluationRole::Challenger | EvaluationRole::Untriggered | EvaluationRole::Caption => {
                Some(prepared.challenger.clone())
            }
        };
        let uses = file.iter().map(|file| AdapterUse {
            name: file.id.clone(),
            strength: 1.0,
            te_strength: None,
            in_prompt: false,
        });
        let request = GenerationRequest {
            prompt: slot.text.clone(),
            seed: Some(slot.seed),
            adapters: uses.collect(),
            ..GenerationRequest::default()
        };
        let spec =
            request.validate(&shared.model.limits, &shared.model.defaults, slot.seed).map_err(|error| {
                Stop::Failed(format!("The prompt “{}” cannot be rendered: {error}", slot.text))
            })?;
        Ok(RenderRequest { spec, adapters: file.into_iter().collect(), embeddings: Vec::new(), init: None })
    }

    /// The image's hash and seconds, or why there is none.
    async fn render_one(
        &self,
        shared: &Shared,
        request: RenderRequest,
    ) -> Result<Result<(String, f64), String>, Stop> {
        let mut updates = shared.worker.render(request, self.hold.stop.clone())?;
        let mut ended = None;
        while let Some(update) = updates.recv().await {
            if let RenderEvent::Ended(result, _) = update {
                ended = Some(result);
                break;
            }
        }
        match ended {
            Some(Ok(Rendered { pixels, seconds, .. })) => {
                let png = blocking(move || encode_bare(&pixels)).await?;
                let _keeping = shared.blobs.keeping().await;
                let hash = shared.blobs.put(png).await?;
                Ok(Ok((hash, if seconds.is_finite() { seconds } else { 0.0 })))
            }
            Some(Err(BackendError::Failed(message))) => Ok(Err(message)),
            Some(Err(BackendError::Cancelled)) => Err(self.hold.stopped().unwrap_or(Stop::Closing)),
            None => Err(Stop::Failed("The worker thread has stopped. Restart the server.".to_owned())),
        }
    }

    /// Has the judge see a few images; once it has seen all of the block, computes metrics.
    async fn score(&mut self, shared: &Arc<Shared>) -> Result<Progressed, Stop> {
        let last = self.next >= self.prepared()?.plan.slots.len();
        if last && self.step.as_ref().is_some_and(|(step, _)| step.name == EvaluationStepName::Render) {
            self.end_render(shared).await?;
        }
        if self.see(shared, last).await? {
            return Ok(Progressed::More);
        }
        let prepared = self.prepared()?;
        let images: Vec<EvaluationImage> = self.images.iter().flatten().cloned().collect();
        let request = evidence::request(&prepared.facts, &images, &self.suite, &self.found, last);
        let measured = shared.worker.measure(request).await??;
        let scored = evidence::Scored::new(images, measured);
        let evidence = self.evidence(&scored)?;
        self.block += 1;
        if !last {
            match gate::futile(&evidence, &self.policy) {
                None => {
                    self.at = At::Render;
                    return Ok(Progressed::More);
                }
                Some(criterion) => {
                    let (done, all) = (self.block * gate::BLOCK, self.suite.prompts.len());
                    self.stopped_early =
                        Some(format!("Stopped after {done} of {all} prompts: {}", criterion.reason));
                    self.end_render(shared).await?;
                }
            }
        }
        let prepared = self.prepared()?;
        let (images, dataset) = (scored.digest(), prepared.dataset_hash.clone());
        let judge = format!("{} revision {}", prepared.judge.hash, prepared.judge.revision);
        let metrics: Vec<String> =
            prepared.revisions.iter().map(|(name, revision)| format!("{name} {revision}")).collect();
        let inputs: Inputs =
            [("images", images), ("judge", judge), ("metrics", metrics.join(", ")), ("dataset", dataset)]
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
        self.begin_step(shared, EvaluationStepName::Score, inputs).await?;
        shared.store.save_scores(&self.hold.lease, &scored.rows()).await?;
        let log = vec![format!(
            "{} images and {} training images seen.",
            scored.images.len(),
            self.found.maps.len()
        )];
        let output = scored.output();
        self.end_step(shared, StepState::Done, steps::digest(&output), log).await?;
        self.scored = Some(scored);
        self.at = At::Verdict;
        Ok(Progressed::More)
    }

    async fn end_render(&mut self, shared: &Shared) -> Result<(), Stop> {
        let Counts { rendered, found, failed } = self.render;
        let hashes: Vec<&str> = self.images.iter().flatten().map(|image| image.hash.as_str()).collect();
        let state = if rendered == 0 && failed == 0 { StepState::Reused } else { StepState::Done };
        let log = vec![format!(
            "{rendered} images rendered, {found} taken from earlier evaluations, {failed} failed."
        )];
        self.end_step(shared, state, steps::digest(&hashes.join(" ")), log).await
    }

    /// Shows the judge what it has not seen; whether there was something.
    async fn see(&mut self, shared: &Shared, last: bool) -> Result<bool, Stop> {
        let texts: Vec<String> = self
            .suite
            .prompts
            .iter()
            .map(|prompt| self.suite.score_text(prompt))
            .filter(|text| !self.found.texts.contains_key(text))
            .collect();
        if !texts.is_empty() {
            let request = FeatureRequest { texts: texts.clone(), ..FeatureRequest::default() };
            let seen = shared.worker.features(request).await??;
            self.found.texts.extend(texts.into_iter().zip(seen.texts));
            return Ok(true);
        }
        let prepared = self.prepared()?;
        let mut wanted: Vec<(String, bool)> = Vec::new();
        for image in self.images.iter().flatten() {
            let maps = matches!(image.role, EvaluationRole::Caption | EvaluationRole::BaseCaption);
            if !self.found.images.contains_key(&image.hash)
                || (maps && !self.found.maps.contains_key(&image.hash))
            {
                wanted.push((image.hash.clone(), maps));
            }
        }
        // Held-out images first: the style needs them after the first block.
        let held_out = prepared.facts.held_out.iter();
        let training = prepared.facts.training.iter().filter(|_| last);
        for hash in held_out.chain(training) {
            if !self.found.maps.contains_key(hash) {
                wanted.push((hash.clone(), true));
            }
        }
        wanted.dedup();
        wanted.truncate(UNIT);
        if wanted.is_empty() {
            return Ok(false);
        }
        let maps = wanted.iter().any(|(_, maps)| *maps);
        let hashes: Vec<String> = wanted.into_iter().map(|(hash, _)| hash).collect();
        let files = shared.blobs.locals(hashes.clone()).await;
        let mut paths = Vec::with_capacity(files.len());
        for (file, hash) in files.into_iter().zip(&hashes) {
            let missing = || {
                StudioError::Storage(format!(
                    "The file of image {hash} is missing; restore it from a backup."
                ))
            };
            paths.push(file?.ok_or_else(missing)?);
        }
        let images =
            blocking(move || paths.iter().map(|path| read_pixels(path)).collect::<Result<Vec<_>, _>>())
                .await?;
        for (hash, pixels) in hashes.iter().zip(&images) {
            self.found.flat.insert(hash.clone(), evidence::is_flat(&pixels.rgb));
        }
        let seen = shared.worker.features(FeatureRequest { images, texts: Vec::new(), maps }).await??;
        let expected = if maps { hashes.len() } else { 0 };
        if seen.images.len() != hashes.len() || seen.maps.len() != expected {
            return Err(Stop::Failed("The judge returned too few features.".to_owned()));
        }
        self.found.maps.extend(hashes.iter().cloned().zip(seen.maps));
        self.found.styles.extend(hashes.iter().cloned().zip(seen.styles));
        self.found.images.extend(hashes.into_iter().zip(seen.images));
        Ok(true)
    }

    fn evidence(&self, scored: &evidence::Scored) -> Result<gate::Evidence, Stop> {
        let prepared = self.prepared()?;
        Ok(evidence::of(
            scored,
            &prepared.facts,
            &self.found,
            evidence::About {
                champion: self.row.id_of_champion(),
                judge: prepared.judge.name.clone(),
                failed: self.render.failed as usize,
            },
        ))
    }

    async fn decide(&mut self, shared: &Shared) -> Result<Progressed, Stop> {
        let Some(scored) = self.scored.take() else { return Err(lost()) };
        let mut inputs = Inputs::new();
        inputs.insert("scores".to_owned(), steps::digest(&scored.output()));
        inputs.insert("gate".to_owned(), self.policy.hash());
        self.begin_step(shared, EvaluationStepName::Verdict, inputs).await?;
        let evidence = self.evidence(&scored)?;
        let verdict = gate::judge(&evidence, &self.policy);
        let prepared = self.prepared()?;
        let verdict = evidence::verdict(
            verdict,
            &scored,
            &prepared.facts,
            self.stopped_early.clone(),
            self.policy.hash(),
        );
        shared.store.save_verdict(&self.hold.lease, &self.row, &verdict, now()).await?;
        let log = verdict.criteria.iter().map(|criterion| criterion.reason.clone()).collect();
        let output = serde_json::to_string(&verdict).map_err(|error| Stop::Failed(error.to_string()))?;
        self.end_step(shared, StepState::Done, steps::digest(&output), log).await?;
        tracing::info!(
            evaluation = self.row.id,
            version = self.row.id_of_version(),
            outcome = verdict.outcome.word(),
            "verdict"
        );
        let promote = self.row.request()?.promote && verdict.outcome == VerdictOutcome::Pass;
        self.verdict = Some(verdict);
        self.at = At::Promote;
        Ok(if promote { Progressed::More } else { Progressed::Done })
    }

    async fn promote(&mut self, shared: &Arc<Shared>) -> Result<Progressed, Stop> {
        let id = self.row.id_of_version();
        let inputs: Inputs = [("version".to_owned(), self.row.hash.clone())].into_iter().collect();
        self.begin_step(shared, EvaluationStepName::Promote, inputs).await?;
        let registry = Registry { store: shared.store.clone(), blobs: shared.blobs.clone(), by: Mover::Gate };
        // A run that is taken up again after the move finds it made.
        let book = shared.store.book(&self.row.name).await?;
        let line = if book.production() == Some(self.row.version()) {
            format!("{id} is in production.")
        } else {
            let reason = format!("Passed evaluation {}.", self.row.id);
            let made = registry.promote(&id, PromotionRequest { reason, force: false }).await?;
            format!("{id} is in production by move {} of the ledger.", made.number)
        };
        self.end_step(shared, StepState::Done, steps::digest(&line), vec![line.clone()]).await?;
        Ok(Progressed::Done)
    }

    async fn before(
        &self,
        shared: &Shared,
        name: EvaluationStepName,
    ) -> Result<Option<EvaluationStep>, StudioError> {
        let own = shared.store.steps(&self.row.id).await?;
        Ok(own.into_iter().find(|step| step.name == name))
    }

    async fn begin_step(
        &mut self,
        shared: &Shared,
        name: EvaluationStepName,
        inputs: Inputs,
    ) -> Result<(), Stop> {
        let before = shared.store.step_before(&self.row.id, &self.row.name, name).await?;
        let mut step = steps::begun(name, inputs, before.as_ref());
        if self.row.request()?.rerun == Some(name) {
            "It was requested to run again.".clone_into(&mut step.why);
        }
        if let Some(key) = &step.key {
            step.reused_from = shared.store.earlier_step(&self.row.id, name, key).await?;
        }
        shared.store.save_step(&self.hold.lease, &step, None, false).await?;
        self.step = Some((step, Instant::now()));
        Ok(())
    }

    async fn end_step(
        &mut self,
        shared: &Shared,
        state: StepState,
        outputs: String,
        log: Vec<String>,
    ) -> Result<(), Stop> {
        let Some((mut step, since)) = self.step.take() else { return Ok(()) };
        step.state = state;
        if state != StepState::Reused {
            step.reused_from = None;
        }
        step.outputs = Some(outputs);
        step.seconds = Some(since.elapsed().as_secs_f64());
        step.log = log;
        Ok(shared.store.save_step(&self.hold.lease, &step, None, true).await?)
    }

    fn prepared(&self) -> Result<&Prepared, Stop> {
        self.prepared.as_ref().ok_or_else(lost)
    }
}

fn lost() -> Stop {
    Stop::Failed("The evaluation's steps ran out of order; please report it.".to_owned())
}

/// sha256 of everything that an image depends on.
fn recipe(shared: &Shared, request: &RenderRequest) -> String {
    let hashes: Vec<&str> = request.adapters.iter().map(|file| file.hash.as_str()).collect();
    // The names of adapters do not matter, their content does.
    let spec = GenerationSpec { adapters: Vec::new(), ..request.spec.clone() };
    let model = &shared.model;
    let revision = steps::revision(EvaluationStepName::Render);
    let vae = model.vae.as_ref().map(|vae| &vae.hash);
    let content = serde_json::json!([revision, model.hash, vae, model.device, model.dtype, spec, hashes]);
    hex::encode(Sha256::digest(content.to_string()))
}

/// What is evaluated, and the dataset behind it.
struct Subject {
    challenger: AdapterFile,
    trigger: String,
    champion: Option<(AdapterFile, String)>,
    captions: Vec<String>,
    /// Id of the dataset.
    dataset: String,
    /// Hashes; those of `captions` first.
    training: Vec<String>,
    held_out: Vec<String>,
    applied_layers: Option<usize>,
    dataset_hash: String,
    warnings: Vec<String>,
}

impl Subject {
    async fn read(shared: &Shared, row: &EvaluationRow) -> Result<Self, StudioError> {
        let (challenger, trigger) = file(shared, &row.id_of_version(), &row.hash).await?;
        let champion = match row.id_of_champion().zip(row.champion_hash.as_deref()) {
            Some((id, hash)) => Some(file(shared, &id, hash).await?),
            None => None,
        };
        let receipt = shared.store.receipt(&row.hash, &shared.model.hash).await?;
        let mut subject = Self {
            challenger,
            trigger,
            champion,
            captions: Vec::new(),
            dataset: String::new(),
            training: Vec::new(),
            held_out: Vec::new(),
            applied_layers: receipt.map(|receipt| receipt.applied.len()),
            dataset_hash: String::new(),
            warnings: Vec::new(),
        };
        let Some(run) = shared.store.run_of_version(&row.id_of_version()).await? else {
            subject.warnings.push(
                "No training run of this studio made the version, so style and copying cannot be tested."
                    .to_owned(),
            );
            return Ok(subject);
        };
        let request = run.request()?;
        subject.dataset_hash.clone_from(&run.dataset_hash);
        let dataset = match shared.datasets.row(&request.dataset).await {
            Ok(dataset) => dataset,
            Err(StudioError::NotFound { .. }) => {
                subject.warnings.push(
                    "The dataset of the version was deleted, so style and copying cannot be tested."
                        .to_owned(),
                );
                return Ok(subject);
            }
            Err(error) => return Err(error),
        };
        let images = shared.datasets.images(&request.dataset).await?;
        subject.dataset.clone_from(&request.dataset);
        let repeats = images.iter().map(crate::store::DatasetImageRow::repeats).collect();
        let held_out = shared.worker.held_out(repeats, request.config).await?.map_err(failed)?;
        let limits = (&shared.model.limits, &shared.model.defaults);
        let (mut captioned, mut others) = (Vec::new(), Vec::new());
        for (at, image) in images.into_iter().enumerate() {
            if held_out.contains(&at) {
                subject.held_out.push(image.hash);
                continue;
            }
            let caption = text_of(&image.caption, &dataset.caption, &dataset.trigger_word);
            let prompt = GenerationRequest { prompt: caption.clone(), ..GenerationRequest::default() };
            let usable = !caption.trim().is_empty() && prompt.validate(limits.0, limits.1, 0).is_ok();
            if usable && captioned.len() < CAPTIONS {
                captioned.push((image.hash, caption));
            } else {
                others.push(image.hash);
            }
        }
        (subject.training, subject.captions) = captioned.into_iter().unzip();
        subject.training.extend(others);
        subject.training.truncate(MAX_TRAINING);
        if subject.held_out.is_empty() {
            subject.warnings.push(
                "The training run held out no images, so style cannot be tested. Hold out at least 4."
                    .to_owned(),
            );
        }
        Ok(subject)
    }
}

/// The file of a version, at strength 1, and its trigger word.
async fn file(shared: &Shared, id: &str, hash: &str) -> Result<(AdapterFile, String), StudioError> {
    let known = shared.store.all_adapters().await?;
    let listed = known.into_iter().find(|listed| listed.version.id() == id && listed.deleted_at.is_none());
    let version = listed
        .map(|listed| listed.version)
        .filter(|version| version.hash == hash)
        .ok_or_else(|| StudioError::Adapter(format!("{id} was deleted while the evaluation was queued.")))?;
    let path = crate::adapters::local(&shared.blobs, &version).await?;
    let (id, hash) = (version.id(), version.hash.clone());
    Ok((AdapterFile { id, hash, path, strength: 1.0, te_strength: 1.0 }, version.trigger))
}

fn failed(error: BackendError) -> StudioError {
    match error {
        BackendError::Failed(text) => StudioError::Backend(text),
        BackendError::Cancelled => StudioError::ShuttingDown,
    }
}
