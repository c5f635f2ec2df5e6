//! The overview: what is running, what is new, and first steps.

use adire_protocol::{AdapterVersion, DatasetSummary, ModelInfo, QueueStatus, TrainingRun, thumbnail_url};
use leptos::prelude::*;

use super::{
    access::AdminAccess,
    frame::head,
    icons::Icon,
    state::{badge, ends, progress, summary},
    times::ago,
};
use crate::words::{duration, images};

/// Data of the overview.
#[derive(Clone, Debug)]
pub(crate) struct Overview {
    pub(crate) model: ModelInfo,
    pub(crate) queue: QueueStatus,
    /// Newest first.
    pub(crate) adapters: Vec<AdapterVersion>,
    /// Newest first.
    pub(crate) datasets: Vec<DatasetSummary>,
    /// Newest first.
    pub(crate) trainings: Vec<TrainingRun>,
}

/// Entries of each list.
const MAX_LISTED: usize = 4;

pub(super) fn overview(data: Overview, access: AdminAccess) -> AnyView {
    let Overview { model, queue, adapters, datasets, trainings } = data;
    let lead = format!("{} on {}, in {}.", model.name, model.device, model.dtype);
    let first_time = datasets.is_empty() && trainings.is_empty();
    let active: Vec<_> = trainings.iter().filter(|run| !run.state.is_resting()).cloned().collect();
    let rest = if first_time { begin() } else { lists(adapters, datasets, trainings) };
    view! {
        {head(
            "Overview",
            lead,
            view! {
                <a class="button" href="/admin/live">
                    "Live tonight"
                </a>
                {(!first_time)
                    .then(|| {
                        view! {
                            <a class="primary" href="/admin/training/new">
                                "Train adapter"
                            </a>
                        }
                    })}
            },
        )}
        {unprotected(access)}
        {now(active, &queue, first_time)}
        {rest}
    }
    .into_any()
}

/// A warning while no admin password is set.
fn unprotected(access: AdminAccess) -> Option<impl IntoView> {
    let how = match access {
        AdminAccess::Password => return None,
        AdminAccess::Link => {
            "No admin password is set: anyone with the link that the server printed can sign in."
        }
        AdminAccess::ThisMachine => {
            "No admin password is set and the server runs with --open-admin: anyone on this machine, or whose connection it forwards, can open these pages."
        }
    };
    Some(view! {
        <p class="note">
            {how} " "
            <a href="/admin/set-up">"Set password"</a>
        </p>
    })
}

fn now(active: Vec<TrainingRun>, queue: &QueueStatus, first_time: bool) -> AnyView {
    let studio = match queue.ahead {
        0 => "Queue empty.".to_owned(),
        1 => "1 generation running.".to_owned(),
        more => format!("{more} generations queued or running."),
    };
    let training = if active.is_empty() && !first_time {
        view! { <p class="soft">"No training run in progress."</p> }.into_any()
    } else {
        let runs = active.into_iter().map(|run| {
            let address = format!("/admin/training/{}", run.id);
            view! {
                <li>
                    <div class="line-up">
                        <a class="strong" href=address>
                            {run.name.clone()}
                        </a>
                        {badge(run.state)}
                        <span class="soft end">{summary(&run)}</span>
                    </div>
                    {progress(&run)}
                </li>
            }
        });
        view! { <ul class="stack">{runs.collect::<Vec<_>>()}</ul> }.into_any()
    };
    view! {
        <section class="panel" aria-labelledby="now">
            <h2 id="now">"Now"</h2>
            {training}
            <p class="soft">
                {studio} " "
                {queue.step_ms.map(|ms| format!("{} per sampling step.", length(ms)))}
            </p>
        </section>
    }
    .into_any()
}

fn length(ms: f64) -> String {
    if ms < 950.0 { format!("{ms:.0} ms") } else { duration(ms) }
}

/// First steps, from images to an adapter version.
fn begin() -> AnyView {
    view! {
        <section class="panel begin" aria-labelledby="begin">
            <h2 id="begin">"Train your first adapter"</h2>
            <ol class="ways">
                <li>
                    <b>"Add images"</b>
                    <p>"20–30 images in one style, each with a caption."</p>
                </li>
                <li>
                    <b>"Train"</b>
                    <p>"Keep the defaults and watch the samples. The studio stays available."</p>
                </li>
                <li>
                    <b>"Use it"</b>
                    <p>"The new version appears in the studio as soon as the run is done."</p>
                </li>
            </ol>
            <a class="primary" href="/admin/datasets#new">
                {Icon::Add.draw()}
                "Create dataset"
            </a>
        </section>
    }
    .into_any()
}

fn lists(
    adapters: Vec<AdapterVersion>,
    datasets: Vec<DatasetSummary>,
    trainings: Vec<TrainingRun>,
) -> AnyView {
    let ended = trainings.into_iter().filter(|run| run.state.is_resting()).take(MAX_LISTED).map(|run| {
        view! {
            <li class="tall">
                <a class="strong" href=format!("/admin/training/{}", run.id)>
                    {run.name.clone()}
                </a>
                {badge(run.state)}
                <span class="soft">{ends(&run)}</span>
            </li>
        }
    });
    let ended = ended.collect::<Vec<_>>();
    let newest = adapters.into_iter().take(MAX_LISTED).map(|version| {
        view! {
            <li>
                <a class="strong" href=format!("/adapters/{}", version.id())>
                    {version.name.clone()}
                    " "
                    <span class="soft">{format!("v{}", version.version)}</span>
                </a>
                <span class="soft grow">{version.trigger.clone()}</span>
                <span class="soft end">{ago(version.created_at)}</span>
            </li>
        }
    });
    let newest = newest.collect::<Vec<_>>();
    let datasets = datasets.into_iter().take(MAX_LISTED).map(|dataset| {
        let cover = dataset.cover.as_ref().map(|cover| {
            view! { <img src=thumbnail_url(&dataset.id, cover) alt="" width="40" height="40" loading="lazy" /> }
        });
        view! {
            <li>
                {cover}
                <a class="strong" href=format!("/admin/datasets/{}", dataset.id)>
                    {dataset.name.clone()}
                </a>
                <span class="soft end">{images(dataset.images)}</span>
            </li>
        }
    });
    view! {
        <div class="columns">
            {listed("Newest versions", newest, "None yet. Each finished run creates one.")}
            {listed("Latest runs", ended, "No finished runs yet.")}
            {listed("Datasets", datasets.collect(), "None yet.")}
        </div>
    }
    .into_any()
}

fn listed(title: &'static str, entries: Vec<impl IntoView + 'static>, none: &'static str) -> AnyView {
    let empty = entries.is_empty();
    view! {
        <section class="panel">
            <h2>{title}</h2>
            {empty.then(|| view! { <p class="soft">{none}</p> })}
            <ul class="lines">{entries}</ul>
        </section>
    }
    .into_any()
}
