//! The shadow of a version: what it has found so far, its switch, and the newest pairs side by side.

use adire_protocol::{
    MAX_SHADOW, SHADOW_EVERY, SHADOW_PAIRS, ShadowMeasure, ShadowOutcome, ShadowPair, ShadowRecord, Stage,
};
use leptos::prelude::*;

use super::{evaluation_images::figure, times::ago, versions::address};
use crate::words::{counted, number};

/// Pairs that are shown without unfolding the rest.
const FIRST: usize = 4;

/// Data of the section.
#[derive(Clone, Debug)]
pub(crate) struct Shadow {
    /// The one that is on, or the last one.
    pub(crate) record: Option<ShadowRecord>,
    /// The version of the adapter whose shadow is on.
    pub(crate) challenger: Option<String>,
    /// Whether a version is in production.
    pub(crate) production: bool,
}

/// The section of a version's page; nothing where there is nothing to say.
pub(super) fn shadow(id: &str, stage: Stage, is_there: bool, data: Shadow) -> Option<AnyView> {
    let Shadow { record, challenger, production } = data;
    let other = challenger.filter(|challenger| challenger != id);
    let candidate = is_there && stage == Stage::Candidate;
    if record.is_none() && !candidate && (stage != Stage::Production || other.is_none()) {
        return None;
    }
    let on = record.as_ref().is_some_and(|record| record.on);
    let control = match (&other, candidate) {
        (Some(other), _) => {
            let sentence = if stage == Stage::Production {
                " renders generations of this version again."
            } else {
                " is in shadow; one version of an adapter can be at a time."
            };
            view! {
                <p>
                    <a href=address(other)>{other.clone()}</a>
                    {sentence}
                </p>
            }
            .into_any()
        }
        (None, true) if !production => {
            view! { <p class="soft">"Nothing is in production to compare it with."</p> }.into_any()
        }
        (None, true) => switch(id, record.as_ref(), on),
        (None, false) => ().into_any(),
    };
    let found = record.map(|record| {
        view! {
            {standing(&record)}
            {pairs(&record)}
        }
        .into_any()
    });
    Some(
        view! {
            <section class="panel stack" aria-labelledby="shadow-title">
                <h2 id="shadow-title">"Shadow"</h2>
                <p class="hint">
                    "While the device is idle, a candidate renders every k-th production generation again with the same noise, and both images are scored. Visitors notice nothing."
                </p>
                {found}
                {control}
            </section>
        }
        .into_any(),
    )
}

/// What was found, in sentences.
fn standing(record: &ShadowRecord) -> AnyView {
    let (class, word) = if record.on { ("badge running", "On") } else { ("badge cancelled", "Ended") };
    let measures = record.measures.iter().map(|measure| {
        let sentence = finding(record, measure);
        view! { <li>{sentence}</li> }
    });
    let style = record.style_note.as_ref().map(|note| {
        let sentence = format!("Style is not measured. {note}");
        view! { <li class="soft">{sentence}</li> }
    });
    let rests = record.rests.clone().map(|why| view! { <p class="strong">{why}</p> });
    let ended = record.ended_at.map(|at| {
        let by = record.ended_by.clone().unwrap_or_default();
        view! {
            <p>
                {record.reason.clone()} <span class="soft">" Ended by " {by} " " {ago(at)}</span>
            </p>
        }
    });
    view! {
        <div class="line-up">
            <span class=class>{word}</span>
            <p class="strong grow">{progress(record)}</p>
        </div>
        {rests}
        {ended}
        <ul class="stack notes">{measures.collect::<Vec<_>>()} {style}</ul>
        <p class="hint">
            {format!("Against {}, judged by {}. Switched on by {} ", record.champion, record.judge, record.started_by)}
            {ago(record.started_at)}
        </p>
    }
    .into_any()
}

