//! The list of adapters, and a page for each version. Plain documents without any script.

use std::collections::BTreeMap;

use adire_protocol::{AdapterDetail, AdapterReceipt, AdapterVersion, ModelInfo, Stage, capitalised, size};
use leptos::prelude::*;

use crate::{
    components::logo,
    form::{self, AdapterRow, FormValues, by_name, default_of},
    words::number,
};

/// Entries of a list that are written out.
const MAX_LISTED: usize = 24;

/// What the page of one version shows.
#[derive(Clone)]
pub(crate) struct AdapterData {
    pub(crate) detail: AdapterDetail,
    /// Every version of that name, newest first.
    pub(crate) versions: Vec<AdapterVersion>,
    pub(crate) model: ModelInfo,
}

/// The bar at the top of a page without a script.
#[component]
pub(super) fn Bar() -> impl IntoView {
    view! {
        <header class="bar">
            <h1>
                <a href="/">
                    {logo()}
                    "Adire"
                </a>
            </h1>
            <nav class="bar-end" aria-label="Pages">
                <a class="quiet" href="/">
                    "Studio"
                </a>
                <a class="quiet" href="/history">
                    "History"
                </a>
                <a class="quiet" href="/adapters">
                    "Adapters"
                </a>
            </nav>
        </header>
    }
}

/// Every adapter with the version in production, or else its newest one.
#[component]
pub(crate) fn AdaptersPage(adapters: Vec<AdapterVersion>, model: ModelInfo) -> impl IntoView {
    let names = by_name(&adapters);
    let none = names.is_empty();
    let cards = names.into_iter().filter_map(|(name, versions)| {
        let shown = default_of(&versions)?.clone();
        let others = versions
            .iter()
            .map(|version| view! { <a class="chip" href=page_of(version)>{label(version)}</a> }.into_any());
        let others = others.collect::<Vec<_>>();
        Some(view! {
            <li class="sheet">
                <h3>
                    <a href=page_of(&shown)>{name}</a>
                </h3>
                <p>{described(&shown)}</p>
                <p class="hint">{format!("{}{}", size(shown.bytes), trigger_words(&shown))}</p>
                <div class="sheet-end">
                    {others}
                    <a class="button" href=try_it(&shown, &model)>
                        "Try in studio"
                    </a>
                </div>
            </li>
        })
    });
    let cards = cards.collect::<Vec<_>>();
    let model_name = model.name.clone();
    view! {
        <Bar />
        <main class="paper">
            <h2>"Adapters"</h2>
            <p class="lead">
                {format!("LoRA adapters for {model_name}. Versions are immutable; request one as name@v2.")}
            </p>
            {none
                .then(|| {
                    view! {
                        <p class="sheet">
                            "No adapters yet. The admin can add a LoRA file, or train one, at "
                            <a href="/admin/versions">"Versions"</a>
                            "."
                        </p>
                    }
                })}
            <ul class="sheets">{cards}</ul>
        </main>
    }
}

