//! The queue, and the cancellation of its generations.

use adire_protocol::{GenerationState, QueueEntry};
use leptos::prelude::*;

use super::{frame::head, times::ago};
use crate::words::{duration, number};

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// In queue order.
    pub(crate) entries: Vec<QueueEntry>,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn queue(data: Queue) -> AnyView {
    let Queue { entries, flash } = data;
    let lead = match entries.len() {
        0 => "Queue empty.".to_owned(),
        1 => "1 generation running.".to_owned(),
        more => format!("{more} generations queued or running, in this order."),
    };
    let empty = entries.is_empty();
    let networks = networks(&entries);
    let rows = entries.into_iter().map(row).collect::<Vec<_>>();
    view! {
        {head(
            "Queue",
            lead,
            view! {
                <a class="button" href="/admin/queue">
                    "Refresh"
                </a>
            },
        )}
        {flash.map(|flash| view! { <p class="flash" role="status">{flash}</p> })}
        {empty
            .then(|| {
                view! {
                    <p class="nothing">
                        "Queued and running generations appear here."
                    </p>
                }
            })}
        {(!empty)
            .then(|| {
                view! {
                    <div class="wide" tabindex="0" role="region" aria-label="Generations">
                        <table class="list">
                            <thead>
                                <tr>
                                    <th scope="col">"Generation"</th>
                                    <th scope="col">"State"</th>
                                    <th scope="col">"Cost"</th>
                                    <th scope="col">"From"</th>
                                    <th scope="col">"Submitted"</th>
                                    <td></td>
                                </tr>
                            </thead>
                            <tbody>{rows}</tbody>
                        </table>
                    </div>
                }
            })}
        {networks}
        <p class="hint">
            "Cost is images × steps × megapixels. Network addresses are deleted when a generation ends."
        </p>
    }
    .into_any()
}

fn row(entry: QueueEntry) -> AnyView {
    let QueueEntry { id, state, visitor, network, prompt, width, height, steps, count, .. } = entry;
    let what = format!(
        "{count} × {width} × {height}, {steps} steps{}",
        entry
            .progress
            .map(|progress| format!("; image {} at step {}", progress.image + 1, progress.step))
            .unwrap_or_default()
    );
    let (word, class) = match state {
        GenerationState::Running => ("Running", "badge running"),
        _ => ("Queued", "badge queued"),
    };
    let wait =
        entry.wait_ms.filter(|ms| *ms > 0).map(|ms| format!("starts in about {}", duration(ms as f64)));
    let label = format!("Cancel: {}", prompt.chars().take(60).collect::<String>());
    view! {
        <tr>
            <th scope="row" class="grow">
                <a class="strong prompt-cut" href=entry.links.page>
                    {if prompt.is_empty() { "(no prompt)".to_owned() } else { prompt }}
                </a>
                <span class="soft">{what}</span>
            </th>
            <td>
                <span class=class>{word}</span>
                <span class="soft">{wait}</span>
            </td>
            <td class="count">{number((entry.cost * 10.0).round() / 10.0)}</td>
            <td>
                {network.unwrap_or_else(|| "this machine".to_owned())}
                <span class="soft">
                    {visitor.map_or_else(|| "no cookie".to_owned(), |digest| format!("visitor {}", short(&digest)))}
                </span>
            </td>
            <td class="soft age">{ago(entry.created_at)}</td>
            <td>
                <form method="post" action="/admin/queue">
                    <input type="hidden" name="action" value="cancel" />
                    <input type="hidden" name="id" value=id />
                    <button type="submit" class="button" aria-label=label>
                        "Cancel"
                    </button>
                </form>
            </td>
        </tr>
    }
    .into_any()
}

/// Cancels all generations of one network.
fn networks(entries: &[QueueEntry]) -> Option<AnyView> {
    let mut counted: Vec<(String, usize)> = Vec::new();
    for network in entries.iter().filter_map(|entry| entry.network.clone()) {
        match counted.iter_mut().find(|(known, _)| *known == network) {
            Some((_, count)) => *count += 1,
            None => counted.push((network, 1)),
        }
    }
    counted.retain(|(_, count)| *count > 1);
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if counted.is_empty() {
        return None;
    }
    let rows = counted.into_iter().map(|(network, count)| {
        view! {
            <li class="line-up">
                <span class="grow">
                    {network.clone()} <span class="soft">{format!(" · {count} generations")}</span>
                </span>
                <form method="post" action="/admin/queue">
                    <input type="hidden" name="action" value="cancel-network" />
                    <input type="hidden" name="network" value=network.clone() />
                    <button type="submit" class="stop">
                        {format!("Cancel {count} generations")}
                    </button>
                </form>
            </li>
        }
    });
    let rows = rows.collect::<Vec<_>>();
    Some(
        view! {
            <details class="panel" id="networks">
                <summary>"Cancel by network"</summary>
                <ul class="stack">{rows}</ul>
            </details>
        }
        .into_any(),
    )
}

/// A digest shortened enough to distinguish visitors.
pub(super) fn short(digest: &str) -> String {
    digest.chars().take(8).collect()
}