/// `34 of 500 pairs, from 341 production generations; 2 wait for the device.`
fn progress(record: &ShadowRecord) -> String {
    let pairs = counted(record.max_pairs.into(), "pair");
    let generations = counted(record.generations, "production generation");
    let mut text = format!("{} of {pairs}, from {generations}", record.scored);
    if record.waiting > 0 {
        let wait = if record.waiting == 1 { "waits" } else { "wait" };
        text += &format!("; {} {wait} for the device", record.waiting);
    }
    if record.left_out > 0 {
        text += &format!("; {} left out", record.left_out);
    }
    text + "."
}

/// `Prompt adherence: 21 better, 13 worse; e = 1.9; undecided, about 40 more pairs at this rate.`
fn finding(record: &ShadowRecord, measure: &ShadowMeasure) -> String {
    let name = if measure.name == "clip_score" { "Prompt adherence" } else { "Style" };
    let mut text = format!("{name}: {} better, {} worse", measure.better, measure.worse);
    if measure.ties > 0 {
        text += &format!(", {} equal", measure.ties);
    }
    text += &format!("; e = {}; ", e_value(measure.e));
    let after =
        measure.decided_after.map(|after| format!(" (decided after {after} pairs)")).unwrap_or_default();
    text + &match measure.outcome {
        ShadowOutcome::Better => format!("{} is better{after}.", record.version),
        ShadowOutcome::Worse => format!("{} is better{after}.", record.champion),
        ShadowOutcome::Undecided => match measure.more_pairs {
            _ if !record.on => "undecided.".to_owned(),
            None if measure.better + measure.worse == 0 => "undecided.".to_owned(),
            None => "undecided, too close to say how many more pairs it takes.".to_owned(),
            Some(1) => "undecided, about 1 more pair at this rate.".to_owned(),
            Some(more) => format!("undecided, about {more} more pairs at this rate."),
        },
    }
}

/// Two digits are enough of an e-value.
fn e_value(e: f64) -> String {
    match e {
        ..0.01 => "under 0.01".to_owned(),
        ..1.0 => number((e * 100.0).round() / 100.0),
        ..10.0 => number((e * 10.0).round() / 10.0),
        ..10_000.0 => format!("{e:.0}"),
        _ => "over 10,000".to_owned(),
    }
}

/// The switch of a candidate.
fn switch(id: &str, record: Option<&ShadowRecord>, on: bool) -> AnyView {
    let every = record.map_or(SHADOW_EVERY, |record| record.every);
    let max_pairs = record.map_or(SHADOW_PAIRS, |record| record.max_pairs);
    let field = |name: &'static str, label: &'static str, value: u32| {
        view! {
            <div class="field">
                <label for=name>{label}</label>
                <input
                    type="text"
                    class="number"
                    inputmode="numeric"
                    id=name
                    name=name
                    value=value.to_string()
                    required
                    autocomplete="off"
                    aria-describedby="shadow-range"
                />
            </div>
        }
    };
    let (class, words) = if on { ("button", "Change shadow") } else { ("primary", "Switch shadow on") };
    let off = on.then(|| {
        view! {
            <form method="post" action=address(id)>
                <button type="submit" name="action" value="shadow-off" class="stop">
                    "Switch shadow off"
                </button>
            </form>
        }
    });
    view! {
        <form method="post" action=address(id) class="stack">
            <div class="columns two">
                {field("every", "Every k-th generation", every)} {field("max_pairs", "Pairs at most", max_pairs)}
            </div>
            <p class="hint" id="shadow-range">
                {format!("Both from 1 to {MAX_SHADOW}.")}
            </p>
            <button type="submit" name="action" value="shadow-on" class=class>
                {words}
            </button>
        </form>
        {off}
    }
    .into_any()
}

