//! The list of evaluations, and the forms that start one.

use std::collections::HashSet;

use adire_protocol::{EvaluationRecord, EvaluationState};
use leptos::prelude::*;

use super::{
    fields::{Field, FormInput, alert},
    frame::head,
    icons::Icon,
    outcome::{outcome, state_badge},
    times::ago,
};

/// Data of the list.
#[derive(Clone, Debug)]
pub(crate) struct Evaluations {
    /// Newest first.
    pub(crate) all: Vec<EvaluationRecord>,
    /// Versions that can be evaluated, `name@vN`.
    pub(crate) versions: Vec<String>,
    /// Id and name of each dataset.
    pub(crate) datasets: Vec<(String, String)>,
    /// The form for a new one.
    pub(crate) new: FormInput,
}

/// The datasets that an evaluation can name, and the versions that need none named.
#[derive(Clone, Debug)]
pub(crate) struct StyleDatasets {
    /// Id and name of each dataset.
    pub(crate) all: Vec<(String, String)>,
    /// Versions that this studio trained, `name@vN`: it knows their datasets.
    pub(crate) trained: HashSet<String>,
}

/// Fields of the form for a new evaluation.
const FIELDS: [&str; 6] = ["version", "against", "suite", "dataset", "promote", "publish"];

pub(super) fn evaluations(data: Evaluations) -> AnyView {
    let Evaluations { all, versions, datasets, new } = data;
    let list = if all.is_empty() { empty(versions.is_empty()) } else { table(all) };
    let form = (!versions.is_empty()).then(|| new_form(&new, &versions, datasets));
    view! {
        {head(
            "Evaluation",
            "A version is scored beside the base model and the version in production, on the same prompts and noise.",
            view! {
                <a class="button" href="/admin/evaluations/compare">
                    "Compare versions"
                </a>
                <a class="button" href="/admin/comparisons">
                    "Blind votes"
                </a>
                <a class="button" href="/admin/suite">
                    "Suite"
                </a>
                <a class="button" href="/admin/gate">
                    "Gate settings"
                </a>
            },
        )}
        {list}
        {form}
        <p class="hint">
            <a href="/admin/sheets">"Sheets"</a>
            " compare versions, strengths and other settings in a grid, without a verdict."
        </p>
    }
    .into_any()
}

fn empty(no_versions: bool) -> AnyView {
    let (sentence, address, words) = if no_versions {
        ("No adapter versions to evaluate yet.", "/admin/training/new", "Train adapter")
    } else {
        (
            "No evaluations yet. One tells whether a version is ready for production.",
            "#new",
            "Evaluate version",
        )
    };
    view! {
        <div class="nothing">
            <p>{sentence}</p>
            <a class="primary" href=address>
                {words}
            </a>
        </div>
    }
    .into_any()
}

