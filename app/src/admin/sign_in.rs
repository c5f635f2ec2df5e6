//! The pages before the others: signing in, setting the first password, and why neither is possible here.

use leptos::prelude::*;

use super::{
    fields::{Field, FormInput, alert},
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
    let form = FormInput::default();
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
    let form = FormInput::default();
    let first = Field {
        name: "password",
        label: "New password",
        help: "At least 10 characters; four words make a good one.",
    };
    let second = Field { name: "again", label: "Once more", help: "" };
    let body = if dead {
        view! {
            <p>
                "A password has been set, or the server has been started again since. While no password is set, the server prints a new link when it starts; "
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

pub(super) fn local_only() -> AnyView {
    let form = FormInput::default();
    let token =
        Field { name: "token", label: "Token", help: "The link itself, or what stands behind token= in it." };
    alone(
        view! {
            <h1>"Open these pages by their link"</h1>
            <p>
                "No password is set yet. The server printed a link to these pages when it started; open it, or paste it here. It works until a password is set."
            </p>
            <form method="post" action="/admin/link" class="stack">
                {token.password(&form, "off")}
                <button type="submit" class="primary">
                    "Go in"
                </button>
            </form>
            <p class="hint">
                "Or set a password on the server: run " <code>"adire admin set-password"</code>
                " with the server's data folder. It counts at once."
            </p>
            <p>
                <a href="/">"Go to the studio"</a>
            </p>
        }
        .into_any(),
    )
}
