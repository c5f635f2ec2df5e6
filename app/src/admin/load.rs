//! Loads the data of the admin pages.

use std::collections::HashMap;

use adire_protocol::{EvaluationRecord, EvaluationRole, Lineage, LineageKind, ListedVersion, Stage};
use adire_studio::{Studio, StudioError, evaluation::policy::Policy, sample_prompts};

use super::{
    compare::{Comparison, MAX_COMPARED_RUNS},
    dataset::DatasetPage,
    datasets::Datasets,
    evaluation::EvaluationPage,
    evaluations::{Evaluations, StyleDatasets},
    fields::FormInput,
    gallery::Gallery,
    gate::Gate,
    overview::Overview,
    shadow::Shadow,
    sheets::Sheets,
    training::{GONE, TrainingPage},
    training_form::{TrainingForm, like, preset_form},
    trainings::Trainings,
    version::VersionPage,
    versions::Versions,
    versions_compare::{VersionComparison, pairs},
};

/// The overview.
pub(super) async fn overview(studio: &Studio) -> Result<Overview, StudioError> {
    let mut adapters = studio.adapters().await?;
    adapters.sort_by_key(|version| std::cmp::Reverse(version.created_at));
    Ok(Overview {
        model: studio.model().clone(),
        queue: studio.queue(),
        adapters,
        datasets: studio.datasets().await?,
        trainings: studio.trainings().await?,
    })
}

/// Images of a page of the gallery.
const PAGE: u32 = 60;

/// Images of all visitors created before `before`, newest first.
pub(super) async fn gallery(
    studio: &Studio,
    before: Option<i64>,
    flash: Option<String>,
) -> Result<Gallery, StudioError> {
    let mut images = studio.gallery(PAGE + 1, before).await?;
    let more = images.len() > PAGE as usize;
    images.truncate(PAGE as usize);
    Ok(Gallery { images, more, reports: studio.open_flags().await?, flash })
}

/// Every adapter version, and where a rollback of each adapter goes.
pub(super) async fn versions(
    studio: &Studio,
    flash: Option<String>,
    new: FormInput,
) -> Result<Versions, StudioError> {
    let all = studio.versions().await?;
    let mut back = HashMap::new();
    for listed in all.iter().filter(|listed| listed.version.stage == Stage::Production) {
        let name = &listed.version.name;
        if let Some(version) = studio.ledger(name).await?.way_back.first() {
            back.insert(name.clone(), *version);
        }
    }
    let mut of_version: HashMap<String, Vec<EvaluationRecord>> = HashMap::new();
    for record in studio.evaluations(None).await? {
        of_version.entry(record.version.clone()).or_default().push(record);
    }
    let latest = of_version.into_iter().filter_map(|(id, records)| Some((id, latest(records)?)));
    let evaluations = latest.collect();
    Ok(Versions { all, back, evaluations, datasets: style_datasets(studio).await?, flash, new })
}

/// Datasets for the evaluation of uploaded versions.
async fn style_datasets(studio: &Studio) -> Result<StyleDatasets, StudioError> {
    let trained = studio.trainings().await?.into_iter().filter_map(|run| run.version).collect();
    Ok(StyleDatasets { all: named_datasets(studio).await?, trained })
}

/// Id and name of each dataset.
async fn named_datasets(studio: &Studio) -> Result<Vec<(String, String)>, StudioError> {
    Ok(studio.datasets().await?.into_iter().map(|dataset| (dataset.id, dataset.name)).collect())
}

