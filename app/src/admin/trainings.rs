//! The list of training runs, their comparison, and how training shares the device with generations.

use adire_protocol::{TrainingRun, TrainingSettings};
use leptos::prelude::*;

use super::{
    frame::head,
    icons::Icon,
    state::{badge, improvement, progress, summary},
    times::ago,
};

/// Data of the list.
#[derive(Clone, Debug)]
pub(crate) struct Trainings {
    /// Newest first, each with the name of its dataset.
    pub(crate) all: Vec<(TrainingRun, String)>,
    pub(crate) settings: TrainingSettings,
    /// Whether there is anything to train on.
    pub(crate) datasets: bool,
    /// Whether there are runs that were taken over from elsewhere.
    pub(crate) imported: bool,
}

pub(super) fn trainings(data: Trainings) -> AnyView {
    let Trainings { all, settings, datasets, imported } = data;
    let can_compare = all.len() > 1;
    let list = if all.is_empty() { empty(datasets).into_any() } else { table(all, can_compare) };
    view! {
        {head(
            "Training",
            "One run at a time; generations go first.",
            datasets
                .then(|| {
                    view! {
                        <a class="primary" href="/admin/training/new">
                            {Icon::Add.draw()}
                            "New run"
                        </a>
                    }
                }),
        )}
        {list}
        {imported
            .then(|| {
                view! {
                    <p>
                        <a href="/admin/training/imported">"Imported runs"</a>
                    </p>
                }
            })}
        {sharing(settings)}
    }
    .into_any()
}

fn empty(datasets: bool) -> impl IntoView {
    let (sentence, address, words) = if datasets {
        (
            "No training runs yet. The defaults fit 20–30 images in one style.",
            "/admin/training/new",
            "Train adapter",
        )
    } else {
        ("No dataset to train on yet.", "/admin/datasets#new", "Create dataset")
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
    let rows = all.into_iter().map(|(run, dataset)| {
        let address = format!("/admin/training/{}", run.id);
        let number = match improvement(&run) {
            Some(change) if run.state.is_resting() => change,
            _ => summary(&run),
        };
        let choose = can_compare.then(|| {
            view! {
                <td class="choose">
                    <input
                        type="checkbox"
                        name="run"
                        value=run.id.clone()
                        autocomplete="off"
                        aria-label=format!("Compare {}, {dataset}", run.name)
                    />
                </td>
            }
        });
        let running = (!run.state.is_resting()).then(|| progress(&run));
        view! {
            <tr>
                {choose}
                <th scope="row">
                    <a class="strong" href=address>
                        {run.name.clone()}
                    </a>
                    <span class="soft">{format!("on {dataset}")}</span>
                </th>
                <td>{badge(run.state)}</td>
                <td class="grow">{number} {running}</td>
                <td class="soft age">{run.state.is_resting().then(|| ago(run.finished_at.unwrap_or(run.created_at)))}</td>
            </tr>
        }
    });
    let rows = rows.collect::<Vec<_>>();
    view! {
        <form method="get" action="/admin/training/compare">
            <div class="wide" tabindex="0" role="region" aria-label="Training runs">
                <table class="list">
                    <thead>
                        <tr>
                            {can_compare.then(|| view! { <td></td> })} <th scope="col">"Run"</th>
                            <th scope="col">"State"</th> <th scope="col">"Progress"</th>
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
                                "Compare selected"
                            </button>
                        </p>
                    }
                })}
        </form>
    }
    .into_any()
}

fn sharing(settings: TrainingSettings) -> AnyView {
    let pauses = settings.yield_to_generations;
    let (state, button, value) = if pauses {
        (
            "Training pauses while generations are queued. Visitors barely notice; a busy studio trains slowly.",
            "Train between generations",
            "",
        )
    } else {
        (
            "One training step runs after each generation. Training always progresses; visitors wait one step longer.",
            "Pause for generations",
            "on",
        )
    };
    view! {
        <section class="panel" aria-labelledby="sharing">
            <h2 id="sharing">"Sharing the device"</h2>
            <div class="line-up">
                <p class="grow">{state}</p>
                <form method="post" action="/admin/training/settings">
                    <input type="hidden" name="yield_to_generations" value=value />
                    <button type="submit" class="button">
                        {button}
                    </button>
                </form>
            </div>
        </section>
    }
    .into_any()
}