/// One version: its file and its receipt.
#[component]
pub(crate) fn AdapterPage(data: AdapterData) -> impl IntoView {
    let AdapterData { detail: AdapterDetail { version, receipt, downloads }, versions, model } = data;
    let others = versions.iter().map(|other| {
        let current = (other.version == version.version).then_some("page");
        view! {
            <li>
                <a class="chip" href=page_of(other) aria-current=current>
                    {label(other)}
                </a>
            </li>
        }
    });
    let others = others.collect::<Vec<_>>();
    let file = format!("/api/v1/adapters/{}/file", version.id());
    let mut facts = Vec::new();
    if !version.trigger.is_empty() {
        facts.push(("Trigger word", format!("“{}”", version.trigger)));
    }
    facts.push(("Stage", capitalised(version.stage.word())));
    if !version.aliases.is_empty() {
        let names = version.aliases.iter().map(|alias| format!("{}@{alias}", version.name));
        facts.push(("Aliases", names.collect::<Vec<_>>().join(", ")));
    }
    facts.push(("Size", format!("{}, safetensors", size(version.bytes))));
    if let Some(receipt) = &receipt {
        facts.extend(facts_of(receipt));
    }
    facts.push(("sha256", version.hash.clone()));
    let model_name = model.name.clone();
    let rest = match receipt {
        Some(receipt) => view! { <ReceiptView receipt=receipt model=model_name /> }.into_any(),
        None => view! {
            <section class="sheet">
                <h3>"Receipt not ready"</h3>
                <p>
                    "The model is busy; this adapter is checked next. "
                    <a href=page_of(&version)>"Refresh"</a>
                </p>
            </section>
        }
        .into_any(),
    };
    view! {
        <Bar />
        <main class="paper">
            <p class="crumb">
                <a href="/adapters">"Adapters"</a>
            </p>
            <div class="paper-head">
                <h2>{version.name.clone()} " " <small>{format!("v{}", version.version)}</small></h2>
                <a class="primary" href=try_it(&version, &model)>
                    "Try in studio"
                </a>
                {downloads
                    .then(|| {
                        view! {
                            <a class="button" href=file download>
                                "Download"
                            </a>
                        }
                    })}
            </div>
            <p class="lead">{described(&version)}</p>
            <ul class="versions" aria-label="Versions">
                {others}
            </ul>
            <section class="sheet">
                <h3>"File"</h3>
                <dl class="facts">{facts.into_iter().map(fact).collect::<Vec<_>>()}</dl>
            </section>
            {rest}
        </main>
    }
}

/// `v3`, or `v3 · production`.
fn label(version: &AdapterVersion) -> String {
    let production = if version.stage == Stage::Production { " · production" } else { "" };
    format!("v{}{production}", version.version)
}

