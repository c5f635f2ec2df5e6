//! Where an operator arrives: what runs, what is new, and what to do first.

use adire_protocol::{AdapterVersion, DatasetSummary, ModelInfo, QueueStatus, TrainingRun, thumbnail_url};
use leptos::prelude::*;

use super::{
    frame::head,
    icons::Icon,
    page::AdminAccess,
    state::{badge, ends, progress, remark},
    times::ago,
};
use crate::words::{duration, images};

/// What the overview shows.
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
const SHOWN: usize = 4;

pub(super) fn overview(data: Overview, access: AdminAccess) -> AnyView {
    let Overview { model, queue, adapters, datasets, trainings } = data;
    let lead = format!("{} on {}, in {}.", model.name, model.device, model.dtype);
    let first_time = datasets.is_empty() && trainings.is_empty();
    let active: Vec<_> = trainings.iter().filter(|job| !job.state.is_resting()).cloned().collect();
    let rest = if first_time { begin() } else { lists(adapters, datasets, trainings) };
    view! {
        {head(
            "Overview",
            lead,
            (!first_time)
                .then(|| {
                    view! {
                        <a class="primary" href="/admin/training/new">
                            "Train an adapter"
                        </a>
                    }
                }),
        )}
        {unprotected(access)}
        {now(active, &queue, first_time)}
        {rest}
    }
    .into_any()
}

/// Who reads this has come in without a password.
fn unprotected(access: AdminAccess) -> Option<impl IntoView> {
    let how = match access {
        AdminAccess::Password => return None,
        AdminAccess::Link => "No password is set: whoever has the link that the server printed can come in.",
        AdminAccess::ThisMachine => {
            "No password is set, and the server was started with --open-admin: everyone who uses this machine, or can have a connection forwarded from it, can come in."
        }
    };
    Some(view! {
        <p class="note">
            {how} " "
            <a href="/admin/set-up">"Set a password"</a>
        </p>
    })
}

fn now(active: Vec<TrainingRun>, queue: &QueueStatus, first_time: bool) -> AnyView {
    let studio = match queue.ahead {
        0 => "Nobody waits for a picture.".to_owned(),
        1 => "1 picture is being made.".to_owned(),
        more => format!("{} are being made or wait.", images(more)),
    };
    let training = if active.is_empty() && !first_time {
        view! { <p class="soft">"Nothing is being trained."</p> }.into_any()
    } else {
        let jobs = active.into_iter().map(|job| {
            let address = format!("/admin/training/{}", job.id);
            view! {
                <li class="running-job">
                    <div class="line-up">
                        <a class="strong" href=address>
                            {job.name.clone()}
                        </a>
                        {badge(job.state)}
                        <span class="soft end">{remark(&job)}</span>
                    </div>
                    {progress(&job)}
                </li>
            }
        });
        view! { <ul class="stack">{jobs.collect::<Vec<_>>()}</ul> }.into_any()
    };
    view! {
        <section class="panel" aria-labelledby="now">
            <h2 id="now">"Now"</h2>
            {training}
            <p class="soft">
                {studio} " "
                {queue.step_ms.map(|ms| format!("A step of a picture takes {}.", length(ms)))}
            </p>
        </section>
    }
    .into_any()
}

fn length(ms: f64) -> String {
    if ms < 950.0 { format!("{ms:.0} ms") } else { duration(ms) }
}

/// The way from nothing to a version that people can choose.
fn begin() -> AnyView {
    view! {
        <section class="panel begin" aria-labelledby="begin">
            <h2 id="begin">"From a folder of pictures to a style of your own"</h2>
            <ol class="ways">
                <li>
                    <b>"Bring pictures"</b>
                    <p>"20 to 30 of one style; each with a line that says what it shows."</p>
                </li>
                <li>
                    <b>"Train"</b>
                    <p>"The defaults fit. Watch the samples take on the style; people keep making pictures meanwhile."</p>
                </li>
                <li>
                    <b>"Use it"</b>
                    <p>"The new version is in the studio's menu seconds after the training ends."</p>
                </li>
            </ol>
            <a class="primary" href="/admin/datasets#new">
                {Icon::Add.draw()}
                "Make a dataset"
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
    let ended = trainings.into_iter().filter(|job| job.state.is_resting()).take(SHOWN).map(|job| {
        view! {
            <li class="tall">
                <a class="strong" href=format!("/admin/training/{}", job.id)>
                    {job.name.clone()}
                </a>
                {badge(job.state)}
                <span class="soft">{ends(&job)}</span>
            </li>
        }
    });
    let ended = ended.collect::<Vec<_>>();
    let newest = adapters.into_iter().take(SHOWN).map(|version| {
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
    let datasets = datasets.into_iter().take(SHOWN).map(|dataset| {
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
            {listed("Newest versions", newest, "None yet. A training that ends makes one.")}
            {listed("Latest trainings", ended, "None has ended yet.")}
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
