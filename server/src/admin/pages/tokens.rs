//! The page of programs' tokens, and what its forms post.

use adire_app::admin::{AdminPage, FormInput, NewToken, TokenRow};
use adire_protocol::FieldError;
use axum::{
    extract::{Query, State},
    http::{StatusCode, request::Parts},
    response::Response,
};

use super::{Done, Posted, answer, to};
use crate::{
    admin::auth::{
        token_limit::TokenLimit,
        tokens::{ListedToken, Scope, Tokens},
    },
    error::Problem,
    state::AppState,
};

/// Where the page is.
const PAGE: &str = "/admin/tokens";

pub(crate) async fn show(
    State(state): State<AppState>,
    Query(query): Query<Done>,
    parts: Parts,
) -> Result<Response, Problem> {
    let flash = (query.done.as_deref() == Some("revoke")).then(|| "Token revoked.".to_owned());
    let page = AdminPage::tokens(rows(&state).await?, FormInput::default(), None, flash);
    Ok(answer(state, page, parts, None).await)
}

pub(crate) async fn change(
    State(state): State<AppState>,
    parts: Parts,
    Posted(mut form): Posted,
) -> Result<Response, Problem> {
    match form.get("action") {
        "revoke" => {
            let id = form.get("id").to_owned();
            // One that somebody else has revoked meanwhile is as good.
            let _gone = with(&state, move |tokens| Ok(tokens.revoke(&id))).await?;
            Ok(to(format!("{PAGE}?done=revoke")))
        }
        "add" => match read(&form) {
            Ok((name, scope, limit)) => {
                let shown = name.clone();
                match with(&state, move |tokens| Ok(tokens.add(&name, scope, limit))).await? {
                    // Not a redirect: the token must not stand in an address.
                    Ok(secret) => {
                        let new = NewToken { name: shown, secret };
                        let page =
                            AdminPage::tokens(rows(&state).await?, FormInput::default(), Some(new), None);
                        Ok(answer(state, page, parts, None).await)
                    }
                    Err(error) => {
                        form.errors = vec![error_of("name", format!("{error:#}."))];
                        refuse(state, form, parts).await
                    }
                }
            }
            Err(errors) => {
                form.errors = errors;
                refuse(state, form, parts).await
            }
        },
        _ => Err(Problem::field("action", "The action must be add or revoke.")),
    }
}

async fn refuse(state: AppState, form: FormInput, parts: Parts) -> Result<Response, Problem> {
    let page = AdminPage::tokens(rows(&state).await?, form, None, None);
    Ok(answer(state, page, parts, Some(StatusCode::UNPROCESSABLE_ENTITY)).await)
}

fn error_of(field: &str, message: String) -> FieldError {
    FieldError { field: field.to_owned(), message: adire_protocol::capitalised(&message) }
}

type New = (String, Scope, Option<TokenLimit>);

fn read(form: &FormInput) -> Result<New, Vec<FieldError>> {
    let mut errors = Vec::new();
    let scope = form.get("scope").parse().unwrap_or_else(|error| {
        errors.push(error_of("scope", format!("{error}.")));
        Scope::Generate
    });
    let limit = match form.get("limit").trim() {
        "" => None,
        limit => limit.parse().map_err(|error| errors.push(error_of("limit", format!("{error}.")))).ok(),
    };
    if errors.is_empty() { Ok((form.get("name").trim().to_owned(), scope, limit)) } else { Err(errors) }
}

async fn rows(state: &AppState) -> Result<Vec<TokenRow>, Problem> {
    Ok(with(state, Tokens::list).await?.into_iter().map(row).collect())
}

fn row(token: ListedToken) -> TokenRow {
    let ms = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX / 1000) * 1000;
    TokenRow {
        id: token.id,
        name: token.name,
        scope: token.scope.name(),
        limit: token.limit.map(|limit| limit.to_string()),
        created_at: ms(token.created_at),
        generations: token.usage.generations,
        images: token.usage.images,
        last_used: token.usage.last_used.map(ms),
    }
}

/// Reads or changes the files on a thread that may block.
async fn with<T: Send + 'static>(
    state: &AppState,
    work: impl FnOnce(&Tokens) -> std::io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let tokens = state.auth.tokens().clone();
    let done = tokio::task::spawn_blocking(move || work(&tokens)).await;
    done.map_err(Problem::internal)?.map_err(Problem::internal)
}
