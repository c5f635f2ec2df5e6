//! The list of trainings, the way to compare some, and how training shares the device with people.

use adire_protocol::{TrainingRun, TrainingSettings};
use leptos::prelude::*;

use super::{
    frame::head,
    icons::Icon,
    state::{badge, improvement, progress, remark},
    times::ago,
};

/// What the list shows.
#[derive(Clone, Debug)]
pub(crate) struct Trainings {
    /// Newest first, each with the name of its dataset.
    pub(crate) all: Vec<(TrainingRun, String)>,
    pub(crate) settings: TrainingSettings,
    /// Whether there is anything to train on.
    pub(crate) datasets: bool,
}

pub(super) fn trainings(data: Trainings) -> AnyView {
    let Trainings { all, settings, datasets } = data;
    let can_compare = all.len() > 1;
    let list = if all.is_empty() { empty(datasets).into_any() } else { table(all, can_compare) };
    view! {
        {head(
            "Training",
            "One runs at a time, between people's pictures.",
            datasets
                .then(|| {
                    view! {
                        <a class="primary" href="/admin/training/new">
                            {Icon::Add.draw()}
                            "New training"
                        </a>
                    }
                }),
        )}
        {list}
        {sharing(settings)}
    }
    .into_any()
}

fn empty(datasets: bool) -> impl IntoView {
    let (sentence, address, words) = if datasets {
        (
            "Nothing has been trained yet. The defaults fit 20 to 30 pictures of one style.",
            "/admin/training/new",
            "Train an adapter",
        )
    } else {
        ("There is nothing to train on yet. Make a dataset first.", "/admin/datasets#new", "Make a dataset")
    };
    view! {
        <div class="nothing">
            <p>{sentence}</p>
            <a class="primary" href=address>
                {words}
            </a>
        </div>
    }
}

fn table(all: Vec<(TrainingRun, String)>, can_compare: bool) -> AnyView {
    let rows = all.into_iter().map(|(job, dataset)| {
        let address = format!("/admin/training/{}", job.id);
        let number = match improvement(&job) {
            Some(change) if job.state.is_resting() => change,
            _ => remark(&job),
        };
        let choose = can_compare.then(|| {
            view! {
                <td class="choose">
                    <input
                        type="checkbox"
                        name="job"
                        value=job.id.clone()
                        autocomplete="off"
                        aria-label=format!("Compare {}, {dataset}", job.name)
                    />
                </td>
            }
        });
        let running = (!job.state.is_resting()).then(|| progress(&job));
        view! {
            <tr>
                {choose}
                <th scope="row">
                    <a class="strong" href=address>
                        {job.name.clone()}
                    </a>
                    <span class="soft">{format!("on {dataset}")}</span>
                </th>
                <td>{badge(job.state)}</td>
                <td class="grow">{number} {running}</td>
                <td class="soft age">{job.state.is_resting().then(|| ago(job.finished_at.unwrap_or(job.created_at)))}</td>
            </tr>
        }
    });
    let rows = rows.collect::<Vec<_>>();
    view! {
        <form method="get" action="/admin/training/compare">
            <div class="wide" tabindex="0" role="region" aria-label="Trainings">
                <table class="list">
                    <thead>
                        <tr>
                            {can_compare.then(|| view! { <td></td> })} <th scope="col">"What"</th>
                            <th scope="col">"State"</th> <th scope="col">"How far, how well"</th>
                            <th scope="col">"When"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            {can_compare
                .then(|| {
                    view! {
                        <p class="below">
                            <button type="submit" class="button">
                                "Compare the chosen ones"
                            </button>
                        </p>
                    }
                })}
        </form>
    }
    .into_any()
}

fn sharing(settings: TrainingSettings) -> AnyView {
    let pauses = settings.pause_while_people_wait;
    let (state, button, value) = if pauses {
        (
            "Training rests as long as anyone waits for a picture. People notice little; a busy studio trains slowly.",
            "Let training go on between pictures",
            "",
        )
    } else {
        (
            "One step of training is made after each picture. Training always gets ahead; people wait a step longer.",
            "Let training rest while people wait",
            "on",
        )
    };
    view! {
        <section class="panel" aria-labelledby="sharing">
            <h2 id="sharing">"Sharing the device"</h2>
            <div class="line-up">
                <p class="grow">{state}</p>
                <form method="post" action="/admin/training/settings">
                    <input type="hidden" name="pause_while_people_wait" value=value />
                    <button type="submit" class="button">
                        {button}
                    </button>
                </form>
            </div>
        </section>
    }
    .into_any()
}
