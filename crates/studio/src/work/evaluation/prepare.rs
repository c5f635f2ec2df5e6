//! Preparing: what is evaluated, the dataset behind it, and which images that takes.

use adire_protocol::{EvaluationStepName, GenerationRequest, StepState};

use super::{At, EvaluationRun};
use crate::{
    AdapterFile, JudgeInfo, StudioError,
    dataset::text_of,
    evaluation::{
        evidence::Facts,
        plan::{CAPTIONS, Plan, Subjects},
        steps::Inputs,
    },
    queue::Stop,
    shared::Shared,
    store::EvaluationRow,
    work::Progressed,
};

/// Training images that copying is tested against.
const MAX_TRAINING: usize = 200;

/// What `prepare` has found out.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) judge: JudgeInfo,
    pub(super) revisions: Vec<(&'static str, u32)>,
    pub(super) challenger: AdapterFile,
    pub(super) champion: Option<AdapterFile>,
    pub(super) facts: Facts,
    /// sha256 of the plan.
    pub(super) plan_hash: String,
    pub(super) dataset_hash: String,
}

impl EvaluationRun {
    pub(super) async fn prepare(&mut self, shared: &Shared) -> Result<Progressed, Stop> {
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
        let plan_hash = plan.digest();
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
        let held_out = shared.worker.held_out(repeats, request.config).await??;
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
