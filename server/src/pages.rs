//! Leptos' pages and server functions on axum, and what they find in their context.

use adire_app::{Document, StatusOf, shell};
use adire_studio::{Client, Studio};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};
use leptos::{
    nonce::use_nonce,
    prelude::{IntoView, provide_context, use_context},
};
use leptos_axum::{LeptosRoutes, ResponseOptions};

use crate::{
    admin,
    error::{Problem, ProblemKind, unknown_address},
    extract::Segment,
    form_post,
    layers::{headers::page_policy, visitor::accepts_html},
    state::AppState,
};

/// Adds the pages and every server function.
pub(crate) fn mount(router: Router<AppState>, state: &AppState) -> Router<AppState> {
    // Without pages of leptos' own router this adds the server functions only.
    router
        .leptos_routes_with_context(state, Vec::new(), context(state.studio.clone()), || ())
        .route("/", get(studio))
        .route("/adapters", get(adapters))
        .route("/adapters/{name}", get(adapter))
        .merge(form_post::routes())
}

async fn adapters(State(state): State<AppState>, request: Request) -> Response {
    let document = Document::adapters(&state.studio).await;
    show(state, document, request).await
}

async fn adapter(State(state): State<AppState>, Segment(name): Segment, request: Request) -> Response {
    let document = Document::adapter(&state.studio, &name).await;
    show(state, document, request).await
}

async fn studio(State(state): State<AppState>, request: Request) -> Response {
    let client = request.extensions().get::<Client>().cloned().unwrap_or_default();
    let query = request.uri().query().unwrap_or_default();
    let document = Document::studio(&state.studio, &client, query).await;
    show(state, document, request).await
}

async fn show(state: AppState, document: Document, request: Request) -> Response {
    let status = document.problem().map_or(StatusCode::OK, |kind| ProblemKind::from(kind).status());
    let style = state.site.style().to_owned();
    render(state, request, status, move || shell(document.clone(), style.clone())).await
}

/// Renders a document, with what pages find in their context.
pub(crate) async fn render<V: IntoView + 'static>(
    state: AppState,
    request: Request,
    status: StatusCode,
    view: impl Fn() -> V + Clone + Send + Sync + 'static,
) -> Response {
    let render = leptos_axum::render_app_async_with_context(context(state.studio), view);
    let mut response = render(request).await;
    *response.status_mut() = status;
    response
}

async fn missing(state: AppState, request: Request) -> Response {
    let path = request.uri().path();
    if path.starts_with("/admin/") {
        return admin::missing(state, request).await;
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

/// What pages and server functions find: the studio, the visitor, and for pages a policy with leptos' nonce.
fn context(studio: Studio) -> impl Fn() + Clone + Send + Sync + 'static {
    move || {
        provide_context(studio.clone());
        provide_context(StatusOf(|kind| ProblemKind::from(kind).status()));
        if let Some(client) =
            use_context::<Parts>().and_then(|parts| parts.extensions.get::<Client>().cloned())
        {
            provide_context(client);
        }
        let Some(options) = use_context::<ResponseOptions>() else { return };
        // What a page shows and a server function answers belongs to one visitor.
        options.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if let Some(policy) = use_nonce().and_then(|nonce| HeaderValue::from_str(&page_policy(&nonce)).ok()) {
            options.insert_header(header::CONTENT_SECURITY_POLICY, policy);
        }
    }
}