fn table(all: Vec<EvaluationRecord>) -> AnyView {
    let rows = all.into_iter().map(row).collect::<Vec<_>>();
    view! {
        <div class="wide as-cards" tabindex="0" role="region" aria-label="Evaluations">
            <table class="list">
                <thead>
                    <tr>
                        <th scope="col">"Version"</th>
                        <th scope="col">"Verdict"</th>
                        <th scope="col">"Reason"</th>
                        <th scope="col">"When"</th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
    .into_any()
}

fn row(record: EvaluationRecord) -> AnyView {
    let standing = match &record.verdict {
        Some(verdict) if record.state == EvaluationState::Done => outcome(verdict.outcome),
        _ => state_badge(record.state),
    };
    let when = ago(record.finished_at.unwrap_or(record.created_at));
    view! {
        <tr>
            <th scope="row">
                <a class="strong" href=address(&record.id)>
                    {record.version.clone()}
                </a>
                <span class="soft">{format!("against {}", champion(&record))}</span>
            </th>
            <td>{standing}</td>
            <td class="grow">{reason(&record)}</td>
            <td class="soft age">{when}</td>
        </tr>
    }
    .into_any()
}

/// Address of an evaluation's page.
pub(super) fn address(id: &str) -> String {
    format!("/admin/evaluations/{id}")
}

/// What a version is compared with.
pub(super) fn champion(record: &EvaluationRecord) -> &str {
    record.champion.as_deref().unwrap_or("the base model")
}

/// The sentence that matters most: why it does not pass, else how far it is.
pub(super) fn reason(record: &EvaluationRecord) -> String {
    let verdict = match (record.state, &record.verdict) {
        (EvaluationState::Done, Some(verdict)) => verdict,
        (EvaluationState::Failed, _) => return record.error.clone().unwrap_or_default(),
        (EvaluationState::Queued, _) => return "Generations go first.".to_owned(),
        _ if record.images == 0 => return String::new(),
        _ => return format!("{} of {} images", record.images_done, record.images),
    };
    let decisive = verdict
        .criteria
        .iter()
        .find(|criterion| !criterion.muted && criterion.outcome == verdict.outcome)
        .map(|criterion| criterion.reason.clone());
    decisive.filter(|_| verdict.outcome != adire_protocol::VerdictOutcome::Pass).unwrap_or_else(|| {
        let counting = verdict.criteria.iter().filter(|criterion| !criterion.muted).count();
        if counting == 0 {
            "All criteria are muted.".to_owned()
        } else {
            format!("All {counting} criteria passed.")
        }
    })
}

/// The form with everything that an evaluation can be given.
fn new_form(form: &FormInput, versions: &[String], datasets: Vec<(String, String)>) -> AnyView {
    let options = |none: Option<&str>| {
        let none = none.map(|words| (String::new(), words.to_owned()));
        let all = versions.iter().map(|id| (id.clone(), id.clone()));
        none.into_iter().chain(all).collect::<Vec<_>>()
    };
    let version = Field { name: "version", label: "Version", help: "" }.select(form, options(None));
    let against =
        Field { name: "against", label: "Compare style with", help: "Another version of the same adapter." }
            .select(form, options(Some("The version in production, else the base model")));
    let help =
        "For an uploaded version: whose style is wanted; by default that of the version compared with.";
    let dataset = Field { help, ..DATASET }.select(form, dataset_options("The version's own", datasets));
    let suite = Field {
        name: "suite",
        label: "Suite",
        help: "TOML with name, seeds and prompts; {trigger} stands for the trigger word. Empty: the model's own suite.",
    }
    .lines(form);
    let promote = Field {
        name: "promote",
        label: "Promote on pass",
        help: "Moves the version to production if the verdict is pass.",
    }
    .checkbox(form);
    let publish = Field {
        name: "publish",
        label: "Publish on pass",
        help: "Repository of the Hugging Face Hub, owner/name, that the version is pushed to if the verdict is pass. A new \
               one is private.",
    }
    .text(form);
    view! {
        <section class="panel" aria-labelledby="new-title" id="new">
            <h2 id="new-title">"Evaluate version"</h2>
            {alert(form.general(&FIELDS))}
            <form method="post" action="/admin/evaluations" class="stack">
                <div class="columns two">{version} {against}</div>
                {dataset}
                {suite}
                {promote}
                {publish}
                <button type="submit" class="primary">
                    {Icon::Evaluation.draw()}
                    "Evaluate version"
                </button>
            </form>
        </section>
    }
    .into_any()
}

const DATASET: Field<'static> = Field { name: "dataset", label: "Dataset of the style", help: "" };

/// The datasets, after what applies if none is chosen.
fn dataset_options(none: &str, datasets: Vec<(String, String)>) -> Vec<(String, String)> {
    std::iter::once((String::new(), none.to_owned())).chain(datasets).collect()
}

/// The button of one version: the model's own suite, the version in production to compare with. An uploaded version can be
/// given a dataset.
pub(super) fn evaluate_form(id: &str, datasets: &StyleDatasets) -> AnyView {
    let (promote, label) = (format!("promote-{id}"), format!("Evaluate: {id}"));
    let asks = !datasets.trained.contains(id) && !datasets.all.is_empty();
    let dataset = asks.then(|| {
        let options = dataset_options("That of the version compared with", datasets.all.clone());
        DATASET.select_as(format!("dataset-{id}"), &FormInput::default(), options)
    });
    view! {
        <form method="post" action="/admin/evaluations" class="line-up">
            <input type="hidden" name="version" value=id.to_owned() />
            <button type="submit" class="button" aria-label=label>
                "Evaluate"
            </button>
            <span class="tick">
                <input type="checkbox" name="promote" value="on" id=promote.clone() autocomplete="off" />
                <label for=promote>"Promote on pass"</label>
            </span>
            {dataset}
        </form>
    }
    .into_any()
}
