//! Blind votes between versions: links for voters, and what the votes say.

use adire_protocol::{ComparisonRecord, ComparisonState};
use leptos::prelude::*;

use super::{
    frame::{crumbs, flash_line, head},
    times::ago,
};

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct Comparisons {
    /// Newest first.
    pub(crate) comparisons: Vec<ComparisonRecord>,
    /// Scheme and host by which the page was reached.
    pub(crate) origin: String,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn comparisons(data: Comparisons) -> AnyView {
    let Comparisons { comparisons, origin, flash } = data;
    let empty = comparisons.is_empty();
    let panels = comparisons.into_iter().map(|record| panel(record, &origin)).collect::<Vec<_>>();
    view! {
        {crumbs([("/admin/evaluations", "Evaluation")])}
        {head("Blind votes", "Friends choose between two versions' images of the same prompt and noise, without names.", ())}
        {flash_line(flash)}
        {empty
            .then(|| {
                view! {
                    <div class="nothing">
                        <p>"No comparisons yet. Start one on the page of a finished evaluation."</p>
                        <a class="primary" href="/admin/evaluations">
                            "Evaluations"
                        </a>
                    </div>
                }
            })}
        {panels}
    }
    .into_any()
}

fn against(record: &ComparisonRecord) -> String {
    record.against.clone().unwrap_or_else(|| "the base model".to_owned())
}

/// What the votes say, as a sentence.
pub(super) fn finding(record: &ComparisonRecord) -> String {
    let counts = format!("{} for it, {} against, {} for neither", record.better, record.worse, record.ties);
    match record.state {
        ComparisonState::Better => format!("People prefer {}: {counts}.", record.version),
        ComparisonState::Worse => format!("People prefer {}: {counts}.", against(record)),
        ComparisonState::NoDifference => format!("No difference found: {counts}."),
        ComparisonState::Undecided if record.better + record.worse + record.ties == 0 => {
            "No votes yet.".to_owned()
        }
        ComparisonState::Undecided => {
            let more =
                record.more.map(|more| format!(" About {more} more votes decide.")).unwrap_or_default();
            format!("Undecided: {counts}.{more}")
        }
    }
}

fn panel(record: ComparisonRecord, origin: &str) -> AnyView {
    let (id, title) = (record.id.clone(), format!("{} against {}", record.version, against(&record)));
    let link = format!("{origin}{}", record.page);
    let qr = format!("{}/qr.svg", record.page);
    let evaluation = format!("/admin/evaluations/{}", record.evaluation);
    let open = record.closed_at.is_none();
    let (field, heading) = (format!("link-{id}"), format!("comparison-{id}"));
    let (heading_id, anchor, field_id) = (heading.clone(), id.clone(), field.clone());
    let (class, word) = if open { ("badge running", "Open") } else { ("badge cancelled", "Ended") };
    let sentence = finding(&record);
    let about = format!("{} pairs, e = {:.1} of 20. Started ", record.pairs, record.e);
    let finish = if record.state == ComparisonState::Undecided { "End without a result" } else { "End" };
    view! {
        <section class="panel stack" aria-labelledby=heading_id id=anchor>
            <h2 id=heading>{title}</h2>
            <div class="line-up">
                <span class=class>{word}</span>
                <p class="strong grow">{sentence}</p>
            </div>
            <p class="hint">{about} {ago(record.created_at)}</p>
            {open
                .then(|| {
                    view! {
                        <div class="field">
                            <label for=field_id>"Link for voters"</label>
                            <input type="text" id=field readonly value=link />
                        </div>
                        <details>
                            <summary>"QR code"</summary>
                            <img src=qr alt="QR code of the link for voters" width="200" height="200" loading="lazy" />
                        </details>
                    }
                })}
            <div class="line-up">
                <a class="button" href=evaluation>
                    "Open evaluation"
                </a>
                {open
                    .then(|| {
                        view! {
                            <form method="post" action="/admin/comparisons">
                                <input type="hidden" name="id" value=id />
                                <button type="submit" name="action" value="close" class="stop">
                                    {finish}
                                </button>
                            </form>
                        }
                    })}
            </div>
        </section>
    }
    .into_any()
}

/// Starts the votes, or has them taken again.
fn ask(evaluation: &str, label: &'static str) -> AnyView {
    view! {
        <form method="post" action="/admin/comparisons">
            <input type="hidden" name="evaluation" value=evaluation.to_owned() />
            <button type="submit" name="action" value="create" class="button">
                {label}
            </button>
        </form>
    }
    .into_any()
}

/// The section of an evaluation's page.
pub(super) fn section(evaluation: &str, done: bool, record: Option<ComparisonRecord>) -> AnyView {
    let body = match record {
        Some(record) => {
            let address = format!("/admin/comparisons#{}", record.id);
            let counted = record.better + record.worse + record.ties > 0;
            let again = (record.closed_at.is_some() && record.state == ComparisonState::Undecided)
                .then(|| ask(evaluation, "Take more votes"));
            let (evaluation, sentence) = (format!("/admin/evaluations/{evaluation}"), finding(&record));
            view! {
                <p class="strong">{sentence}</p>
                <div class="line-up">
                    <a class="button" href=address>
                        "Link for voters"
                    </a>
                    {counted
                        .then(|| {
                            view! {
                                <form method="post" action=evaluation>
                                    <input type="hidden" name="action" value="rerun" />
                                    <input type="hidden" name="step" value="verdict" />
                                    <button type="submit" class="button">
                                        "Update verdict"
                                    </button>
                                </form>
                            }
                        })}
                    {again}
                </div>
            }
            .into_any()
        }
        None if done => ask(evaluation, "Ask people"),
        None => return ().into_any(),
    };
    view! {
        <section class="panel stack" aria-labelledby="people-title">
            <h2 id="people-title">"Blind votes"</h2>
            <p class="hint">
                "Friends with a link choose between the two versions' images without names. A preference joins the verdict as the criterion “people”."
            </p>
            {body}
        </section>
    }
    .into_any()
}
