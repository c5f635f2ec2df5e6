//! The queue: jobs of every kind with what they wait for, their order, their cancellation, and the pause of new ones.

use adire_protocol::{JobQueue, QueuedJob, QueuedKind};
use leptos::prelude::*;

use super::{
    frame::{flash_line, head},
    times::ago,
};
use crate::words::duration;

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// In queue order.
    pub(crate) queue: JobQueue,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn queue(data: Queue) -> AnyView {
    let Queue { queue: JobQueue { paused, jobs }, flash } = data;
    let lead = match jobs.len() {
        0 => "Queue empty.".to_owned(),
        1 => "1 job queued or running.".to_owned(),
        more => format!(
            "{more} jobs queued or running: generations first, then evaluations and training runs between them; pushes run \
             beside these."
        ),
    };
    let empty = jobs.is_empty();
    let networks = networks(&jobs);
    let rows = jobs.into_iter().map(row).collect::<Vec<_>>();
    let (action, word) = if paused { ("resume", "Accept new jobs") } else { ("pause", "Pause new jobs") };
    view! {
        {head(
            "Queue",
            lead,
            view! {
                <a class="button" href="/admin/queue">
                    "Refresh"
                </a>
                <form method="post" action="/admin/queue">
                    <input type="hidden" name="action" value=action />
                    <button type="submit" class="button">
                        {word}
                    </button>
                </form>
            },
        )}
        {flash_line(flash)}
        {paused
            .then(|| {
                view! {
                    <p class="flash" role="status">
                        "New generations, training runs, evaluations and pushes are refused. What is queued still runs."
                    </p>
                }
            })}
        {empty
            .then(|| {
                view! {
                    <p class="nothing">
                        "Queued and running jobs appear here."
                    </p>
                }
            })}
        {(!empty)
            .then(|| {
                view! {
                    <div class="wide as-cards" tabindex="0" role="region" aria-label="Jobs">
                        <table class="list">
                            <thead>
                                <tr>
                                    <th scope="col">"Job"</th>
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
            "Cost is the expected time of work. Visitors take turns; moving a job changes its turn. Network addresses are deleted when a generation ends."
        </p>
    }
    .into_any()
}

fn row(job: QueuedJob) -> AnyView {
    let QueuedJob { id, kind, running, title, detail, owner, network, cost_ms, wait_ms, why, .. } = job;
    let (word, class) = if running { ("Running", "badge running") } else { ("Queued", "badge queued") };
    let wait = wait_ms.filter(|ms| *ms > 0).map(|ms| format!("starts in about {}", duration(ms as f64)));
    let waits = [why, wait].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let short = title.chars().take(60).collect::<String>();
    let from = match (kind, network) {
        (QueuedKind::Training | QueuedKind::Evaluation | QueuedKind::Push, _) => "admin".to_owned(),
        (QueuedKind::Generation, network) => network.unwrap_or_else(|| "this machine".to_owned()),
    };
    let visitor = owner.map(|owner| match owner.strip_prefix('~') {
        Some(_) => "no cookie".to_owned(),
        None => format!("visitor {owner}"),
    });
    let button = |action: &'static str, word: &'static str| {
        let label = format!("{word}: {short}");
        view! {
            <form method="post" action="/admin/queue">
                <input type="hidden" name="action" value=action />
                <input type="hidden" name="id" value=id.clone() />
                <button type="submit" class="button" aria-label=label>
                    {word}
                </button>
            </form>
        }
    };
    let moves = (!running).then(|| {
        view! {
            {button("front", "Front")}
            {button("earlier", "Earlier")}
            {button("later", "Later")}
        }
    });
    view! {
        <tr>
            <th scope="row" class="grow">
                <a class="strong prompt-cut" href=job.page>
                    {if title.is_empty() { "(no prompt)".to_owned() } else { title.clone() }}
                </a>
                <span class="soft">{detail}</span>
            </th>
            <td>
                <span class=class>{word}</span>
                <span class="soft">{waits}</span>
            </td>
            <td class="count">{duration(cost_ms as f64)}</td>
            <td>{from} <span class="soft">{visitor}</span></td>
            <td class="soft age">{ago(job.created_at)}</td>
            <td>
                <div class="head-actions">{moves} {button("cancel", "Cancel")}</div>
            </td>
        </tr>
    }
    .into_any()
}

/// Cancels all generations of one network.
fn networks(jobs: &[QueuedJob]) -> Option<AnyView> {
    let mut counted: Vec<(String, usize)> = Vec::new();
    for network in jobs.iter().filter_map(|job| job.network.clone()) {
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
