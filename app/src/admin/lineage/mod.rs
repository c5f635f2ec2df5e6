//! A lineage as a graph: columns from an image back to what it came from, every node a link, lines between them, and below
//! each version what was decided about it. A list in reading order, which is all that is left on a phone.

mod layout;
mod words;

use adire_protocol::{
    EvaluationState, Lineage, LineageKind, LineageNode, Stage, TrainingState, VerdictOutcome, capitalised,
};
use leptos::prelude::*;

use self::layout::{Cell, Layout};
use super::{
    outcome::{outcome, state_badge},
    state,
    times::ago,
    versions,
};
use crate::words::images;

/// Hex digits of a hash that are shown; all of them on hover.
const HASH_SHOWN: usize = 12;

/// The section of a page.
pub(super) fn section(lineage: &Lineage) -> AnyView {
    let totals = words::totals(lineage);
    view! {
        <section class="panel" aria-labelledby="lineage">
            <h2 id="lineage">"Lineage"</h2>
            <p class="hint">
                "Lines lead to what each thing came from. Below a version is what was decided about it. " {totals}
            </p>
            {graph(lineage)}
        </section>
    }
    .into_any()
}

fn graph(lineage: &Lineage) -> AnyView {
    let layout = Layout::of(lineage);
    let (columns, rows) = (layout.columns, layout.rows);
    let lines = layout.lines.iter().map(|line| view! { <path d=line.clone() /> }).collect::<Vec<_>>();
    let nodes = lineage.nodes.iter().filter_map(|node| {
        let cell = layout.cells.get(node.id.as_str())?;
        Some(card(lineage, node, *cell))
    });
    let nodes = nodes.collect::<Vec<_>>();
    view! {
        <div class="wide" tabindex="0" role="region" aria-label="Lineage graph">
            <div class="lineage" style=format!("--columns:{columns}")>
                <svg viewBox=format!("0 0 {columns} {rows}") preserveAspectRatio="none" aria-hidden="true">
                    {lines}
                </svg>
                <ol>{nodes}</ol>
            </div>
        </div>
    }
    .into_any()
}

fn card(lineage: &Lineage, node: &LineageNode, cell: Cell) -> AnyView {
    let Cell { column, row, height, below } = cell;
    let place = format!("grid-area:{}/{}/span {height}", row + 1, column + 1);
    let is_root = node.id == lineage.root;
    let content = content(lineage, node);
    let class = if is_root { "node root" } else { "node" };
    let card = match node.page.clone().filter(|_| !is_root) {
        Some(page) => view! {
            <a class=class href=page>
                {content}
            </a>
        }
        .into_any(),
        None => view! { <div class=class>{content}</div> }.into_any(),
    };
    view! {
        <li style=place class=below.then_some("below-it")>
            {card}
        </li>
    }
    .into_any()
}

fn content(lineage: &Lineage, node: &LineageNode) -> AnyView {
    let image = node.image.clone().map(|url| {
        view! { <img src=url alt="" width="56" height="56" loading="lazy" decoding="async" /> }
    });
    let (role, of) = (words::role(lineage, node), words::of_whom(lineage, node));
    let count = node.images.map(|count| images(u32::try_from(count).unwrap_or(u32::MAX)));
    // Of these the content matters: what was trained on, and with.
    let shows_hash = matches!(node.kind, LineageKind::Dataset | LineageKind::BaseModel);
    let hash = node.hash.clone().filter(|_| shows_hash);
    let hash = hash.map(|hash| (hash.chars().take(HASH_SHOWN).collect::<String>(), hash));
    let detail = [count, Some(node.detail.clone()).filter(|detail| !detail.is_empty())];
    let detail = detail.into_iter().flatten().collect::<Vec<_>>().join(" · ");
    view! {
        {image}
        <span class="node-text">
            <span class="soft">{role} <span class="of-whom">{of}</span></span>
            <b title=node.name.clone()>{node.name.clone()}</b>
            {(!detail.is_empty()).then(|| view! { <span class="soft" title=detail.clone()>{detail.clone()}</span> })}
            {hash.map(|(short, hash)| view! { <span class="soft" title=hash>{format!("sha256 {short}")}</span> })}
            <span class="node-end">
                {badge(node)} {node.at.map(|at| view! { <span class="soft age">{ago(at)}</span> })}
            </span>
        </span>
    }
    .into_any()
}

/// Its stage, outcome or state.
fn badge(node: &LineageNode) -> Option<AnyView> {
    if node.deleted {
        return Some(view! { <span class="badge cancelled">"Deleted"</span> }.into_any());
    }
    let word = node.state.as_deref()?;
    match node.kind {
        LineageKind::Version => Stage::from_word(word).map(versions::badge),
        LineageKind::Evaluation => VerdictOutcome::from_word(word)
            .map(outcome)
            .or_else(|| EvaluationState::of(word).map(state_badge)),
        LineageKind::TrainingRun => {
            TrainingState::ALL.into_iter().find(|state| state.name() == word).map(state::badge)
        }
        LineageKind::Publication => {
            let class = format!("badge {word}");
            Some(view! { <span class=class>{capitalised(word)}</span> }.into_any())
        }
        _ => None,
    }
}
