//! Pages before sign-in: the password, the first password, and the printed link.

use leptos::prelude::*;

use super::{
    fields::{Field, FormInput, alert},
    frame::alone,
};

/// Data of the sign-in page.
#[derive(Clone, Debug, Default)]
pub struct SignIn {
    /// Address to continue to.
    pub next: String,
    /// Why the attempt failed.
    pub problem: Option<String>,
}

/// Data of the page for the first password.
#[derive(Clone, Debug, Default)]
pub struct SetUp {
    /// The token of the printed link.
    pub token: String,
    /// Why the attempt failed.
    pub problem: Option<String>,
    /// The link has expired, so the form is not shown.
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
                "Forgot it? Reset it on the server with " <code>"adire admin set-password"</code> "."
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
        help: "At least 10 characters; four words work well.",
    };
    let second = Field { name: "again", label: "Confirm password", help: "" };
    let body = if dead {
        view! {
            <p>
                "A password has been set, or the server has restarted. While no password is set, the server prints a new link at startup; "
                <code>"adire admin set-password"</code> " also sets one."
            </p>
            <p>
                <a href="/admin">"Open admin pages"</a>
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
                    "Set password and sign in"
                </button>
            </form>
            <p class="hint">"The password grants full admin access: training, deletion and settings."</p>
        }
        .into_any()
    };
    alone(
        view! {
            <h1>{if dead { "This link has expired" } else { "Set the admin password" }}</h1>
            {body}
        }
        .into_any(),
    )
}

pub(super) fn local_only() -> AnyView {
    let form = FormInput::default();
    let token = Field { name: "token", label: "Token", help: "The link, or its part after token=." };
    alone(
        view! {
            <h1>"Open the admin link"</h1>
            <p>
                "No admin password is set. The server printed a link at startup; open it or paste it here. It works until a password is set."
            </p>
            <form method="post" action="/admin/link" class="stack">
                {token.password(&form, "off")}
                <button type="submit" class="primary">
                    "Open admin pages"
                </button>
            </form>
            <p class="hint">
                "Or set a password on the server: run " <code>"adire admin set-password"</code>
                " with the server's data folder. It takes effect at once."
            </p>
            <p>
                <a href="/">"Go to the studio"</a>
            </p>
        }
        .into_any(),
    )
}
