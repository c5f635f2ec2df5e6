//! Leptos' pages and server functions on axum.

use adire_app::{Document, shell};
use adire_studio::Client;
use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use leptos_axum::LeptosRoutes;

use crate::{
    admin::pages as admin_pages,
    error::{Problem, ProblemKind, unknown_address},
    extract::Segment,
    flash,
    layers::visitor::accepts_html,
    render,
    state::AppState,
};

/// Adds every server function.
pub(crate) fn with_functions(router: Router<AppState>, state: &AppState) -> Router<AppState> {
    // Without pages of leptos' own router this adds the server functions only.
    router.leptos_routes_with_context(state, Vec::new(), render::context(state.studio.clone()), || ())
}

pub(crate) async fn adapters(State(state): State<AppState>, request: Request) -> Response {
    let document = Document::adapters(&state.studio).await;
    show(state, document, request).await
}

pub(crate) async fn adapter(
    State(state): State<AppState>,
    Segment(name): Segment,
    request: Request,
) -> Response {
    let document = Document::adapter(&state.studio, &name).await;
    show(state, document, request).await
}

pub(crate) async fn studio(State(state): State<AppState>, request: Request) -> Response {
    let client = request.extensions().get::<Client>().cloned().unwrap_or_default();
    let query = request.uri().query().unwrap_or_default();
    let warning = flash::read(request.headers());
    let document = Document::studio(&state.studio, &client, query, warning).await;
    show_once(state, document, request).await
}

/// A page that shows the sentences of the request's cookie, which is used up by it.
pub(crate) async fn show_once(state: AppState, document: Document, request: Request) -> Response {
    let is_shown = flash::read(request.headers()).is_some();
    let mut response = show(state, document, request).await;
    if is_shown {
        flash::clear(&mut response);
    }
    response
}

/// A page with the status of its problem, if it has one.
pub(crate) async fn show(state: AppState, document: Document, request: Request) -> Response {
    let status = match document.problem() {
        Some(kind) => ProblemKind::from(kind).status(),
        None if !document.field_errors().is_empty() => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    let style = state.site.style().to_owned();
    render::render(state, request, status, move || shell(document.clone(), style.clone())).await
}

async fn missing(state: AppState, request: Request) -> Response {
    let path = request.uri().path();
    if path.starts_with("/admin/") {
        return admin_pages::missing(state, request).await;
    }
    show(state, Document::not_found(), request).await
}

/// Everything that no route names: a file of the site, or a page that says that there is nothing.
pub(crate) async fn fallback(State(state): State<AppState>, request: Request) -> Response {
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        return unknown_address(path).into_response();
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        if let Some(response) = state.site.answer(path, request.headers()) {
            return response;
        }
        if accepts_html(request.headers()) {
            return missing(state, request).await;
        }
    }
    let shown: String = path.chars().take(120).collect();
    Problem::new(ProblemKind::NotFound, format!("Nothing at {shown}.")).into_response()
}
