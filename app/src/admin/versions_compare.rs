//! Two versions, or a version and the base model, over the same prompts and seeds. The script lays each pair of images over
//! each other, with a slider; without it they stand side by side.

use std::collections::HashMap;

use adire_protocol::{EvaluationDetail, EvaluationImage, EvaluationRole};
use leptos::prelude::*;

use super::{
    evaluation_images::figure,
    fields::{Field, FormInput},
    frame::{crumbs, head},
};

/// What stands for the base model in a form; not a version's name.
pub(crate) const BASE: &str = "";
/// What it is called.
const BASE_NAME: &str = "Base model";

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct VersionComparison {
    /// `left` and `right`: `name@vN`, or [`BASE`].
    pub(crate) form: FormInput,
    /// Versions with images, `name@vN`.
    pub(crate) versions: Vec<String>,
    pub(crate) pairs: Vec<ImagePair>,
}

/// The same prompt and seed by two models.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ImagePair {
    pub(crate) text: String,
    pub(crate) seed: u64,
    pub(crate) left: String,
    pub(crate) right: String,
}

/// The images of two models from the newest evaluations with the same suite and base model. `evaluations`: newest first.
pub(crate) fn pairs(evaluations: &[EvaluationDetail], left: &str, right: &str) -> Vec<ImagePair> {
    let of_right: Vec<_> =
        evaluations.iter().filter_map(|detail| Some((detail, role(detail, right)?))).collect();
    for detail in evaluations {
        let Some(own) = role(detail, left) else { continue };
        for (other, theirs) in of_right.iter().filter(|(other, _)| inputs(other) == inputs(detail)) {
            let found = matched(&images(detail, own), &images(other, *theirs));
            if !found.is_empty() {
                return found;
            }
        }
    }
    Vec::new()
}

/// What the images of a model are in an evaluation.
fn role(detail: &EvaluationDetail, model: &str) -> Option<EvaluationRole> {
    let record = &detail.evaluation;
    if model == BASE {
        Some(EvaluationRole::Base)
    } else if record.version == model {
        Some(EvaluationRole::Challenger)
    } else {
        (record.champion.as_deref() == Some(model)).then_some(EvaluationRole::Champion)
    }
}

/// What images depend on besides the model: suite, base model, device and precision.
fn inputs(detail: &EvaluationDetail) -> Option<[Option<&String>; 4]> {
    let prepare = detail.evaluation.steps.first()?;
    let names = ["suite", "base_model", "device", "precision"];
    (!prepare.inputs.is_empty()).then(|| names.map(|name| prepare.inputs.get(name)))
}

fn images(detail: &EvaluationDetail, role: EvaluationRole) -> Vec<&EvaluationImage> {
    detail.images.iter().filter(|image| image.role == role).collect()
}

fn matched(left: &[&EvaluationImage], right: &[&EvaluationImage]) -> Vec<ImagePair> {
    let right: HashMap<_, _> = right.iter().map(|image| ((image.prompt, image.seed), *image)).collect();
    let mut found: Vec<_> =
        left.iter().filter_map(|image| Some((*image, *right.get(&(image.prompt, image.seed))?))).collect();
    found.sort_by_key(|(image, _)| (image.prompt, image.seed));
    let pair = |(left, right): (&EvaluationImage, &EvaluationImage)| ImagePair {
        // With the trigger word, where one of them has it.
        text: if left.text.len() > right.text.len() { left.text.clone() } else { right.text.clone() },
        seed: left.seed,
        left: left.url.clone(),
        right: right.url.clone(),
    };
    found.into_iter().map(pair).collect()
}

pub(super) fn compare_versions(data: VersionComparison) -> AnyView {
    let VersionComparison { form, versions, pairs } = data;
    let body = if versions.is_empty() {
        view! {
            <div class="nothing">
                <p>"No images to compare yet. An evaluation renders them."</p>
                <a class="primary" href="/admin/evaluations">
                    "Evaluate version"
                </a>
            </div>
        }
        .into_any()
    } else {
        view! {
            {chooser(&form, &versions)}
            {shown(&form, pairs)}
        }
        .into_any()
    };
    view! {
        {crumbs([("/admin/evaluations", "Evaluation")])}
        {head("Compare versions", "Same prompt, same noise.", ())}
        {body}
    }
    .into_any()
}

