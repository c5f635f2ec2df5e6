//! The pages before the others: signing in, setting the first password, and why neither is possible here.

use leptos::prelude::*;

use super::{
    fields::{Field, Filled, alert},
    frame::alone,
};

/// What the sign-in page shows.
#[derive(Clone, Debug, Default)]
pub struct SignIn {
    /// Where to go on to.
    pub next: String,
    /// Why it did not work.
    pub problem: Option<String>,
}

/// What the page for the first password shows.
#[derive(Clone, Debug, Default)]
pub struct SetUp {
    /// The token of the printed link.
    pub token: String,
    /// Why it did not work.
    pub problem: Option<String>,
    /// The link cannot be used, so there is no form.
    pub dead: bool,
}

pub(super) fn sign_in(SignIn { next, problem }: SignIn) -> AnyView {
    let form = Filled::default();
    let password = Field { name: "password", label: "Password", help: "" };
    alone(
        view! {
            <h1>"Sign in"</h1>
            {alert(problem.into_iter().collect())}
            <form method="post" action="/admin/sign-in" class="stack">
                <input type="hidden" name="next" value=next />
                {password.password(&form, "current-password")}
                <button type="submit" class="primary">
                    "Sign in"
                </button>
            </form>
            <p class="hint">
                "Forgotten? Whoever runs the server sets another one with " <code>"adire admin set-password"</code> "."
            </p>
        }
        .into_any(),
    )
}

pub(super) fn set_up(SetUp { token, problem, dead }: SetUp) -> AnyView {
    let form = Filled::default();
    let first = Field {
        name: "password",
        label: "New password",
        help: "At least 10 characters; four words make a good one.",
    };
    let second = Field { name: "again", label: "Once more", help: "" };
    let body = if dead {
        view! {
            <p>
                "This link has been used, or the server has been started again since. If no password is set, the server prints a new link when it starts; "
                <code>"adire admin set-password"</code> " sets one, too."
            </p>
            <p>
                <a href="/admin">"Go to the admin pages"</a>
            </p>
        }
        .into_any()
    } else {
        view! {
            {alert(problem.into_iter().collect())}
            <form method="post" action="/admin/set-up" class="stack">
                <input type="hidden" name="token" value=token />
                {first.password(&form, "new-password")}
                {second.password(&form, "new-password")}
                <button type="submit" class="primary">
                    "Set the password and sign in"
                </button>
            </form>
            <p class="hint">"Whoever knows it can train adapters and change what the studio offers."</p>
        }
        .into_any()
    };
    alone(
        view! {
            <h1>{if dead { "This link no longer works" } else { "Set the operator's password" }}</h1>
            {body}
        }
        .into_any(),
    )
}

pub(super) fn no_operator() -> AnyView {
    alone(
        view! {
            <h1>"These pages are closed from here"</h1>
            <p>
                "No operator's password is set, so the admin pages answer only on the machine that Adire runs on. Everything else of the studio works."
            </p>
            <h2>"To open them"</h2>
            <ol class="steps">
                <li>
                    "On the server, run " <code>"adire admin set-password"</code>
                    " with the server's data folder. It counts at once."
                </li>
                <li>"Or open the link that the server printed when it started. It works once, from anywhere."</li>
            </ol>
            <p>
                <a href="/">"Go to the studio"</a>
            </p>
        }
        .into_any(),
    )
}