/// One adapter version with its shadow, its lineage and the ledger of its adapter.
pub(super) async fn version(
    studio: &Studio,
    id: &str,
    at: Option<i64>,
    flash: Option<String>,
) -> Result<VersionPage, StudioError> {
    let known = studio.versions().await?;
    // An alias names the version that it stands for.
    let means = |listed: &ListedVersion| {
        let version = &listed.version;
        version.id() == id || version.aliases.iter().any(|alias| format!("{}@{alias}", version.name) == id)
    };
    let listed = known.into_iter().find(means).ok_or_else(|| StudioError::NotFound {
        what: "adapter version",
        id: id.chars().take(80).collect(),
    })?;
    let id = &listed.version.id();
    let ledger = studio.ledger(&listed.version.name).await?;
    let lineage = studio.version_lineage(id).await?;
    let shadow = Shadow {
        record: found(studio.shadow(id).await)?,
        challenger: studio.shadow_on(&listed.version.name).await?,
        production: ledger.production.is_some(),
    };
    let pushes = studio.pushes(Some(id)).await?;
    let datasets = style_datasets(studio).await?;
    let mut records = studio.evaluations(Some(&listed.version.name)).await?;
    records.retain(|record| record.version == *id);
    let images = newest_images(studio, &lineage, &records).await?;
    let evaluation = latest(records);
    let then = match at {
        Some(at) => Some(studio.production_at(&listed.version.name, at).await?),
        None => None,
    };
    Ok(VersionPage { listed, ledger, lineage, shadow, datasets, pushes, evaluation, images, then, flash })
}

/// Of evaluations, newest first, the newest with a verdict, else the newest.
fn latest(records: Vec<EvaluationRecord>) -> Option<EvaluationRecord> {
    let judged = records.iter().position(|record| record.verdict.is_some());
    records.into_iter().nth(judged.unwrap_or_default())
}

/// Images on a version's page.
const NEWEST_IMAGES: usize = 4;

/// The newest images made with a version: visitors', else those of its newest evaluation.
async fn newest_images(
    studio: &Studio,
    lineage: &Lineage,
    records: &[EvaluationRecord],
) -> Result<Vec<(String, String)>, StudioError> {
    let generated = lineage.nodes.iter().filter(|node| node.kind == LineageKind::Image);
    let generated = generated.filter_map(|node| Some((node.image.clone()?, node.name.clone())));
    let mut images: Vec<_> = generated.take(NEWEST_IMAGES).collect();
    let evaluated = records.iter().find(|record| record.images_done > 0);
    if let Some(record) = evaluated.filter(|_| images.is_empty()) {
        let evaluated = studio.evaluation(&record.id).await?.images.into_iter();
        let its = evaluated.filter(|image| image.role == EvaluationRole::Challenger);
        images.extend(its.map(|image| (image.url, image.text)).take(NEWEST_IMAGES));
    }
    Ok(images)
}

/// Every dataset, and the form for a new one.
pub(super) async fn datasets(
    studio: &Studio,
    flash: Option<String>,
    new: FormInput,
) -> Result<Datasets, StudioError> {
    Ok(Datasets { all: studio.datasets().await?, flash, new })
}

/// One dataset. `form`: the input that was refused.
pub(super) async fn dataset(
    studio: &Studio,
    id: &str,
    flash: Option<String>,
    form: Option<FormInput>,
) -> Result<DatasetPage, StudioError> {
    let dataset = studio.dataset(id).await?;
    let mut shown = FormInput::default();
    for (name, value) in
        [("name", &dataset.name), ("trigger", &dataset.trigger), ("caption", &dataset.caption)]
    {
        shown.set(name, value);
    }
    if let Some(form) = form {
        shown.values.extend(form.values);
        shown.errors = form.errors;
    }
    let import_from = studio.import_from().iter().map(|folder| folder.display().to_string()).collect();
    Ok(DatasetPage { dataset, form: shown, flash, import_from })
}

/// Every training run with the name of its dataset.
pub(super) async fn trainings(studio: &Studio) -> Result<Trainings, StudioError> {
    let datasets = studio.datasets().await?;
    let any = datasets.iter().any(|dataset| dataset.images > 0);
    let names: HashMap<_, _> = datasets.into_iter().map(|dataset| (dataset.id, dataset.name)).collect();
    let named = |run: adire_protocol::TrainingRun| {
        let dataset = names.get(&run.dataset).cloned().unwrap_or_else(|| GONE.to_owned());
        (run, dataset)
    };
    let all = studio.trainings().await?.into_iter().map(named).collect();
    let imported = !studio.imported_runs().await?.is_empty();
    Ok(Trainings { all, settings: studio.training_settings(), datasets: any, imported })
}

