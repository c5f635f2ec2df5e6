//! What is evaluated: the files of a version and of its champion, and the dataset whose style is wanted.

use adire_protocol::{GenerationRequest, TrainingConfig};

use crate::{
    AdapterFile, StudioError, adapters,
    dataset::{content_hash, text_of},
    evaluation::{gate::Lacks, plan::CAPTIONS},
    shared::Shared,
    store::{DatasetImageRow, EvaluationRow},
};

/// Training images that copying is tested against.
const MAX_TRAINING: usize = 200;

pub(super) struct Subject {
    pub(super) challenger: AdapterFile,
    pub(super) trigger: String,
    pub(super) champion: Option<(AdapterFile, String)>,
    pub(super) captions: Vec<String>,
    /// Id of the dataset.
    pub(super) dataset: String,
    /// Hashes; those of `captions` first.
    pub(super) training: Vec<String>,
    pub(super) held_out: Vec<String>,
    pub(super) applied_layers: Option<usize>,
    pub(super) dataset_hash: String,
    pub(super) lacks: Lacks,
    pub(super) warnings: Vec<String>,
}

/// Where the style comes from.
struct Source {
    dataset: String,
    /// Settings of the run that held images out; the defaults where no run did.
    config: TrainingConfig,
}

impl Subject {
    pub(super) async fn read(shared: &Shared, row: &EvaluationRow) -> Result<Self, StudioError> {
        let (challenger, trigger) = file(shared, &row.id_of_version(), &row.hash).await?;
        let champion = match row.id_of_champion().zip(row.champion_hash.as_deref()) {
            Some((id, hash)) => Some(file(shared, &id, hash).await?),
            None => None,
        };
        let receipt = adapters::receipt(shared, &challenger).await?;
        let mut subject = Self {
            challenger,
            trigger,
            champion,
            captions: Vec::new(),
            dataset: String::new(),
            training: Vec::new(),
            held_out: Vec::new(),
            applied_layers: Some(receipt.applied.len()),
            dataset_hash: String::new(),
            lacks: Lacks::default(),
            warnings: receipt
                .warning
                .map(|warning| format!("{}: {warning}", row.id_of_version()))
                .into_iter()
                .collect(),
        };
        match subject.source(shared, row).await? {
            Some(source) => subject.read_dataset(shared, source).await?,
            None => subject.lack(
                "The version was not trained by this studio and no dataset was named, so style and copying cannot be \
                 tested.",
            ),
        }
        Ok(subject)
    }

    /// The version's own dataset; else the one that the request names; else the champion's.
    async fn source(&mut self, shared: &Shared, row: &EvaluationRow) -> Result<Option<Source>, StudioError> {
        if let Some(run) = shared.store.run_of_version(&row.id_of_version()).await? {
            let request = run.request()?;
            return Ok(Some(Source { dataset: request.dataset, config: request.config }));
        }
        let of_champion = match row.id_of_champion() {
            Some(id) => shared.store.run_of_version(&id).await?.map(|run| run.request()).transpose()?,
            None => None,
        };
        let named = row.request()?.dataset;
        let source = match (named, of_champion) {
            (Some(dataset), Some(request)) if request.dataset != dataset => {
                Source { dataset, config: TrainingConfig::default() }
            }
            (Some(dataset), None) => Source { dataset, config: TrainingConfig::default() },
            (_, Some(request)) => Source { dataset: request.dataset, config: request.config },
            (None, None) => return Ok(None),
        };
        self.warnings.push(
            "The version was not trained by this studio. If it was trained on the held-out images, its style margin is \
             too high."
                .to_owned(),
        );
        Ok(Some(source))
    }

    async fn read_dataset(&mut self, shared: &Shared, source: Source) -> Result<(), StudioError> {
        let dataset = match shared.datasets.row(&source.dataset).await {
            Ok(dataset) => dataset,
            Err(StudioError::NotFound { .. }) => {
                self.lack("The dataset of the version was deleted, so style and copying cannot be tested.");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let images = shared.datasets.images(&source.dataset).await?;
        self.dataset = source.dataset;
        let text = |image: &DatasetImageRow| text_of(&image.caption, &dataset.caption, &dataset.trigger_word);
        // Of a frozen dataset it is known; others may change until the next evaluation.
        self.dataset_hash = dataset.hash.clone().unwrap_or_else(|| {
            let texts: Vec<String> = images.iter().map(text).collect();
            let contents = images.iter().zip(&texts);
            content_hash(
                contents.map(|(image, text)| (image.pixels.as_str(), image.repeats(), text.as_str())),
            )
        });
        let repeats = images.iter().map(DatasetImageRow::repeats).collect();
        let held_out = shared.worker.held_out(repeats, source.config).await??;
        let limits = (&shared.model.limits, &shared.model.defaults);
        let (mut captioned, mut others) = (Vec::new(), Vec::new());
        for (at, image) in images.into_iter().enumerate() {
            if held_out.contains(&at) {
                self.held_out.push(image.hash);
                continue;
            }
            let caption = text(&image);
            let prompt = GenerationRequest { prompt: caption.clone(), ..GenerationRequest::default() };
            let usable = !caption.trim().is_empty() && prompt.validate(limits.0, limits.1, 0).is_ok();
            if usable && captioned.len() < CAPTIONS {
                captioned.push((image.hash, caption));
            } else {
                others.push(image.hash);
            }
        }
        (self.training, self.captions) = captioned.into_iter().unzip();
        self.training.extend(others);
        self.training.truncate(MAX_TRAINING);
        if self.held_out.is_empty() {
            let lacks =
                "No images of the dataset were held out, so style cannot be tested. Hold out at least 4.";
            self.warnings.push(lacks.to_owned());
            self.lacks.style = Some(lacks.to_owned());
        }
        if self.captions.is_empty() {
            let lacks = "No training image has a caption that can be rendered, so copying cannot be tested.";
            self.warnings.push(lacks.to_owned());
            self.lacks.copying = Some(lacks.to_owned());
        }
        Ok(())
    }

    /// There is no dataset.
    fn lack(&mut self, sentence: &str) {
        self.warnings.push(sentence.to_owned());
        self.lacks = Lacks { style: Some(sentence.to_owned()), copying: Some(sentence.to_owned()) };
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
    let path = adapters::local(&shared.blobs, &version).await?;
    let (id, hash) = (version.id(), version.hash.clone());
    Ok((AdapterFile { id, hash, path, strength: 1.0, te_strength: 1.0 }, version.trigger))
}