/// The newest pairs: production left, challenger right.
fn pairs(record: &ShadowRecord) -> Option<AnyView> {
    if record.pairs.is_empty() {
        return None;
    }
    let mut shown: Vec<AnyView> = record.pairs.iter().map(|pair| strip(record, pair)).collect();
    let rest = shown.split_off(FIRST.min(shown.len()));
    let rest = (!rest.is_empty()).then(|| {
        view! {
            <details id="more-pairs">
                <summary>{format!("{} more", rest.len())}</summary>
                <div class="evidence">{rest}</div>
            </details>
        }
    });
    Some(
        view! {
            <div class="evidence">{shown}</div>
            {rest}
        }
        .into_any(),
    )
}

fn strip(record: &ShadowRecord, pair: &ShadowPair) -> AnyView {
    let image = |side: usize, url: &str, name: &str| {
        let style = pair.style_margins.map(|margins| format!(" · style {}", number(margins[side])));
        let scores = format!("CLIPScore {}{}", number(pair.clip_scores[side]), style.unwrap_or_default());
        figure(url.to_owned(), format!("{}: {name}", pair.prompt), name.to_owned(), scores)
    };
    let title =
        if pair.prompt.is_empty() { "No prompt".to_owned() } else { format!("“{}”", pair.prompt) };
    view! {
        <div class="strip">
            <h3>{title} " " <span class="soft">{format!("seed {}", pair.seed)}</span></h3>
            <ul class="triptych pairs">
                {image(0, &pair.champion, &record.champion)} {image(1, &pair.challenger, &record.version)}
            </ul>
        </div>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(better: u32, worse: u32, e: f64, more_pairs: Option<u32>) -> ShadowRecord {
        let measure = ShadowMeasure {
            name: "clip_score".to_owned(),
            better,
            worse,
            ties: 0,
            e,
            outcome: ShadowOutcome::Undecided,
            decided_after: None,
            more_pairs,
        };
        ShadowRecord {
            version: "adire@v3".to_owned(),
            champion: "adire@v2".to_owned(),
            on: true,
            rests: None,
            every: 10,
            max_pairs: 500,
            generations: 341,
            scored: better + worse,
            waiting: 0,
            left_out: 0,
            judge: "starter/clip".to_owned(),
            measures: vec![measure],
            style_note: None,
            started_at: 0,
            started_by: "admin".to_owned(),
            ended_at: None,
            ended_by: None,
            reason: None,
            pairs: Vec::new(),
        }
    }

    #[test]
    fn what_was_found_is_a_sentence() {
        let mut found = record(21, 13, 1.914, Some(40));
        assert_eq!(progress(&found), "34 of 500 pairs, from 341 production generations.");
        assert_eq!(
            finding(&found, &found.measures[0]),
            "Prompt adherence: 21 better, 13 worse; e = 1.9; undecided, about 40 more pairs at this rate."
        );
        found.measures[0] = ShadowMeasure {
            name: "style_margin".to_owned(),
            ties: 2,
            e: 25.4,
            outcome: ShadowOutcome::Worse,
            decided_after: Some(30),
            ..found.measures[0].clone()
        };
        assert_eq!(
            finding(&found, &found.measures[0]),
            "Style: 21 better, 13 worse, 2 equal; e = 25; adire@v2 is better (decided after 30 pairs)."
        );
        found.on = false;
        found.measures[0].outcome = ShadowOutcome::Undecided;
        assert!(finding(&found, &found.measures[0]).ends_with("e = 25; undecided."));
        let (mut none, wait) = (record(0, 0, 1.0, None), " wait for the device; 1 left out.");
        (none.waiting, none.left_out, none.generations) = (2, 1, 1);
        assert_eq!(progress(&none), format!("0 of 500 pairs, from 1 production generation; 2{wait}"));
        assert_eq!(
            finding(&none, &none.measures[0]),
            "Prompt adherence: 0 better, 0 worse; e = 1; undecided."
        );
        for (e, words) in [(0.001, "under 0.01"), (0.4567, "0.46"), (1e9, "over 10,000")] {
            assert_eq!(e_value(e), words);
        }
    }
}
