//! From an empty dataset to a public link: what is done, and the next thing to do.

use adire_protocol::{AdapterVersion, EvaluationState, Stage, TrainingState};
use adire_studio::{Studio, StudioError};
use leptos::prelude::*;

use super::frame::head;

/// Fewest images that a dataset should have.
const FEWEST_IMAGES: u32 = 10;

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct Tonight {
    /// The adapter that it is about: that of the newest version trained here, else one in production.
    name: Option<String>,
    steps: Vec<Step>,
    /// Scheme and host by which the page was reached.
    origin: String,
    /// Whether others can reach that host.
    public: bool,
}

/// Something to do on the way.
#[derive(Clone, Debug)]
struct Step {
    title: &'static str,
    done: bool,
    /// How far it is, or what to do.
    text: String,
    /// Where to do it: address and words of the button.
    action: Option<(String, &'static str)>,
}

impl Step {
    fn new(
        title: &'static str,
        done: bool,
        text: impl Into<String>,
        address: impl Into<String>,
        words: &'static str,
    ) -> Self {
        Self { title, done, text: text.into(), action: Some((address.into(), words)) }
    }
}

/// Looks at what there is.
pub(super) async fn load(studio: &Studio, origin: String, public: bool) -> Result<Tonight, StudioError> {
    let (datasets, runs) = (studio.datasets().await?, studio.trainings().await?);
    let versions = studio.adapters().await?;
    // Runs are newest first. A version that came with the model, or from elsewhere, counts once it was promoted.
    let made = runs.iter().filter(|run| run.state == TrainingState::Done).find_map(|run| run.version.clone());
    let is_production = |version: &&AdapterVersion| version.stage == Stage::Production;
    let newest = versions
        .iter()
        .find(|version| Some(version.id()) == made)
        .or_else(|| versions.iter().find(is_production));
    let name = newest.map(|version| version.name.clone());
    let dataset = datasets.first();
    // A trained version needs no dataset any more.
    let has_version = newest.is_some();
    let images = dataset.map_or(0, |dataset| dataset.images);
    let mut steps = vec![match dataset {
        _ if has_version => Step::new("Images", true, "A version is there.", "/admin/datasets", "Datasets"),
        None => Step::new(
            "Images",
            false,
            "Create a dataset and drop 20–30 images of one style.",
            "/admin/datasets#new",
            "Create dataset",
        ),
        Some(dataset) => Step::new(
            "Images",
            images >= FEWEST_IMAGES,
            format!("{} has {images} images; {FEWEST_IMAGES} are a start, 20–30 are good.", dataset.name),
            format!("/admin/datasets/{}", dataset.id),
            "Add images",
        ),
    }];
    let captioned = match dataset.filter(|_| !has_version) {
        Some(dataset) => {
            let record = studio.dataset(&dataset.id).await?;
            let own = record.images.iter().filter(|image| !image.caption.trim().is_empty()).count();
            (own, record.images.len(), !record.caption.trim().is_empty())
        }
        None => (0, 0, has_version),
    };
    let (own, all, has_default) = captioned;
    let text = if has_version {
        "A version is there.".to_owned()
    } else {
        format!("{own} of {all} images have a caption of their own.")
    };
    let page = dataset
        .map_or_else(|| "/admin/datasets".to_owned(), |dataset| format!("/admin/datasets/{}", dataset.id));
    let captions = has_version || (all > 0 && (own == all || has_default));
    steps.push(Step::new("Captions", captions, text, page, "Write captions"));
    let running = runs.iter().find(|run| !run.state.is_resting());
    steps.push(match (running, runs.iter().find(|run| run.state == TrainingState::Failed)) {
        _ if has_version => {
            Step::new("Training", true, "A version is there.", "/admin/training", "Training runs")
        }
        (Some(run), _) => Step::new(
            "Training",
            false,
            format!("{} is being trained.", run.name),
            format!("/admin/training/{}", run.id),
            "Watch",
        ),
        (None, Some(run)) => Step::new(
            "Training",
            false,
            format!("The run of {} failed.", run.name),
            format!("/admin/training/{}", run.id),
            "See why",
        ),
        (None, None) => Step::new(
            "Training",
            false,
            "Keep the defaults and start.",
            "/admin/training/new",
            "Train adapter",
        ),
    });
    let production =
        versions.iter().find(|version| Some(&version.name) == name.as_ref() && is_production(version));
    let evaluations = match &name {
        Some(name) => studio.evaluations(Some(name)).await?,
        None => Vec::new(),
    };
    let candidate = newest.map(AdapterVersion::id);
    let of_candidate = evaluations.iter().find(|record| Some(&record.version) == candidate.as_ref());
    steps.push(match of_candidate {
        _ if production.is_some() => {
            Step::new("Evaluation", true, "A version is in production.", "/admin/evaluations", "Evaluations")
        }
        Some(record) if record.state == EvaluationState::Done => {
            let verdict = record.verdict.as_ref().map_or("no verdict", |verdict| verdict.outcome.word());
            let page = format!("/admin/evaluations/{}", record.id);
            Step::new("Evaluation", true, format!("{}: {verdict}.", record.version), page, "Open evaluation")
        }
        Some(record) if !record.state.is_final() => {
            let text = format!("{} is being evaluated.", record.version);
            Step::new("Evaluation", false, text, format!("/admin/evaluations/{}", record.id), "Watch")
        }
        _ => Step::new(
            "Evaluation",
            false,
            "Compare the new version with the base model on a suite of prompts.",
            "/admin/evaluations#new",
            "Evaluate version",
        ),
    });
    steps.push(match production {
        Some(version) => {
            let page = format!("/admin/versions/{}", version.id());
            Step::new("Production", true, format!("{} is in production.", version.id()), page, "View version")
        }
        None => {
            let page =
                candidate.map_or_else(|| "/admin/versions".to_owned(), |id| format!("/admin/versions/{id}"));
            Step::new(
                "Production",
                false,
                "Promote the version that visitors should get.",
                page,
                "Promote version",
            )
        }
    });
    let host = if public {
        format!("This server is reached at {origin}.")
    } else {
        "This page was opened on the machine itself. Put the server behind https and open this page there: see docs/deploy.md.".to_owned()
    };
    steps.push(Step { title: "Public address", done: public, text: host, action: None });
    Ok(Tonight { name, steps, origin, public })
}

pub(super) fn tonight(data: Tonight) -> AnyView {
    let Tonight { name, steps, origin, public } = data;
    let next = steps.iter().position(|step| !step.done);
    let lead = match next {
        Some(next) => format!("Next: {}.", steps[next].title.to_lowercase()),
        None => "Everything is done. Send the link.".to_owned(),
    };
    let produced = steps.iter().take(5).all(|step| step.done);
    let rows =
        steps.into_iter().enumerate().map(|(at, step)| row(step, next == Some(at))).collect::<Vec<_>>();
    let link = name.filter(|_| produced).map(|name| {
        let page = format!("/try/{name}@production");
        let address = format!("{origin}{page}");
        let qr = format!("{page}/qr.svg");
        let hint = if public {
            "Whoever opens it only has to type a prompt."
        } else {
            "It works on this machine; the address changes with the public one."
        };
        view! {
            <section class="panel stack" aria-labelledby="link-title">
                <h2 id="link-title">"The link"</h2>
                <div class="field">
                    <label for="public-link">"For everyone"</label>
                    <input type="text" id="public-link" readonly value=address />
                    <p class="hint">{hint}</p>
                </div>
                <p>
                    <a class="button" href=page>
                        "Open"
                    </a>
                </p>
                <img src=qr alt="QR code of the link" width="200" height="200" />
            </section>
        }
    });
    view! {
        {head("Live tonight", lead, ())}
        <section class="panel" aria-label="Steps">
            <ol class="steps tonight">{rows}</ol>
        </section>
        {link}
    }
    .into_any()
}

fn row(step: Step, next: bool) -> AnyView {
    let Step { title, done, text, action } = step;
    let (class, word) = match (done, next) {
        (true, _) => ("badge done", "Done"),
        (false, true) => ("badge running", "Next"),
        (false, false) => ("badge", "Later"),
    };
    let class_of_action = if next { "primary" } else { "button" };
    let button = action.filter(|_| !done).map(|(address, words)| {
        view! {
            <p>
                <a class=class_of_action href=address>
                    {words}
                </a>
            </p>
        }
    });
    view! {
        <li aria-current=next.then_some("step")>
            <div class="line-up">
                <b>{title}</b>
                <span class=class>{word}</span>
            </div>
            <p class="soft">{text}</p>
            {button}
        </li>
    }
    .into_any()
}
