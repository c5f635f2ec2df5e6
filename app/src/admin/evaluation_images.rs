//! The images of an evaluation: models beside each other by prompt and seed, and rendered images beside the training images
//! that they resemble.

use std::collections::{BTreeMap, BTreeSet};

use adire_protocol::{
    EvaluationImage, EvaluationRecord, EvaluationRole, EvaluationVerdict, FailedImage, Suspect,
};
use leptos::prelude::*;

use super::image::address;
use crate::words::number;

/// Rows that are shown without unfolding the rest.
const FIRST: usize = 3;

/// The images of one prompt and seed.
#[derive(Clone, Debug)]
struct Row {
    prompt: u32,
    text: String,
    seed: u64,
    images: Vec<EvaluationImage>,
}

/// The same prompt and seed by the base model, the champion and the challenger.
pub(super) fn prompts(record: &EvaluationRecord, images: &[EvaluationImage]) -> AnyView {
    let roles = [EvaluationRole::Base, EvaluationRole::Champion, EvaluationRole::Challenger];
    let rows = rows(images, &roles);
    let hint = if rows.is_empty() && record.state.is_final() {
        "The evaluation ended before the suite's prompts were rendered."
    } else if rows.is_empty() {
        "Images appear here as they are rendered."
    } else {
        "Same prompt, same noise. The base model gets plain words instead of the trigger word."
    };
    let count = rows.len();
    // The first row of each prompt is where its numbers lead.
    let mut seen = BTreeSet::new();
    let views = rows.into_iter().map(|row| {
        let anchor = seen.insert(row.prompt).then(|| format!("prompt-{}", row.prompt));
        triptych(record, row, &roles, anchor)
    });
    let mut views = views.collect::<Vec<_>>();
    let rest = views.split_off(FIRST.min(count));
    let rest = (!rest.is_empty()).then(|| {
        view! {
            <details id="all-prompts">
                <summary>{format!("{} more", rest.len())}</summary>
                {rest}
            </details>
        }
    });
    view! {
        <section class="panel" aria-labelledby="prompts">
            <h2 id="prompts">"Images"</h2>
            <p class="hint">{hint}</p>
            {views}
            {rest}
        </section>
    }
    .into_any()
}

/// By prompt and seed; in each row one image of each role, in their order.
fn rows(images: &[EvaluationImage], roles: &[EvaluationRole]) -> Vec<Row> {
    let mut rows = BTreeMap::<(u32, u64), Vec<EvaluationImage>>::new();
    for role in roles {
        for image in images.iter().filter(|image| image.role == *role) {
            rows.entry((image.prompt, image.seed)).or_default().push(image.clone());
        }
    }
    let row = |((prompt, seed), images): ((u32, u64), Vec<EvaluationImage>)| {
        // The last one is the challenger's: the prompt with its trigger word.
        let text = images.last().map(|image| image.text.clone()).unwrap_or_default();
        Row { prompt, text, seed, images }
    };
    rows.into_iter().map(row).collect()
}

/// Images of one prompt and seed; what is of one colour or could not be rendered is marked.
fn triptych(
    record: &EvaluationRecord,
    row: Row,
    roles: &[EvaluationRole],
    anchor: Option<String>,
) -> AnyView {
    let (flat, failed) = record
        .verdict
        .as_ref()
        .map(|verdict| (verdict.flat.as_slice(), verdict.failed.as_slice()))
        .unwrap_or_default();
    let of_row = |image: &&FailedImage| {
        image.prompt == row.prompt && image.seed == row.seed && roles.contains(&image.role)
    };
    let failed: Vec<AnyView> = failed.iter().filter(of_row).map(|image| missing(record, image)).collect();
    let images = row.images.into_iter().map(|image| {
        let name = model(record, image.role);
        let scores = [("CLIPScore", image.clip_score), ("style", image.style_margin)];
        let scores =
            scores.into_iter().filter_map(|(name, score)| Some(format!("{name} {}", number(score?))));
        let flat = flat.contains(&image.hash).then(|| "of one colour".to_owned());
        let scores = scores.chain(flat).collect::<Vec<_>>().join(" · ");
        figure(image.url, format!("{}: {name}", image.text), name, scores)
    });
    view! {
        <div class="strip" id=anchor>
            <h3>{format!("“{}”", row.text)} " " <span class="soft">{format!("seed {}", row.seed)}</span></h3>
            <ul class="triptych">{images.collect::<Vec<_>>()} {failed}</ul>
        </div>
    }
    .into_any()
}

/// The place of an image that could not be rendered.
fn missing(record: &EvaluationRecord, image: &FailedImage) -> AnyView {
    view! {
        <li>
            <p class="field-problem">
                <b>{model(record, image.role)}</b>
                {format!(": failed. {}", image.reason)}
            </p>
        </li>
    }
    .into_any()
}

/// Images of one colour, and those that could not be rendered.
pub(super) fn unusable(
    record: &EvaluationRecord,
    verdict: &EvaluationVerdict,
    images: &[EvaluationImage],
) -> AnyView {
    if verdict.flat.is_empty() && verdict.failed.is_empty() {
        return ().into_any();
    }
    let flat = images.iter().filter(|image| verdict.flat.contains(&image.hash)).map(|image| {
        let name = model(record, image.role);
        figure(image.url.clone(), format!("{}: {name}", image.text), name, "of one colour".to_owned())
    });
    let failed = verdict.failed.iter().map(|image| {
        let what = format!("{}, “{}”, seed {}: ", model(record, image.role), image.text, image.seed);
        view! { <li class="note">{what} {image.reason.clone()}</li> }
    });
    view! {
        <section class="panel" aria-labelledby="unusable">
            <h2 id="unusable">"Unusable images"</h2>
            <ul class="triptych">{flat.collect::<Vec<_>>()}</ul>
            <ul class="stack notes">{failed.collect::<Vec<_>>()}</ul>
        </section>
    }
    .into_any()
}

