//! The form that asks for a training: a preset, a dataset, a name; everything else is folded.

use adire_protocol::{DatasetSummary, FieldError, Preset, TrainingConfig, TrainingRequest, TrainingRun};
use leptos::prelude::*;

use super::{
    fields::{Field, FormInput, alert},
    frame::head,
    settings::{self, GROUPS, Kind, Setting},
};

/// What the form shows.
#[derive(Clone, Debug)]
pub(crate) struct TrainingForm {
    pub(crate) form: FormInput,
    /// Those with images, the newest first, each with its trigger.
    pub(crate) datasets: Vec<(DatasetSummary, String)>,
    /// `name@vN` of versions that a run can go on from.
    pub(crate) versions: Vec<String>,
}

/// Fields that are no settings.
const OWN: [&str; 6] = ["name", "dataset", "note", "class_dataset", "class_prompt", "continue_from"];

/// The form with a preset's settings; what else was typed stays.
pub(super) fn preset_form(mut form: FormInput, native: u32) -> FormInput {
    let preset = form.get("preset").parse().unwrap_or(Preset::Style);
    let prompts = form.get("sample_prompts").to_owned();
    settings::write(&preset.config().sized_for(native), &mut form);
    if !prompts.is_empty() {
        form.set("sample_prompts", prompts);
    }
    form.set("preset", preset.name());
    form
}

/// The form with what an earlier training was asked for.
pub(super) fn like(job: &TrainingRun) -> FormInput {
    let mut form = FormInput::default();
    settings::write(&job.config, &mut form);
    for (name, value) in [
        ("name", Some(&job.name)),
        ("dataset", Some(&job.dataset)),
        ("note", Some(&job.note)),
        ("class_dataset", job.class_dataset.as_ref()),
        ("class_prompt", job.class_prompt.as_ref()),
        ("continue_from", job.continue_from.as_ref()),
    ] {
        form.set(name, value.cloned().unwrap_or_default());
    }
    form
}

/// What the form asks for.
///
/// # Errors
/// Every field that cannot be taken, under the form's own names.
pub(super) fn read(form: &FormInput) -> Result<TrainingRequest, Vec<FieldError>> {
    let base = form.get("preset").parse().unwrap_or(Preset::Style).config();
    let optional = |name: &str| Some(form.get(name).trim().to_owned()).filter(|text| !text.is_empty());
    let (config, mut errors) = match settings::read(form, &base) {
        Ok(config) => (config, Vec::new()),
        Err(errors) => (base, errors),
    };
    let request = TrainingRequest {
        name: form.get("name").trim().to_owned(),
        dataset: form.get("dataset").to_owned(),
        config,
        class_dataset: optional("class_dataset"),
        class_prompt: optional("class_prompt"),
        continue_from: optional("continue_from"),
        note: form.get("note").trim().to_owned(),
    };
    if let Err(invalid) = request.validate() {
        errors.extend(own_names(invalid.0));
    }
    if errors.is_empty() { Ok(request) } else { Err(errors) }
}

/// `config.rank` is the field `rank`.
pub(super) fn own_names(errors: Vec<FieldError>) -> Vec<FieldError> {
    let own = |mut error: FieldError| {
        if let Some(name) = error.field.strip_prefix("config.") {
            error.field = name.to_owned();
        }
        error
    };
    errors.into_iter().map(own).collect()
}

pub(super) fn training_form(data: TrainingForm) -> AnyView {
    let TrainingForm { form, datasets, versions } = data;
    let shown: Vec<_> = OWN.into_iter().chain(settings::all().map(|setting| setting.name)).collect();
    let general = form.general(&shown);
    let wrong = form.errors.len() - general.len();
    let summary = match wrong {
        0 => None,
        1 => Some("Nothing was started: 1 field needs a change.".to_owned()),
        many => Some(format!("Nothing was started: {many} fields need a change.")),
    };
    // What is wrong must be seen.
    let open = settings::all().any(|setting| form.error(setting.name).is_some())
        || ["class_dataset", "class_prompt", "continue_from"].iter().any(|name| form.error(name).is_some());
    let chosen = form.get("preset").to_owned();
    view! {
        <p class="crumb">
            <a href="/admin/training">"Training"</a>
        </p>
        {head("Train an adapter", "The result is a new version that people can choose in the studio; nothing that exists is changed.", ())}
        {alert(summary.into_iter().chain(general).collect())}
        <form method="post" action="/admin/training" class="train-form">
            // Enter in a field presses the first button of a form: this one, not a preset's.
            <button type="submit" class="off-screen" tabindex="-1" aria-hidden="true">
                "Start the training"
            </button>
            <input type="hidden" name="preset" value=chosen.clone() />
            <fieldset class="presets">
                <legend>"How thorough"</legend>
                <div class="preset-cards">{presets(&chosen)}</div>
            </fieldset>
            <div class="columns two">
                {Field {
                    name: "dataset",
                    label: "Dataset",
                    help: "Its pictures, captions and trigger word are fixed from now on.",
                }
                    .select(&form, dataset_options(&datasets, "Choose a dataset"))}
                {Field {
                    name: "name",
                    label: "Name of the adapter",
                    help: "Lower-case letters, digits and dashes. A name that exists gets its next version.",
                }
                    .text(&form)}
            </div>
            {Field { name: "note", label: "Note", help: "What this run is for; becomes the version's description. May be empty." }
                .text(&form)}
            <p class="hint">
                "Every visitor can download the finished adapter. Captions and sample prompts are not in its file, unless you publish them below."
            </p>
            <details class="advanced" open=open id="advanced">
                <summary>"Every setting"</summary>
                {GROUPS
                    .iter()
                    .map(|(title, group)| {
                        view! {
                            <fieldset class="group">
                                <legend>{*title}</legend>
                                <div class="fields">
                                    {(*title == settings::CLASS_PICTURES).then(|| class_images(&form, &datasets))}
                                    {group.iter().map(|setting| control(setting, &form)).collect::<Vec<_>>()}
                                </div>
                            </fieldset>
                        }
                    })
                    .collect::<Vec<_>>()}
                <fieldset class="group">
                    <legend>"The beginning"</legend>
                    <div class="fields">
                        {Field {
                            name: "continue_from",
                            label: "Go on from a version",
                            help: "Begins with what that version has learned; rank, alpha and layers must be the same.",
                        }
                            .select(&form, version_options(versions))}
                    </div>
                </fieldset>
            </details>
            <div class="save">
                <button type="submit" class="primary">
                    "Start the training"
                </button>
                <p class="soft">"People can go on making pictures while it runs."</p>
            </div>
        </form>
    }
    .into_any()
}

