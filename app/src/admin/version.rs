//! One adapter version: its stage, its shadow, its aliases, its lineage and the ledger of its adapter.

use adire_protocol::{
    Ledger, LedgerEntry, Lineage, ListedVersion, PRODUCTION, PushRecord, SmokeResult, capitalised,
};
use leptos::prelude::*;

use super::{
    evaluations::{StyleDatasets, evaluate_form},
    frame::{flash_line, head},
    image, lineage,
    push::push,
    shadow::{Shadow, shadow},
    times::ago,
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
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn version(data: VersionPage) -> AnyView {
    let VersionPage { listed, ledger, lineage, shadow: shadow_data, datasets, pushes, flash } = data;
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
        <section class="panel stack" aria-label="Version">
            <p>{badge(listed.version.stage)}</p>
            <dl class="facts">
                {fact("Visitors", [Some(shown), file].into_iter().flatten().collect::<Vec<_>>().join(", "))}
                {fact("Trigger word", listed.version.trigger.clone())}
                {fact("sha256", listed.version.hash.clone())}
            </dl>
            {offer}
        </section>
        {shadow(&id, listed.version.stage, is_there, shadow_data)}
        {push(&id, is_there, pushes)}
        <div class="columns two">{change} {aliases(&listed)}</div>
        {lineage::section(&lineage)}
        {history(ledger)}
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

fn entry(LedgerEntry { made, smoke }: LedgerEntry) -> AnyView {
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
    let verdict = made.verdict.clone().map(|_| " · with a verdict");
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
