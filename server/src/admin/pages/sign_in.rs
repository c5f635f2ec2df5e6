//! Signing in and out, and the first password.

use adire_app::admin::{AdminPage, SetUp, SignIn};
use adire_studio::Network;
use axum::{
    extract::{Query, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{answer, is_ours};
use crate::{
    admin::{
        auth::SignInError,
        session::{self, Access},
    },
    error::{Problem, ProblemKind},
    extract::Posted,
    layers::{client::Arrival, visitor::accepts_html},
    state::AppState,
};

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SignInForm {
    password: String,
    #[serde(default)]
    next: String,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Token {
    #[serde(default)]
    token: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SetUpForm {
    token: String,
    password: String,
    again: String,
}

pub(crate) async fn page(
    State(state): State<AppState>,
    Query(Next { next }): Query<Next>,
    parts: Parts,
) -> Response {
    if parts.extensions.get() != Some(&Access::Open) {
        return Redirect::to(onward(&next)).into_response();
    }
    answer(state, AdminPage::sign_in(SignIn { next, problem: None }), parts, None).await
}

fn onward(next: &str) -> &str {
    if is_ours(next) { next } else { "/admin" }
}

pub(crate) async fn sign_in(
    State(state): State<AppState>,
    parts: Parts,
    Posted(SignInForm { password, next }): Posted<SignInForm>,
) -> Result<Response, Problem> {
    match state.auth.sign_in(session::device(&state.auth, &parts.headers), network(&parts), password).await {
        Ok(token) => {
            let mut response = Redirect::to(onward(&next)).into_response();
            session::set_session_cookies(&state.auth, &token, &parts, &mut response);
            Ok(response)
        }
        Err(SignInError::NoAdminPassword) => Ok(Redirect::to("/admin").into_response()),
        Err(refused) => {
            let page = |problem| AdminPage::sign_in(SignIn { next, problem: Some(problem) });
            refuse(state, parts, refused, page).await
        }
    }
}

/// Ends the session, and the cookies with it.
pub(crate) async fn sign_out(State(state): State<AppState>, parts: Parts) -> Result<Response, Problem> {
    if let Some(token) = session::token(&state.auth, &parts.headers) {
        state.auth.sign_out(token).await.map_err(Problem::internal)?;
    }
    let mut response = Redirect::to("/admin/sign-in").into_response();
    session::clear_session_cookies(&parts, &mut response);
    Ok(response)
}

/// The link that the server prints.
pub(crate) async fn enter_by_address(
    State(state): State<AppState>,
    Query(Token { token }): Query<Token>,
    parts: Parts,
) -> Result<Response, Problem> {
    enter(state, parts, &token).await
}

/// The same for who copied the token alone.
pub(crate) async fn enter_by_form(
    State(state): State<AppState>,
    parts: Parts,
    Posted(Token { token }): Posted<Token>,
) -> Result<Response, Problem> {
    // A whole line of the terminal is as good.
    let token = token.rsplit("token=").next().unwrap_or_default().trim();
    enter(state, parts, token).await
}

async fn enter(state: AppState, parts: Parts, token: &str) -> Result<Response, Problem> {
    match state.auth.enter(token).await {
        Ok(session) => {
            let mut response = Redirect::to("/admin").into_response();
            session::set_session_cookies(&state.auth, &session, &parts, &mut response);
            Ok(response)
        }
        Err(SignInError::Link) if accepts_html(&parts.headers) => {
            Ok(answer(state, dead_link(), parts, Some(StatusCode::FORBIDDEN)).await)
        }
        Err(SignInError::Failed(error)) => Err(Problem::internal(format!("{error:#}"))),
        Err(_) => Err(Problem::new(ProblemKind::NoAdminPassword, "This link is no longer valid.")),
    }
}

pub(crate) async fn set_up_page(
    State(state): State<AppState>,
    Query(Token { token }): Query<Token>,
    parts: Parts,
) -> Response {
    // Who is in already needs no link.
    let is_in = matches!(parts.extensions.get(), Some(Access::ByLink | Access::ThisMachine));
    let token = if is_in { state.auth.link_token().unwrap_or_default() } else { token };
    if state.auth.is_link_token(&token) && matches!(state.auth.exist().await, Ok(false)) {
        return answer(state, AdminPage::set_up(SetUp { token, ..SetUp::default() }), parts, None).await;
    }
    answer(state, dead_link(), parts, Some(StatusCode::FORBIDDEN)).await
}

fn dead_link() -> AdminPage {
    AdminPage::set_up(SetUp { dead: true, ..SetUp::default() })
}

pub(crate) async fn set_up(
    State(state): State<AppState>,
    parts: Parts,
    Posted(SetUpForm { token, password, again }): Posted<SetUpForm>,
) -> Result<Response, Problem> {
    let page =
        |problem| AdminPage::set_up(SetUp { token: token.clone(), problem: Some(problem), dead: false });
    if password != again {
        let sentence = "The passwords don't match.".to_owned();
        return Ok(answer(state, page(sentence), parts, Some(StatusCode::UNPROCESSABLE_ENTITY)).await);
    }
    match state.auth.set_up(&token, password).await {
        Ok(session) => {
            let mut response = Redirect::to("/admin").into_response();
            session::set_session_cookies(&state.auth, &session, &parts, &mut response);
            Ok(response)
        }
        Err(SignInError::Link) => Ok(answer(state, dead_link(), parts, Some(StatusCode::FORBIDDEN)).await),
        Err(refused) => refuse(state, parts, refused, page).await,
    }
}

fn network(parts: &Parts) -> Option<Network> {
    parts.extensions.get::<Arrival>().and_then(Arrival::network)
}

/// What did not work: for people the page again, for programs a problem.
async fn refuse(
    state: AppState,
    parts: Parts,
    refused: SignInError,
    page: impl FnOnce(String) -> AdminPage,
) -> Result<Response, Problem> {
    let problem = match refused {
        SignInError::Wait(wait) => {
            let seconds = wait.as_millis().div_ceil(1000).max(1) as u64;
            let sentence = format!("Too many attempts. Try again in {}.", length(seconds));
            Problem::new(ProblemKind::TooManyAttempts, sentence).retry_after(seconds)
        }
        SignInError::Wrong => Problem::new(ProblemKind::SignedOut, "Wrong password."),
        SignInError::Weak(weakness) => Problem::field("password", weakness.to_string()),
        SignInError::NoAdminPassword | SignInError::Link => {
            Problem::new(ProblemKind::NoAdminPassword, "No admin password is set.")
        }
        SignInError::Failed(error) => return Err(Problem::internal(format!("{error:#}"))),
    };
    if !accepts_html(&parts.headers) {
        return Err(problem);
    }
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = answer(state, page(problem.detail), parts, Some(status)).await;
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    Ok(response)
}

fn length(seconds: u64) -> String {
    if seconds < 90 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) }
}