/// Where images of the same kind come from that are not of the style.
fn class_images(form: &FormInput, datasets: &[(DatasetSummary, String)]) -> impl IntoView + use<> {
    let dataset = Field {
        name: "class_dataset",
        label: "Dataset of class pictures",
        help: "Pictures of the same kind that are not of this style, so that the model keeps them apart.",
    };
    let prompt = Field {
        name: "class_prompt",
        label: "Class prompt",
        help: "What they show, for example “a cloth”: the caption of those that have none, and what the model makes more of.",
    };
    (dataset.select(form, dataset_options(datasets, "None")), prompt.text(form))
}

/// The presets as buttons that fill the form in again. Without a script as well: they send it to its own page.
fn presets(chosen: &str) -> Vec<impl IntoView + use<>> {
    let cards = Preset::ALL.map(|preset| {
        let TrainingConfig { steps, rank, accumulation, .. } = preset.config();
        let (name, sentence) = match preset {
            Preset::QuickLook => ("Quick look", "A first impression in a few minutes."),
            Preset::Style => ("Style", "20 to 30 pictures of one style."),
            Preset::Thorough => ("Thorough", "More layers and more time, for fine detail."),
        };
        view! {
            <button
                type="submit"
                formmethod="get"
                formaction="/admin/training/new"
                name="preset"
                value=preset.name()
                class="preset"
                aria-pressed=if chosen == preset.name() { "true" } else { "false" }
            >
                <b>{name}</b>
                <span>{sentence}</span>
                <span class="soft">
                    {format!("{steps} steps, rank {rank}")}
                    {(accumulation > 1).then(|| format!(", {accumulation} pictures a step"))}
                </span>
            </button>
        }
    });
    cards.into_iter().collect()
}

fn dataset_options(datasets: &[(DatasetSummary, String)], none: &str) -> Vec<(String, String)> {
    let all = datasets.iter().map(|(dataset, trigger)| {
        let trigger = if trigger.is_empty() {
            "no trigger word".to_owned()
        } else {
            format!("trigger “{trigger}”")
        };
        (
            dataset.id.clone(),
            format!("{} ({}, {trigger})", dataset.name, crate::words::images(dataset.images)),
        )
    });
    std::iter::once((String::new(), none.to_owned())).chain(all).collect()
}

fn version_options(versions: Vec<String>) -> Vec<(String, String)> {
    let all = versions.into_iter().map(|version| (version.clone(), version.replace('@', " ")));
    std::iter::once((String::new(), "No: from no change at all".to_owned())).chain(all).collect()
}

fn control(setting: &Setting, form: &FormInput) -> AnyView {
    let field = Field { name: setting.name, label: setting.label, help: setting.help };
    match setting.kind {
        Kind::Whole | Kind::Number | Kind::Optional | Kind::OptionalWhole => field.number(form),
        Kind::Check => field.checkbox(form),
        Kind::Lines => field.lines(form),
        Kind::Choice(choices) => field.select(
            form,
            choices.iter().map(|(value, label)| ((*value).to_owned(), (*label).to_owned())).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pairs: &[(&str, &str)]) -> FormInput {
        let typed = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        preset_form(FormInput::from_pairs(typed), 512)
    }

    #[test]
    fn a_preset_fills_the_form_and_keeps_what_was_typed() {
        let form = filled(&[
            ("preset", "thorough"),
            ("name", "cloth"),
            ("dataset", "d"),
            ("sample_prompts", "a\nb"),
            ("rank", "3"),
        ]);
        let request = read(&form).unwrap();
        assert_eq!((request.name.as_str(), request.dataset.as_str()), ("cloth", "d"));
        let expected = TrainingConfig {
            sample_prompts: vec!["a".to_owned(), "b".to_owned()],
            ..Preset::Thorough.config()
        };
        assert_eq!(request.config, expected);
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let mut form = filled(&[("name", "Not A Name")]);
        form.set("rank", "0");
        form.set("learning_rate", "fast");
        let fields: Vec<_> = read(&form).unwrap_err().into_iter().map(|error| error.field).collect();
        // What cannot be read hides what the numbers themselves would say; the rest is checked all the same.
        assert_eq!(fields, ["learning_rate", "name", "dataset"]);
        form.set("learning_rate", "1e-4");
        let fields: Vec<_> = read(&form).unwrap_err().into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["name", "dataset", "rank"]);
    }
}
