//! One adapter version: its stage, its shadow, its aliases, its lineage and the ledger of its adapter.

use adire_protocol::{
    EvaluationRecord, EvaluationState, Ledger, LedgerAction, LedgerEntry, Lineage, ListedVersion,
    MAX_NOTE_CHARS, PRODUCTION, ProductionAt, PushRecord, SmokeResult, VerdictOutcome, capitalised,
};
use leptos::prelude::*;

use super::{
    evaluation_images::figure,
    evaluations::{self, StyleDatasets, evaluate_form},
    fields::in_textarea,
    frame::{flash_line, head},
    image, lineage,
    outcome::{outcome, state_badge},
    push::push,
    shadow::{Shadow, shadow},
    times::{ago, exact},
    versions::{address, badge, stage_form, visibility, visibility_forms},
};

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct VersionPage {
    pub(crate) listed: ListedVersion,
    /// Of its adapter.
    pub(crate) ledger: Ledger,
    /// Of this version.
    pub(crate) lineage: Lineage,
    /// Of this version.
    pub(crate) shadow: Shadow,
    /// For the button that evaluates.
    pub(crate) datasets: StyleDatasets,
    /// Of this version, the newest first.
    pub(crate) pushes: Vec<PushRecord>,
    /// Its newest evaluation with a verdict, else its newest one.
    pub(crate) evaluation: Option<EvaluationRecord>,
    /// Images that show it: URL and prompt.
    pub(crate) images: Vec<(String, String)>,
    /// What was in production at the time that the address asks for.
    pub(crate) then: Option<ProductionAt>,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn version(data: VersionPage) -> AnyView {
    let VersionPage {
        listed,
        ledger,
        lineage,
        shadow: shadow_data,
        datasets,
        pushes,
        evaluation,
        images,
        then,
        flash,
    } = data;
    let id = listed.version.id();
    let is_there = listed.deleted_at.is_none();
    let page = (is_there && !listed.hidden).then(|| {
        view! {
            <a class="button" href=format!("/adapters/{id}")>
                "View receipt"
            </a>
        }
    });
    let back = ledger.way_back.first().copied();
    let change = is_there.then(|| {
        view! {
            <section class="panel" aria-labelledby="stage-title">
                <h2 id="stage-title">"Change stage"</h2>
                {stage_form(&listed, back, address(&id))}
            </section>
        }
    });
    let offer = is_there.then(|| {
        view! {
            {evaluate_form(&id, &datasets)}
            {visibility_forms(&listed, address(&id))}
        }
    });
    let (shown, file) = visibility(&listed);
    view! {
        {head(id.clone(), listed.version.description.clone(), page)}
        {flash_line(flash)}
        {newest(images)}
        {verdict(evaluation.as_ref())}
        <section class="panel stack" aria-label="Version">
            <p>{badge(listed.version.stage)}</p>
            <dl class="facts">
                {fact("Visitors", [Some(shown), file].into_iter().flatten().collect::<Vec<_>>().join(", "))}
                {fact("Trigger word", listed.version.trigger.clone())}
                {fact("sha256", listed.version.hash.clone())}
            </dl>
            {is_there.then(|| note(&listed))}
            {offer}
        </section>
        {lineage::section(&lineage)}
        {history(ledger)}
        {moment(&id, then.as_ref())}
        <div class="columns two">{change} {aliases(&listed)}</div>
        {shadow(&id, listed.version.stage, is_there, shadow_data)}
        {push(&id, is_there, pushes)}
    }
    .into_any()
}

/// What it looks like.
fn newest(images: Vec<(String, String)>) -> AnyView {
    if images.is_empty() {
        return ().into_any();
    }
    let images = images.into_iter().map(|(url, prompt)| figure(url, prompt.clone(), prompt, String::new()));
    view! {
        <section class="panel" aria-labelledby="images-title">
            <h2 id="images-title">"Newest images"</h2>
            <ul class="triptych">{images.collect::<Vec<_>>()}</ul>
        </section>
    }
    .into_any()
}

/// How it was judged.
fn verdict(evaluation: Option<&EvaluationRecord>) -> AnyView {
    let content = match evaluation {
        None => view! { <p class="soft">"Not evaluated yet."</p> }.into_any(),
        Some(record) => {
            let badge = match &record.verdict {
                Some(verdict) if record.state == EvaluationState::Done => outcome(verdict.outcome),
                _ => state_badge(record.state),
            };
            let against = format!("against {}", evaluations::champion(record));
            view! {
                <div class="line-up">
                    {badge} <p class="strong grow">{evaluations::reason(record)}</p>
                    <span class="soft">
                        {against} " · " {ago(record.finished_at.unwrap_or(record.created_at))}
                    </span>
                    <a href=evaluations::address(&record.id)>"View evaluation"</a>
                </div>
            }
            .into_any()
        }
    };
    view! {
        <section class="panel" aria-labelledby="verdict-title">
            <h2 id="verdict-title">"Verdict"</h2>
            {content}
        </section>
    }
    .into_any()
}

/// The admin's note.
fn note(listed: &ListedVersion) -> AnyView {
    view! {
        <form method="post" action=address(&listed.version.id()) class="stack">
            <input type="hidden" name="action" value="note" />
            <div class="field">
                <label for="note">"Note"</label>
                <textarea id="note" name="note" rows="2" maxlength=MAX_NOTE_CHARS.to_string() aria-describedby="note-help">
                    {in_textarea(&listed.note)}
                </textarea>
                <p class="hint" id="note-help">
                    "Only admins see it."
                </p>
            </div>
            <button type="submit" class="button">
                "Save note"
            </button>
        </form>
    }
    .into_any()
}

/// A form that asks what was in production at a time, and the answer.
fn moment(id: &str, then: Option<&ProductionAt>) -> AnyView {
    let at = then.map(|then| exact(then.at).replace(' ', "T")).unwrap_or_default();
    let answer = then.map(|then| {
        let at = exact(then.at);
        let row = then.entry.as_ref().map(|made| {
            let number = made.number;
            view! {
                " by "
                <a href=format!("#ledger-{number}")>{format!("row {number}")}</a>
            }
        });
        let what = match &then.version {
            Some(version) => view! {
                <a href=address(version)>{version.clone()}</a>
                " was in production"
                {row}
                "."
            }
            .into_any(),
            None => "nothing was in production.".into_any(),
        };
        view! { <p role="status">{format!("At {at} UTC, ")} {what}</p> }
    });
    view! {
        <section class="panel" aria-labelledby="moment">
            <h2 id="moment">"Production at a time"</h2>
            <form method="get" action=format!("{}#moment", address(id)) class="line-up">
                <div class="field">
                    <label for="at">"Time (UTC)"</label>
                    <input type="datetime-local" id="at" name="at" step="1" required value=at />
                </div>
                <button type="submit" class="button">
                    "Show version"
                </button>
            </form>
            {answer}
        </section>
    }
    .into_any()
}

fn fact(name: &'static str, value: String) -> AnyView {
    let value = if value.is_empty() { "—".to_owned() } else { value };
    view! {
        <div>
            <dt>{name}</dt>
            <dd>{value}</dd>
        </div>
    }
    .into_any()
}

/// Its aliases, and a form that sets one.
fn aliases(listed: &ListedVersion) -> AnyView {
    let (id, name) = (listed.version.id(), listed.version.name.clone());
    let deletes = listed.version.aliases.iter().map(|alias| {
        let full = format!("{name}@{alias}");
        let delete = (alias != PRODUCTION).then(|| {
            let label = format!("Delete alias: {full}");
            view! {
                <form method="post" action=address(&id)>
                    <input type="hidden" name="action" value="delete-alias" />
                    <input type="hidden" name="alias" value=alias.clone() />
                    <button type="submit" class="button" aria-label=label>
                        "Delete alias"
                    </button>
                </form>
            }
        });
        view! {
            <li class="line-up">
                <span class="grow">{full}</span>
                {delete}
            </li>
        }
        .into_any()
    });
    let deletes = deletes.collect::<Vec<_>>();
    let set = listed.deleted_at.is_none().then(|| {
        view! {
            <form method="post" action=address(&id) class="stack">
                <input type="hidden" name="action" value="set-alias" />
                <div class="field">
                    <label for="alias">"Alias"</label>
                    <input
                        type="text"
                        id="alias"
                        name="alias"
                        maxlength="64"
                        required
                        autocomplete="off"
                        autocapitalize="none"
                        spellcheck="false"
                        aria-describedby="alias-help"
                    />
                    <p class="hint" id="alias-help">
                        {format!("Stands for this version, as {name}@stable.")}
                    </p>
                </div>
                <button type="submit" class="button">
                    "Set alias"
                </button>
            </form>
        }
    });
    view! {
        <section class="panel" aria-labelledby="aliases-title">
            <h2 id="aliases-title">"Aliases"</h2>
            <div class="stack">
                <ul class="stack">{deletes}</ul>
                {set}
            </div>
        </section>
    }
    .into_any()
}

/// The ledger, the last row first, and whether it is whole.
fn history(ledger: Ledger) -> AnyView {
    let Ledger { check, entries, .. } = ledger;
    let standing = match &check.fault {
        Some(fault) => {
            let text = format!("This ledger is not as it was written. {}", fault.message);
            view! { <p class="alert" role="alert">{text}</p> }.into_any()
        }
        None => {
            let digest: String = check.digest.chars().take(12).collect();
            let text = match check.moves {
                1 => format!("1 row, as written: {digest}."),
                moves => format!("{moves} rows, all as written. The last one is {digest}."),
            };
            view! { <p class="hint" title=check.digest>{text}</p> }.into_any()
        }
    };
    if entries.is_empty() && check.fault.is_none() {
        return view! {
            <section class="stack" aria-labelledby="ledger-title">
                <h2 id="ledger-title">"Ledger"</h2>
                <p class="nothing">"No changes yet. Promoting a version writes the first row."</p>
            </section>
        }
        .into_any();
    }
    let rows = entries.into_iter().rev().map(entry).collect::<Vec<_>>();
    view! {
        <section class="stack" aria-labelledby="ledger-title">
            <h2 id="ledger-title">"Ledger"</h2>
            {standing}
            <div class="wide" tabindex="0" role="region" aria-label="Rows of the ledger">
                <table class="list">
                    <thead>
                        <tr>
                            <th scope="col">"Row"</th>
                            <th scope="col">"Change"</th>
                            <th scope="col">"Reason"</th>
                            <th scope="col">"Smoke image"</th>
                            <th scope="col">"By"</th>
                            <th scope="col">"When"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}

/// What a verdict was to the row that names it.
fn rests_on(action: LedgerAction, outcome: Option<VerdictOutcome>) -> String {
    match outcome {
        None => "verdict".to_owned(),
        Some(VerdictOutcome::Pass) => "verdict: pass".to_owned(),
        Some(outcome) if action == LedgerAction::Promote => format!("overruled verdict: {}", outcome.word()),
        Some(outcome) => format!("verdict: {}", outcome.word()),
    }
}

fn entry(LedgerEntry { made, outcome, smoke }: LedgerEntry) -> AnyView {
    let smoke = smoke.map(|smoke| {
        let class = match smoke.result {
            SmokeResult::First | SmokeResult::Equal | SmokeResult::Close => "badge done",
            SmokeResult::Different | SmokeResult::Failed => "badge failed",
            SmokeResult::Pending => "badge queued",
        };
        let words = capitalised(smoke.result.word());
        match smoke.url {
            Some(url) => view! {
                <a href=image::address(&url) class=class>
                    {words}
                </a>
            }
            .into_any(),
            None => view! { <span class=class>{words}</span> }.into_any(),
        }
    });
    let verdict = made.verdict.as_ref().map(|id| {
        view! { " · " <a href=evaluations::address(id)>{rests_on(made.action, outcome)}</a> }
    });
    view! {
        <tr id=format!("ledger-{}", made.number)>
            <td class="soft">{made.number}</td>
            <th scope="row" class="grow">{made.change()}</th>
            <td class="grow">{made.reason} <span class="soft">{verdict}</span></td>
            <td>{smoke}</td>
            <td>{made.who}</td>
            <td class="soft age">{ago(made.at)}</td>
        </tr>
    }
    .into_any()
}
