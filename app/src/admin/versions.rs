//! Adapter versions: stage, aliases, visibility, and what can be done with each.

use std::collections::HashMap;

use adire_protocol::{
    EvaluationCriterion, EvaluationRecord, ListedVersion, MAX_REASON_CHARS, PRODUCTION, Stage,
    VerdictOutcome, capitalised,
};
use leptos::prelude::*;

use super::{
    evaluations::{self, StyleDatasets, evaluate_form},
    fields::{Field, FormInput, alert},
    frame::{flash_line, head},
    outcome::{outcome, state_badge},
    times::ago,
};
use crate::words::number;

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct Versions {
    /// By name, newest first.
    pub(crate) all: Vec<ListedVersion>,
    /// The version that a rollback of each adapter returns to.
    pub(crate) back: HashMap<String, u32>,
    /// The last evaluation of each version, by `name@vN`.
    pub(crate) evaluations: HashMap<String, EvaluationRecord>,
    /// For the buttons that evaluate.
    pub(crate) datasets: StyleDatasets,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
    /// The form for a file.
    pub(crate) new: FormInput,
}

pub(super) fn versions(data: Versions) -> AnyView {
    let Versions { all, back, evaluations, datasets, flash, new } = data;
    let empty = all.is_empty();
    let row = |listed: ListedVersion| {
        let back = back.get(&listed.version.name).copied();
        let evaluation = evaluations.get(&listed.version.id());
        row(listed, back, evaluation, &datasets)
    };
    let rows = all.into_iter().map(row).collect::<Vec<_>>();
    view! {
        {head(
            "Versions",
            "name@production is the version in production. Visitors can't see, use or download hidden versions.",
            view! {
                <a class="button" href="/admin/embeddings">
                    "Embeddings"
                </a>
                <a class="button" href="#add">
                    "Add adapter"
                </a>
            },
        )}
        {flash_line(flash)}
        {empty
            .then(|| {
                view! {
                    <div class="nothing">
                        <p>
                            "No adapter versions yet. Each finished run creates one, and LoRA files made elsewhere are added below."
                        </p>
                        <a class="primary" href="/admin/training/new">
                            "Train adapter"
                        </a>
                    </div>
                }
            })}
        {(!empty)
            .then(|| {
                view! {
                    <div class="wide as-cards" tabindex="0" role="region" aria-label="Versions">
                        <table class="list">
                            <thead>
                                <tr>
                                    <th scope="col">"Version"</th>
                                    <th scope="col">"Stage"</th>
                                    <th scope="col">"Verdict"</th>
                                    <th scope="col">"Visitors"</th>
                                    <th scope="col">"Added"</th>
                                    <td></td>
                                </tr>
                            </thead>
                            <tbody>{rows}</tbody>
                        </table>
                    </div>
                }
            })}
        {add_form(&new)}
    }
    .into_any()
}

/// Adds a file that was made elsewhere.
fn add_form(new: &FormInput) -> AnyView {
    let name = Field {
        name: "name",
        label: "Name",
        help: "Lower-case letters, digits, “-”, “_” and “.”, at most 64. A name that exists gets another version.",
    };
    let version = Field { name: "version", label: "Version", help: "The next number when left empty." };
    let trigger = Field {
        name: "trigger",
        label: "Trigger word",
        help: "Activates the style in a prompt, as the file's author says; may be empty.",
    };
    let description =
        Field { name: "description", label: "Description", help: "One sentence for visitors; may be empty." };
    let file = Field {
        name: "file",
        label: "File",
        help: "A .safetensors file, at most 2 GiB. It is tried on the model first; a file for another model is refused.",
    };
    view! {
        <section class="panel narrow" id="add" aria-labelledby="add-title">
            <h2 id="add-title">"Add an adapter"</h2>
            <p class="hint">
                "A LoRA file made elsewhere: by kohya's scripts, LyCORIS, diffusers, PEFT or ComfyUI, or from a model site. The new version can be chosen on the studio's page at once."
            </p>
            {alert(new.general(&["name", "version", "trigger", "description", "file"]))}
            <form method="post" enctype="multipart/form-data" action="/admin/versions/add" class="stack">
                {name.text(new)} {version.number(new)} {trigger.text(new)} {description.text(new)}
                // Last, so that the texts are there when it is refused on its way.
                {file.file(new, ".safetensors")} <button type="submit" class="primary">
                    "Add adapter"
                </button>
            </form>
        </section>
    }
    .into_any()
}

/// The criterion that decided, or style where all passed, with its number.
fn decisive(record: &EvaluationRecord) -> Option<String> {
    let verdict = record.verdict.as_ref()?;
    let counts = |criterion: &&EvaluationCriterion| match verdict.outcome {
        VerdictOutcome::Pass => criterion.kind == "style",
        outcome => !criterion.muted && criterion.outcome == outcome,
    };
    let criterion = verdict.criteria.iter().find(counts)?;
    let name = capitalised(&criterion.kind.replace('_', " "));
    Some(criterion.value.map_or_else(|| name.clone(), |value| format!("{name} {}", number(value))))
}

fn judged(evaluation: Option<&EvaluationRecord>) -> AnyView {
    let Some(record) = evaluation else { return view! { <span class="soft">"None"</span> }.into_any() };
    let badge = match &record.verdict {
        Some(verdict) => outcome(verdict.outcome),
        None => state_badge(record.state),
    };
    let title = evaluations::reason(record);
    view! {
        <a href=evaluations::address(&record.id) title=title>
            {badge}
        </a>
        " "
        <span class="soft">{decisive(record)}</span>
    }
    .into_any()
}

