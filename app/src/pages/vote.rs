//! Blind votes: two images without names, and which is better. A plain document.

use adire_protocol::{Ballot, BallotPair};
use leptos::prelude::*;

use super::adapters::Bar;

/// What the page shows.
#[derive(Clone)]
pub(crate) struct VoteData {
    pub(crate) ballot: Ballot,
    /// Whether the browser keeps a cookie to tell votes apart by.
    pub(crate) known: bool,
}

/// The page at `/vote/{token}`.
#[component]
pub(crate) fn VoteView(data: VoteData) -> impl IntoView {
    let VoteData { ballot, known } = data;
    let progress = progress(&ballot);
    let body = match &ballot.pair {
        Some(pair) => choice(&ballot.token, pair),
        None => {
            let sentence = if !ballot.open {
                "The votes are counted. Thank you!"
            } else if !known {
                "A cookie tells votes apart. Allow cookies for this site, then reload this page."
            } else {
                "You have seen every pair. Thank you!"
            };
            view! { <p class="nothing">{sentence}</p> }.into_any()
        }
    };
    view! {
        <Bar />
        <main class="paper wide-paper vote">
            <h2>"Which image is better?"</h2>
            {body}
            <p class="hint" role="status">
                {progress}
            </p>
        </main>
    }
}

fn progress(ballot: &Ballot) -> String {
    let mut text = match (ballot.voted, ballot.pairs) {
        (0, pairs) => format!("{pairs} pairs. Stop whenever you like."),
        (1, pairs) => format!("1 vote of yours, {pairs} pairs."),
        (voted, pairs) => format!("{voted} votes of yours, {pairs} pairs."),
    };
    if let Some(more) = ballot.more.filter(|_| ballot.open) {
        let votes = if more == 1 { "vote" } else { "votes" };
        text.push_str(&format!(" About {more} more {votes} decide."));
    }
    text
}

fn choice(token: &str, pair: &BallotPair) -> AnyView {
    let address = format!("/vote/{token}");
    let image = |side: &str| format!("{address}/{}/{side}", pair.number);
    let button = |value: &'static str, label: &'static str, source: String| {
        view! {
            <button type="submit" name="choice" value=value class="vote-choice">
                <img src=source alt=format!("{label} image") width="512" height="512" />
                <span>{format!("{label} is better")}</span>
            </button>
        }
        .into_any()
    };
    view! {
        <p class="lead">{format!("“{}”", pair.prompt)}</p>
        <form method="post" action=address.clone()>
            <input type="hidden" name="pair" value=pair.number />
            <div class="vote-pair">
                {button("left", "Left", image("left"))}
                {button("right", "Right", image("right"))}
            </div>
            <button type="submit" name="choice" value="same" class="button vote-same">
                "No difference"
            </button>
        </form>
    }
    .into_any()
}