fn chooser(form: &FormInput, versions: &[String]) -> AnyView {
    let options = || {
        let base = (BASE.to_owned(), BASE_NAME.to_owned());
        let all = versions.iter().map(|id| (id.clone(), id.clone()));
        std::iter::once(base).chain(all).collect::<Vec<_>>()
    };
    let left = Field { name: "left", label: "Left", help: "" }.select(form, options());
    let right = Field { name: "right", label: "Right", help: "" }.select(form, options());
    view! {
        <form method="get" action="/admin/evaluations/compare" class="panel stack">
            <div class="columns two">{left} {right}</div>
            <button type="submit" class="button">
                "Compare versions"
            </button>
        </form>
    }
    .into_any()
}

fn shown(form: &FormInput, pairs: Vec<ImagePair>) -> AnyView {
    let name = |field| match form.get(field) {
        BASE => BASE_NAME.to_owned(),
        id => id.to_owned(),
    };
    let (left, right) = (name("left"), name("right"));
    if left == right {
        return view! { <p class="soft">"Choose two different ones."</p> }.into_any();
    }
    if pairs.is_empty() {
        let sentence = format!(
            "{left} and {right} have no images of the same suite. Evaluate one of them against the other, or both on one suite."
        );
        return view! { <p class="nothing">{sentence}</p> }.into_any();
    }
    let rows = pairs.into_iter().enumerate().map(|(at, pair)| {
        let alt = |name: &str| format!("{}: {name}", pair.text);
        view! {
            <div class="strip" data-pair id=format!("pair-{at}")>
                <h3>{format!("“{}”", pair.text)} " " <span class="soft">{format!("seed {}", pair.seed)}</span></h3>
                <ul class="triptych pairs">
                    {figure(pair.left.clone(), alt(&left), left.clone(), String::new())}
                    {figure(pair.right.clone(), alt(&right), right.clone(), String::new())}
                </ul>
            </div>
        }
    });
    view! {
        <section class="panel" aria-labelledby="pairs">
            <h2 id="pairs">{format!("{left} and {right}")}</h2>
            {rows.collect::<Vec<_>>()}
        </section>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use adire_protocol::EvaluationRecord;
    use serde_json::json;

    use super::*;

    fn evaluation(version: &str, champion: Option<&str>, suite: &str, roles: &[&str]) -> EvaluationDetail {
        let image = |role: &&str| {
            json!({"role": role, "prompt": 0, "text": *role, "seed": 1, "hash": "", "url": format!("{version} {role}"),
                "seconds": 1.0, "clip_score": null, "style_margin": null})
        };
        let step = json!({"name": "prepare", "state": "done", "revision": 1, "inputs": {"suite": suite}, "key": null,
            "why": "", "reused_from": null, "outputs": null, "seconds": null, "log": []});
        let record: EvaluationRecord = serde_json::from_value(json!({
            "id": "x", "state": "done", "version": version, "champion": champion, "suite": "s", "prompts": 1,
            "judge": null, "promote": false, "created_at": 0, "images_done": 1, "images": 1, "steps": [step],
            "warnings": [],
        }))
        .unwrap();
        let images = roles.iter().map(image).map(|image| serde_json::from_value(image).unwrap()).collect();
        EvaluationDetail { evaluation: record, images }
    }

    #[test]
    fn images_come_from_evaluations_of_one_suite() {
        let all = [
            evaluation("a@v3", Some("a@v2"), "other", &["challenger", "champion"]),
            evaluation("a@v2", None, "one", &["base", "challenger"]),
            evaluation("a@v1", None, "one", &["base", "challenger"]),
        ];
        let urls = |left, right| -> Vec<_> {
            pairs(&all, left, right).into_iter().map(|pair| (pair.left, pair.right)).collect()
        };
        let of = |left: &str, right: &str| vec![(left.to_owned(), right.to_owned())];
        assert_eq!(urls("a@v3", "a@v2"), of("a@v3 challenger", "a@v3 champion"));
        assert_eq!(urls("a@v1", "a@v2"), of("a@v1 challenger", "a@v2 challenger"));
        assert_eq!(urls("a@v1", BASE), of("a@v1 challenger", "a@v2 base"));
        assert_eq!(urls("a@v1", "a@v3"), []);
    }
}
