//! The admin pages over HTTP: documents, and what their plain forms post to. `guard` stands before every
//! address here. A form is answered with 303 and the address of a page; invalid input returns the same
//! page with 422, the values kept and the reasons beside the fields.

pub(crate) mod alerts;
pub(crate) mod comparisons;
pub(crate) mod control;
pub(crate) mod datasets;
pub(crate) mod embeddings;
pub(crate) mod evaluations;
pub(crate) mod flags;
pub(crate) mod monitoring;
pub(crate) mod overview;
pub(crate) mod queue;
pub(crate) mod sheets;
pub(crate) mod sign_in;
pub(crate) mod tokens;
pub(crate) mod training;
pub(crate) mod versions;
pub(crate) mod wildcards;

use adire_app::{
    admin::{AdminAccess, AdminPage, FormInput, admin_live, admin_shell},
    percent_encoded,
};
use adire_protocol::FieldError;
use adire_studio::ErrorKind;
use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use crate::{
    admin::session::Access,
    error::{Problem, ProblemKind},
    extract, render,
    state::AppState,
};

/// The sign-in page that leads on to `wanted`.
pub(crate) fn address_of_sign_in(wanted: &str) -> String {
    if is_ours(wanted) && wanted != "/admin" {
        format!("/admin/sign-in?next={}", percent_encoded(wanted, b"/"))
    } else {
        "/admin/sign-in".to_owned()
    }
}

/// Whether an address is one of the admin pages, and so may be gone on to.
fn is_ours(address: &str) -> bool {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    (path == "/admin" || path.starts_with("/admin/"))
        && address.len() <= 2000
        && address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// Why there is nothing to see.
pub(crate) async fn no_admin_password(state: AppState, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(state, AdminPage::local_only(), parts, Some(StatusCode::FORBIDDEN)).await
}

/// For an address under `/admin` that leads nowhere.
pub(crate) async fn missing(state: AppState, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(state, AdminPage::missing("Nothing at this address."), parts, None).await
}

/// Renders a page for the request's client. `status`: where the page itself does not say enough.
async fn answer(state: AppState, page: AdminPage, parts: Parts, status: Option<StatusCode>) -> Response {
    let page = page.with_access(match parts.extensions.get() {
        Some(Access::SignedIn) => AdminAccess::Password,
        Some(Access::ByLink) => AdminAccess::Link,
        Some(Access::ThisMachine | Access::ByToken | Access::Open) | None => AdminAccess::ThisMachine,
    });
    let status = status
        .or_else(|| page.problem().map(|kind| ProblemKind::from(kind).status()))
        .unwrap_or(StatusCode::OK);
    let style = state.site.style().to_owned();
    let request = Request::from_parts(parts, Body::empty());
    render::render(state, request, status, move || admin_shell(page.clone(), style.clone())).await
}

/// The part of a page that moves.
async fn live_part(state: AppState, page: AdminPage, parts: Parts) -> Response {
    let status = page.problem().map_or(StatusCode::OK, |kind| ProblemKind::from(kind).status());
    let request = Request::from_parts(parts, Body::empty());
    render::render(state, request, status, move || admin_live(page.clone())).await
}

/// A page that says why something was not done. What is missing has a page and status of its own.
async fn refuse(state: AppState, page: AdminPage, parts: Parts, kind: ErrorKind) -> Response {
    let status = page.problem().is_none().then(|| ProblemKind::from(kind).status());
    answer(state, page, parts, status).await
}

/// Puts what is wrong with a form with a file beside what was typed; the status of the answer.
fn put_back(typed: &mut FormInput, problem: Problem) -> Option<StatusCode> {
    let general = FieldError { field: String::new(), message: problem.detail };
    typed.errors = if problem.errors.is_empty() { vec![general] } else { problem.errors };
    StatusCode::from_u16(problem.status).ok()
}

/// Leads to a page.
fn to(address: impl AsRef<str>) -> Response {
    Redirect::to(address.as_ref()).into_response()
}

/// What was done last: a word in the address, so that a reload does not do it again.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Done {
    done: Option<String>,
}

/// The fields of a form, to be shown again where they are refused.
pub(crate) struct Posted(FormInput);

impl<S: Send + Sync> FromRequest<S> for Posted {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let extract::Posted(pairs) = extract::Posted::from_request(request, state).await?;
        Ok(Self(FormInput::from_pairs(pairs)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_away_after_signing_in() {
        for (wanted, ours) in [
            ("/admin", true),
            ("/admin/training?state=done", true),
            ("/", false),
            ("/administrator", false),
            ("//evil.example/admin", false),
            ("https://evil.example/admin", false),
            ("/admin/\\evil", false),
            ("/admin/\r\nSet-Cookie: x=y", false),
            ("", false),
        ] {
            assert_eq!(is_ours(wanted), ours, "{wanted:?}");
        }
        assert_eq!(address_of_sign_in("/admin"), "/admin/sign-in");
        assert_eq!(address_of_sign_in("//evil.example"), "/admin/sign-in");
        assert_eq!(
            address_of_sign_in("/admin/training?a=b&c"),
            "/admin/sign-in?next=/admin/training%3Fa%3Db%26c"
        );
    }
}
