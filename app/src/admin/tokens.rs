//! Tokens of programs: which there are, how much each has been used, and a form for another one.

use leptos::prelude::*;

use super::{
    fields::{Field, FormInput, alert},
    frame::{flash_line, head},
    times::ago,
};

/// A token in the table.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// For the form that revokes it.
    pub id: String,
    /// What the admin called it.
    pub name: String,
    /// `generate` or `admin`.
    pub scope: &'static str,
    /// `100/day`.
    pub limit: Option<String>,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// Generations so far.
    pub generations: u64,
    /// Images that they requested.
    pub images: u64,
    /// Milliseconds since 1970 (UTC); `None`: never.
    pub last_used: Option<i64>,
}

/// A token that was just created, which is shown once.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What the admin called it.
    pub name: String,
    /// The token itself.
    pub secret: String,
}

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct TokensPage {
    pub(crate) tokens: Vec<TokenRow>,
    /// Input that was refused.
    pub(crate) form: FormInput,
    pub(crate) new: Option<NewToken>,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn tokens(data: TokensPage) -> AnyView {
    let TokensPage { tokens, form, new, flash } = data;
    let lead = "Programs send a token instead of a cookie. Without one, the limits of visitors apply.";
    view! {
        {head("API tokens", lead, ())}
        {flash_line(flash)}
        {new.map(created)}
        {alert(form.general(&["name", "scope", "limit"]))}
        {match tokens.is_empty() {
            true => view! { <p class="nothing">"No tokens yet."</p> }.into_any(),
            false => table(tokens),
        }}
        {editor(&form)}
    }
    .into_any()
}

fn created(new: NewToken) -> AnyView {
    view! {
        <section class="panel" aria-labelledby="created" role="status">
            <h2 id="created">{format!("Token {} created", new.name)}</h2>
            <p>"Copy it now: it is not shown again."</p>
            <pre class="code secret" tabindex="0">{new.secret}</pre>
            <p class="hint">"Send it as “Authorization: Bearer …”, or as the password where a program asks for one."</p>
        </section>
    }
    .into_any()
}

fn table(tokens: Vec<TokenRow>) -> AnyView {
    let rows = tokens.into_iter().map(|token| {
        let used = token.last_used.map_or_else(|| "never".into_any(), |at| ago(at).into_any());
        let label = format!("Revoke: {}", token.name);
        view! {
            <tr>
                <th scope="row" class="grow">
                    <span class="strong">{token.name}</span>
                    <span class="soft">"Created " {ago(token.created_at)}</span>
                </th>
                <td>{token.scope}</td>
                <td>{token.limit.unwrap_or_else(|| "none".to_owned())}</td>
                <td class="count">{token.generations}</td>
                <td class="count">{token.images}</td>
                <td>{used}</td>
                <td>
                    <form method="post" action="/admin/tokens">
                        <input type="hidden" name="id" value=token.id />
                        <button type="submit" name="action" value="revoke" class="stop" aria-label=label>
                            "Revoke"
                        </button>
                    </form>
                </td>
            </tr>
        }
    });
    view! {
        <section class="panel" aria-labelledby="tokens">
            <h2 id="tokens">"Tokens"</h2>
            <div class="wide" tabindex="0" role="region" aria-label="Table of tokens">
                <table class="list">
                    <thead>
                        <tr>
                            <th scope="col">"Token"</th>
                            <th scope="col">"Scope"</th>
                            <th scope="col">"Limit"</th>
                            <th scope="col">"Generations"</th>
                            <th scope="col">"Images"</th>
                            <th scope="col">"Last used"</th>
                            <td></td>
                        </tr>
                    </thead>
                    <tbody>{rows.collect::<Vec<_>>()}</tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}

fn editor(form: &FormInput) -> AnyView {
    let name = Field { name: "name", label: "Name", help: "The program that will use it." }.text(form);
    let scopes = [("generate", "Generate images"), ("admin", "Generate images and use the admin API")];
    let scopes = scopes.map(|(value, label)| (value.to_owned(), label.to_owned())).to_vec();
    let scope = Field { name: "scope", label: "Scope", help: "" }.select(form, scopes);
    let limit = Field {
        name: "limit",
        label: "Limit",
        help: "Images per minute, hour or day, such as 100/day; empty for none.",
    };
    let limit = limit.text(form);
    view! {
        <section class="panel" aria-labelledby="new-token">
            <h2 id="new-token">"New token"</h2>
            <form method="post" action="/admin/tokens" class="stack">
                {name} {scope} {limit}
                <button type="submit" class="primary" name="action" value="add">
                    "Create token"
                </button>
            </form>
        </section>
    }
    .into_any()
}