/// The form for a new run: a duplicate of an earlier one (`from`), or a preset.
pub(super) async fn new_training(studio: &Studio, query: FormInput) -> Result<TrainingForm, StudioError> {
    let form = match query.get("from") {
        "" => {
            // A form that was already shown keeps its class images.
            let fresh = !query.values.contains_key("class_dataset");
            let mut form = preset_form(query, studio.model().native_size);
            form.set("dataset", chosen(studio, &form).await?);
            if fresh {
                fill_classes(studio, &mut form).await?;
            }
            form
        }
        from => like(&studio.training(from).await?.run),
    };
    training_form(studio, form).await
}

/// The dataset of a form. A single usable dataset is preselected.
async fn chosen(studio: &Studio, form: &FormInput) -> Result<String, StudioError> {
    let mut all = studio.datasets().await?;
    all.retain(|dataset| dataset.images > 0);
    Ok(match (form.get("dataset"), all.as_slice()) {
        ("", [only]) => only.id.clone(),
        (chosen, _) => chosen.to_owned(),
    })
}

/// Class images that came along with the dataset.
async fn fill_classes(studio: &Studio, form: &mut FormInput) -> Result<(), StudioError> {
    let Some(class) =
        found(studio.dataset(form.get("dataset")).await)?.and_then(|dataset| dataset.class_dataset)
    else {
        return Ok(());
    };
    if let Some(class) = found(studio.dataset(&class).await)?.filter(|class| !class.images.is_empty()) {
        form.set("class_dataset", class.id);
        form.set("class_prompt", class.caption);
    }
    Ok(())
}