/// Whose images a role's are.
fn model(record: &EvaluationRecord, role: EvaluationRole) -> String {
    match role {
        EvaluationRole::Base | EvaluationRole::BaseUntriggered | EvaluationRole::BaseCaption => {
            "Base model".to_owned()
        }
        EvaluationRole::Champion => record.champion.clone().unwrap_or_else(|| "Champion".to_owned()),
        EvaluationRole::Challenger | EvaluationRole::Untriggered | EvaluationRole::Caption => {
            record.version.clone()
        }
    }
}

/// An image with its name and a line of numbers.
pub(super) fn figure(url: String, alt: String, name: String, numbers: String) -> AnyView {
    let page = address(&url);
    view! {
        <li>
            <figure class="shot">
                <a href=page>
                    <img src=url alt=alt loading="lazy" decoding="async" />
                </a>
                <figcaption>
                    <b>{name}</b>
                    {(!numbers.is_empty()).then(|| view! { <span>{numbers}</span> })}
                </figcaption>
            </figure>
        </li>
    }
    .into_any()
}

/// The evidence for or against copying: each rendered image beside the training image that is nearest to it.
pub(super) fn suspects(suspects: &[Suspect]) -> AnyView {
    if suspects.is_empty() {
        return view! {
            <section class="panel" aria-labelledby="copying">
                <h2 id="copying">"Nearest training images"</h2>
                <p class="soft">"No images were rendered from training captions."</p>
            </section>
        }
        .into_any();
    }
    let pairs = suspects.iter().map(|suspect| {
        let training = format!("Training image nearest to “{}”", suspect.text);
        let own = if suspect.own { "its caption's own image" } else { "another image" };
        view! {
            <div class="strip">
                <h3>{format!("“{}”", suspect.text)}</h3>
                <ul class="triptych pairs">
                    {figure(suspect.image.clone(), suspect.text.clone(), "Rendered".to_owned(), String::new())}
                    {figure(
                        suspect.training_image.clone(),
                        training,
                        "Training image".to_owned(),
                        format!("cosine {} · {own}", number(suspect.cosine)),
                    )}
                </ul>
            </div>
        }
    });
    view! {
        <section class="panel" aria-labelledby="copying">
            <h2 id="copying">"Nearest training images"</h2>
            <p class="hint">"Rendered from training captions, the nearest first. A cosine of 1 is a copy."</p>
            <div class="evidence">{pairs.collect::<Vec<_>>()}</div>
        </section>
    }
    .into_any()
}

/// Images that only metrics use, folded.
pub(super) fn other_images(record: &EvaluationRecord, images: &[EvaluationImage]) -> AnyView {
    let section = |id: &'static str, title: &'static str, roles: &[EvaluationRole]| {
        let rows = rows(images, roles);
        (!rows.is_empty()).then(|| {
            let count = rows.len();
            let rows = rows.into_iter().map(|row| triptych(record, row, roles, None)).collect::<Vec<_>>();
            view! {
                <details class="panel" id=id>
                    <summary>{format!("{title} ({count})")}</summary>
                    <div>{rows}</div>
                </details>
            }
        })
    };
    let held_out = record.verdict.as_ref().map(|verdict| verdict.held_out.as_slice()).unwrap_or_default();
    let held_out = (!held_out.is_empty()).then(|| {
        let title = format!("Held-out images ({})", held_out.len());
        let figures = held_out.iter().map(|url| {
            figure(url.clone(), "Held-out image".to_owned(), "Held-out image".to_owned(), String::new())
        });
        view! {
            <details class="panel" id="held-out">
                <summary>{title}</summary>
                <ul class="triptych">{figures.collect::<Vec<_>>()}</ul>
            </details>
        }
    });
    view! {
        {held_out}
        {section("untriggered", "Without the trigger word", &[EvaluationRole::BaseUntriggered, EvaluationRole::Untriggered])}
        {section("captions", "From training captions", &[EvaluationRole::BaseCaption, EvaluationRole::Caption])}
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(role: EvaluationRole, prompt: u32, seed: u64, text: &str) -> EvaluationImage {
        EvaluationImage {
            role,
            prompt,
            text: text.to_owned(),
            seed,
            hash: String::new(),
            url: format!("/{}", role.name()),
            seconds: 1.0,
            clip_score: None,
            style_margin: None,
        }
    }

    #[test]
    fn a_row_holds_the_same_prompt_and_seed_in_the_order_of_the_roles() {
        use EvaluationRole::{Base, Challenger, Untriggered};
        let images = [
            image(Challenger, 1, 5, "b, tok"),
            image(Challenger, 0, 7, "a, tok"),
            image(Base, 0, 7, "a"),
            image(Untriggered, 0, 7, "a"),
            image(Base, 0, 5, "a"),
        ];
        let rows = rows(&images, &[Base, Challenger]);
        let of = |row: &Row| (row.text.clone(), row.seed, row.images.len());
        let found: Vec<_> = rows.iter().map(of).collect();
        assert_eq!(found, [("a".to_owned(), 5, 1), ("a, tok".to_owned(), 7, 2), ("b, tok".to_owned(), 5, 1)]);
        assert_eq!(rows[1].images[0].role, Base);
    }
}