fn row(
    listed: ListedVersion,
    back: Option<u32>,
    evaluation: Option<&EvaluationRecord>,
    datasets: &StyleDatasets,
) -> AnyView {
    let id = listed.version.id();
    let free = listed.version.aliases.iter().filter(|alias| *alias != PRODUCTION);
    let aliases = free.map(|alias| format!("@{alias}")).collect::<Vec<_>>().join(" ");
    let (shown, file) = visibility(&listed);
    let actions = listed.deleted_at.is_none().then(|| {
        view! {
            {evaluate_form(&id, datasets)}
            {visibility_forms(&listed, "/admin/versions".to_owned())}
            <details class="card-more">
                <summary>"Change stage"</summary>
                {stage_form(&listed, back, "/admin/versions".to_owned())}
            </details>
        }
    });
    view! {
        <tr>
            <th scope="row" class="grow">
                <a class="strong" href=address(&id)>
                    {id.clone()}
                </a>
                <span class="soft">{listed.version.trigger}</span>
            </th>
            <td>{badge(listed.version.stage)} " " <span class="soft">{aliases}</span></td>
            <td>{judged(evaluation)}</td>
            <td>{shown} " " <span class="soft">{file}</span></td>
            <td class="soft age">{ago(listed.version.created_at)}</td>
            <td>{actions}</td>
        </tr>
    }
    .into_any()
}

/// Address of a version's page.
pub(super) fn address(id: &str) -> String {
    format!("/admin/versions/{id}")
}

/// The stage; ochre marks what is live.
pub(super) fn badge(stage: Stage) -> AnyView {
    let class = match stage {
        Stage::Candidate => "badge queued",
        Stage::Production => "badge running",
        Stage::Archived => "badge cancelled",
        Stage::Rejected => "badge failed",
    };
    view! { <span class=class>{capitalised(stage.word())}</span> }.into_any()
}

/// Whether visitors see a version and may download its file.
pub(super) fn visibility(listed: &ListedVersion) -> (&'static str, Option<&'static str>) {
    let shown = match (listed.deleted_at, listed.hidden) {
        (Some(_), _) => "Deleted",
        (None, true) => "Hidden",
        (None, false) => "Visible",
    };
    (shown, (listed.deleted_at.is_none() && !listed.downloads).then_some("no download"))
}

/// One reason, and a button for each move that the stage allows.
pub(super) fn stage_form(listed: &ListedVersion, back: Option<u32>, to: String) -> AnyView {
    let (id, name) = (listed.version.id(), &listed.version.name);
    let button = |action: &'static str, class: &'static str, words: String| {
        let label = format!("{words}: {id}");
        view! {
            <button type="submit" name="action" value=action class=class aria-label=label>
                {words}
            </button>
        }
        .into_any()
    };
    let promote = || button("promote", "button", "Promote".to_owned());
    let reject = || button("reject", "stop", "Reject".to_owned());
    let (buttons, promotes) = match listed.version.stage {
        Stage::Candidate => {
            (vec![promote(), button("archive", "button", "Archive".to_owned()), reject()], true)
        }
        Stage::Archived => (vec![promote(), button("reopen", "button", "Reopen".to_owned()), reject()], true),
        Stage::Rejected => (vec![button("reopen", "button", "Reopen".to_owned())], false),
        Stage::Production => {
            let roll_back =
                back.map(|version| button("rollback", "stop", format!("Roll {name} back to v{version}")));
            let archive = button("archive", "button", "Take out of production".to_owned());
            (roll_back.into_iter().chain([archive]).collect(), false)
        }
    };
    let force = promotes.then(|| {
        view! {
            <div class="field check">
                <input type="checkbox" name="force" value="on" id=format!("force-{id}") />
                <label for=format!("force-{id}")>"Promote without a passing verdict"</label>
            </div>
        }
    });
    view! {
        <form method="post" action=to class="stack">
            <input type="hidden" name="version" value=id.clone() />
            <div class="field">
                <label for=format!("reason-{id}")>"Reason"</label>
                <input type="text" id=format!("reason-{id}") name="reason" maxlength=MAX_REASON_CHARS required autocomplete="off" />
            </div>
            {force}
            <div class="line-up">{buttons}</div>
        </form>
    }
    .into_any()
}

/// Hides or shows a version, gives its file out or not, deletes it.
pub(super) fn visibility_forms(listed: &ListedVersion, to: String) -> AnyView {
    let id = listed.version.id();
    let (hide, hide_words) = if listed.hidden { ("show", "Show") } else { ("hide", "Hide") };
    let (give, give_words) =
        if listed.downloads { ("keep-file", "Stop downloads") } else { ("give-file", "Allow downloads") };
    view! {
        <div class="line-up">
            {act(&id, &to, hide, hide_words, "button")} {act(&id, &to, give, give_words, "button")}
            <details class="card-more">
                <summary>"Delete"</summary>
                {act(&id, &to, "delete", "Delete version and file", "stop")}
            </details>
        </div>
    }
    .into_any()
}

fn act(id: &str, to: &str, action: &'static str, words: &'static str, class: &'static str) -> AnyView {
    let label = format!("{words}: {id}");
    view! {
        <form method="post" action=to.to_owned()>
            <input type="hidden" name="version" value=id.to_owned() />
            <input type="hidden" name="action" value=action />
            <button type="submit" class=class aria-label=label>
                {words}
            </button>
        </form>
    }
    .into_any()
}