/// Maps `NotFound` to `None`.
fn found<T>(result: Result<T, StudioError>) -> Result<Option<T>, StudioError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(StudioError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The form with its input.
pub(super) async fn training_form(studio: &Studio, mut form: FormInput) -> Result<TrainingForm, StudioError> {
    form.set("dataset", chosen(studio, &form).await?);
    let mut datasets = Vec::new();
    for dataset in studio.datasets().await?.into_iter().filter(|dataset| dataset.images > 0) {
        let whole = studio.dataset(&dataset.id).await?;
        // Sample prompts are filled in, so that they can be edited before the run.
        if dataset.id == form.get("dataset")
            && form.get("sample_prompts").is_empty()
            && form.errors.is_empty()
        {
            let texts = whole.images.iter().map(|image| image.text.as_str());
            form.set("sample_prompts", sample_prompts(texts, &whole.trigger).join("\n"));
        }
        datasets.push((dataset, whole.trigger));
    }
    if form.get("name").is_empty() && form.errors.is_empty() {
        let chosen = datasets.iter().find(|(dataset, _)| dataset.id == form.get("dataset"));
        form.set("name", chosen.map(|(dataset, _)| slug(&dataset.name)).unwrap_or_default());
    }
    let versions = studio.adapters().await?.iter().map(adire_protocol::AdapterVersion::id).collect();
    Ok(TrainingForm { form, datasets, versions })
}

/// A valid adapter name from a dataset's name.
fn slug(name: &str) -> String {
    let plain = name.to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    let words: Vec<_> = plain.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-").chars().take(64).collect()
}

/// One training run.
pub(super) async fn training(
    studio: &Studio,
    id: &str,
    flash: Option<String>,
) -> Result<TrainingPage, StudioError> {
    let detail = studio.training(id).await?;
    let dataset = match studio.dataset(&detail.run.dataset).await {
        Ok(dataset) => Some(dataset.name),
        Err(StudioError::NotFound { .. }) => None,
        Err(error) => return Err(error),
    };
    let steps = studio.training_steps(id).await?;
    Ok(TrainingPage { detail, dataset, steps, flash })
}

/// The first runs of `ids`, without duplicates.
pub(super) async fn comparison(studio: &Studio, ids: &[String]) -> Result<Comparison, StudioError> {
    let mut runs: Vec<(adire_protocol::TrainingRunDetail, String)> = Vec::new();
    for id in ids {
        if runs.len() < MAX_COMPARED_RUNS && runs.iter().all(|(run, _)| run.run.id != *id) {
            let TrainingPage { detail, dataset, .. } = training(studio, id, None).await?;
            runs.push((detail, dataset.unwrap_or_else(|| GONE.to_owned())));
        }
    }
    Ok(Comparison { runs })
}

/// Every evaluation, and the form for a new one.
pub(super) async fn evaluations(studio: &Studio, new: FormInput) -> Result<Evaluations, StudioError> {
    let all = studio.versions().await?.into_iter().filter(|listed| listed.deleted_at.is_none());
    let versions = all.map(|listed| listed.version.id()).collect();
    let datasets = named_datasets(studio).await?;
    Ok(Evaluations { all: studio.evaluations(None).await?, versions, datasets, new })
}

/// Every sheet, and the form for a new one.
pub(super) async fn sheets(studio: &Studio, mut new: FormInput) -> Result<Sheets, StudioError> {
    let mut versions: Vec<String> =
        studio.adapters().await?.into_iter().map(|version| version.id()).collect();
    versions.dedup();
    if new.values.is_empty() {
        // What most sheets ask: which version, how strong.
        new.set("axis1", "version");
        new.set("values1", [&["none".to_owned()], &versions[..versions.len().min(3)]].concat().join("\n"));
        new.set("axis2", "strength");
        new.set("values2", "0.5, 0.8, 1");
    }
    let mut runs = Vec::new();
    for run in studio.trainings().await?.into_iter().take(50) {
        let label = format!("{}, {} steps, {}", run.name, run.steps, run.state.name());
        runs.push((run.id, label));
    }
    Ok(Sheets { all: studio.sheets().await?, versions, runs, new })
}

/// Evaluations whose images are compared, at most.
const MAX_COMPARED_EVALUATIONS: usize = 40;

/// Two versions over the same prompts. Without a query, the newest evaluation's.
pub(super) async fn version_comparison(
    studio: &Studio,
    mut form: FormInput,
) -> Result<VersionComparison, StudioError> {
    let mut records = studio.evaluations(None).await?;
    records.retain(|record| record.images_done > 0);
    if let Some(newest) = records.first().filter(|_| form.values.is_empty()) {
        form.set("left", newest.champion.clone().unwrap_or_default());
        form.set("right", newest.version.clone());
    }
    let mut versions: Vec<String> = Vec::new();
    for id in records.iter().flat_map(models) {
        if !versions.contains(id) {
            versions.push(id.clone());
        }
    }
    let (left, right) = (form.get("left"), form.get("right"));
    // Only those of the two: each is read with all its images.
    records.retain(|record| models(record).any(|id| id == left || id == right));
    records.truncate(MAX_COMPARED_EVALUATIONS);
    let mut details = Vec::with_capacity(records.len());
    for record in records {
        details.push(studio.evaluation(&record.id).await?);
    }
    let pairs = pairs(&details, left, right);
    Ok(VersionComparison { form, versions, pairs })
}

/// The versions whose images an evaluation has.
fn models(record: &EvaluationRecord) -> impl Iterator<Item = &String> {
    std::iter::once(&record.version).chain(&record.champion)
}

/// One evaluation with the votes on its images.
pub(super) async fn evaluation(
    studio: &Studio,
    id: &str,
    flash: Option<String>,
) -> Result<EvaluationPage, StudioError> {
    let detail = studio.evaluation(id).await?;
    let metrics = studio.metrics().to_vec();
    Ok(EvaluationPage { detail, metrics, people: studio.comparison_of(id).await?, flash })
}

/// The gate's settings. `form`: the input that was refused.
pub(super) async fn gate(
    studio: &Studio,
    form: Option<FormInput>,
    flash: Option<String>,
) -> Result<Gate, StudioError> {
    let form = match form {
        Some(form) => form,
        None => FormInput::from_pairs(vec![("toml".to_owned(), studio.gate_policy().await?.toml)]),
    };
    Ok(Gate { form, defaults: Policy::default().to_toml(), flash })
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn names_of_datasets_become_names_of_adapters() {
        for (name, expected) in [("Indigo cloth, 2026", "indigo-cloth-2026"), ("Àdìrẹ", "d-r"), ("---", "")]
        {
            assert_eq!(slug(name), expected);
        }
    }
}
