//! The samples of a training run: a strip for each prompt. The script folds each strip into one image with a slider over
//! the steps.

use std::collections::BTreeMap;

use adire_protocol::TrainingSample;
use leptos::prelude::*;

use super::image::address;

/// A strip for each prompt.
pub(super) fn strips(samples: Vec<TrainingSample>) -> Vec<AnyView> {
    let mut by_prompt = BTreeMap::<u32, Vec<TrainingSample>>::new();
    for sample in samples {
        by_prompt.entry(sample.prompt_index).or_default().push(sample);
    }
    by_prompt.into_iter().map(|(index, samples)| strip(index, samples)).collect()
}

fn strip(index: u32, samples: Vec<TrainingSample>) -> AnyView {
    let prompt = samples.first().map(|sample| sample.prompt.clone()).unwrap_or_default();
    // The base model is constant; one image of it is enough.
    let base = samples.iter().find(|sample| !sample.with_adapter).cloned();
    let trained = samples.into_iter().filter(|sample| sample.with_adapter).map(|sample| {
        let step = sample.step;
        view! {
            <li data-step=step.to_string()>
                {shot(sample, format!("Step {step}"))}
            </li>
        }
    });
    let trained = trained.collect::<Vec<_>>();
    view! {
        <div class="strip" id=format!("strip-{index}") data-strip>
            <h3>{format!("“{prompt}”")}</h3>
            <div class="shots">
                {base.map(|base| view! { <div class="base">{shot(base, "Base model".to_owned())}</div> })}
                <ul tabindex="0" aria-label=format!("Samples of “{prompt}” by step")>
                    {trained}
                </ul>
            </div>
        </div>
    }
    .into_any()
}

/// One sample with its caption.
pub(super) fn shot(sample: TrainingSample, words: String) -> impl IntoView {
    let alt = format!("{}: {words}", sample.prompt);
    let page = address(&sample.url);
    view! {
        <figure class="shot">
            <a href=page>
                <img src=sample.url alt=alt loading="lazy" decoding="async" />
            </a>
            <figcaption>{words}</figcaption>
        </figure>
    }
}