fn fact((name, value): (&'static str, String)) -> impl IntoView {
    view! {
        <div>
            <dt>{name}</dt>
            <dd>{value}</dd>
        </div>
    }
}

fn facts_of(receipt: &AdapterReceipt) -> Vec<(&'static str, String)> {
    let layers = &receipt.applied;
    let kinds = counted(layers.iter().map(|layer| layer.kind.clone()));
    let ranks = counted(layers.iter().map(|layer| format!("rank {}", layer.rank)));
    let scales = counted(layers.iter().map(|layer| number(layer.scale)));
    vec![
        ("Format", receipt.formats.join(", ")),
        ("Base model", receipt.family.clone()),
        ("Layers", format!("{kinds}; {ranks}")),
        ("Effective scale", format!("{scales} at strength 1 (alpha / rank)")),
    ]
}

/// The receipt: change per block, skipped layers and unknown tensors.
#[component]
fn ReceiptView(receipt: AdapterReceipt, model: String) -> impl IntoView {
    let of = |component: &str| receipt.applied.iter().filter(|layer| layer.component == component).count();
    let applied = format!(
        "Applied to {model}: {} layers of the UNet, {} of the text encoder. {} skipped, {} unknown.",
        of("unet"),
        of("text_encoder"),
        receipt.skipped.len(),
        receipt.unknown.len(),
    );
    let blocks = receipt.by_block();
    let most = blocks.iter().fold(f64::MIN_POSITIVE, |most, block| most.max(block.mean));
    let bars = blocks.into_iter().map(|block| {
        let width = format!("width:{:.1}%", (block.mean / most * 100.0).clamp(0.0, 100.0));
        view! {
            <tr>
                <th scope="row">{block.block}</th>
                <td class="rail" aria-hidden="true">
                    <i style=width></i>
                </td>
                <td>{format!("{:.4}", block.mean)}</td>
                <td class="soft">{format!("{:.4}", block.most)}</td>
                <td class="soft">{block.layers}</td>
            </tr>
        }
    });
    let bars = bars.collect::<Vec<_>>();
    let skipped = receipt.skipped.iter().map(|layer| format!("{}: {}", layer.module, layer.reason)).collect();
    let layers = receipt.applied.into_iter().map(|layer| {
        view! {
            <tr>
                <th scope="row">{layer.module}</th>
                <td>{layer.kind}</td>
                <td>{layer.rank}</td>
                <td>{number(layer.scale)}</td>
                <td>{format!("{:.4}", layer.ratio)}</td>
            </tr>
        }
    });
    let layers = layers.collect::<Vec<_>>();
    view! {
        <section class="sheet">
            <h3>"Receipt"</h3>
            <p>{applied}</p>
            {receipt.warning.map(|warning| view! { <p class="notice" role="note">{warning}</p> })}
            <div class="wide" tabindex="0" role="region" aria-label="Change per block">
                <table class="bars">
                    <caption>"Relative change per block, ‖ΔW‖ / ‖W‖ at strength 1"</caption>
                    <thead>
                        <tr>
                            <th scope="col">"Block"</th>
                            <td></td>
                            <th scope="col">"Mean"</th>
                            <th scope="col">"Largest"</th>
                            <th scope="col">"Layers"</th>
                        </tr>
                    </thead>
                    <tbody>{bars}</tbody>
                </table>
            </div>
            <Listed title="Skipped: layers this model lacks" items=skipped />
            <Listed title="Unknown: unrecognised tensors" items=receipt.unknown />
            <details class="fold">
                <summary>"All layers"</summary>
                <div class="wide" tabindex="0" role="region" aria-label="All layers">
                    <table>
                        <thead>
                            <tr>
                                <th scope="col">"Layer"</th>
                                <th scope="col">"Kind"</th>
                                <th scope="col">"Rank"</th>
                                <th scope="col">"Scale"</th>
                                <th scope="col">"‖ΔW‖ / ‖W‖"</th>
                            </tr>
                        </thead>
                        <tbody>{layers}</tbody>
                    </table>
                </div>
            </details>
        </section>
    }
}

/// A folded list; nothing without items.
#[component]
fn Listed(title: &'static str, items: Vec<String>) -> impl IntoView {
    let more = items.len().saturating_sub(MAX_LISTED);
    let any = !items.is_empty();
    any.then(|| {
        let items =
            items.into_iter().take(MAX_LISTED).map(|item| view! { <li>{item}</li> }).collect::<Vec<_>>();
        view! {
            <details class="fold">
                <summary>{title}</summary>
                <ul class="listed">
                    {items} {(more > 0).then(|| view! { <li>{format!("and {more} more")}</li> })}
                </ul>
            </details>
        }
    })
}

fn page_of(version: &AdapterVersion) -> String {
    format!("/adapters/{}", version.id())
}

/// The studio with this adapter and a prompt with its trigger word.
fn try_it(version: &AdapterVersion, model: &ModelInfo) -> String {
    let trigger = &version.trigger;
    let examples: Vec<&str> = model.example_prompts.iter().map(|example| example.prompt.as_str()).collect();
    let fitting = examples.iter().find(|prompt| !trigger.is_empty() && prompt.contains(trigger.as_str()));
    let prompt = match (fitting, examples.first()) {
        (Some(prompt), _) => (*prompt).to_owned(),
        (None, Some(first)) if !trigger.is_empty() => format!("{first}, {trigger}"),
        (None, first) => first.map_or_else(|| trigger.clone(), |first| (*first).to_owned()),
    };
    let row = AdapterRow::of(version.id());
    format!("/?{}", form::encode(&FormValues { prompt, adapters: vec![row], ..FormValues::default() }))
}

fn described(version: &AdapterVersion) -> String {
    if version.description.is_empty() { "No description.".to_owned() } else { version.description.clone() }
}

fn trigger_words(version: &AdapterVersion) -> String {
    if version.trigger.is_empty() { String::new() } else { format!(" · “{}”", version.trigger) }
}

/// `lora`, or `lora (90), lokr (6)` where there are several kinds.
fn counted(values: impl Iterator<Item = String>) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    match counts.len() {
        1 => counts.into_keys().collect(),
        _ => {
            let mut counts: Vec<_> = counts.into_iter().collect();
            counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            let more = if counts.len() > MAX_LISTED { ", …" } else { "" };
            let shown = counts.iter().take(MAX_LISTED).map(|(value, count)| format!("{value} ({count})"));
            shown.collect::<Vec<_>>().join(", ") + more
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short() {
        assert_eq!(counted(["a", "a"].map(str::to_owned).into_iter()), "a");
        assert_eq!(counted(["a", "b", "b"].map(str::to_owned).into_iter()), "b (2), a (1)");
    }
}
