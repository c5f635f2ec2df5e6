//! Documents of leptos as responses, and what they find in their context.

use adire_app::StatusOf;
use adire_studio::{Client, Studio};
use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use leptos::{
    nonce::use_nonce,
    prelude::{IntoView, provide_context, use_context},
};
use leptos_axum::ResponseOptions;

use crate::{error::ProblemKind, layers::headers::page_policy, state::AppState};

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

/// What pages and server functions find: the studio, the visitor, and for pages a policy with leptos' nonce.
pub(crate) fn context(studio: Studio) -> impl Fn() + Clone + Send + Sync + 'static {
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
