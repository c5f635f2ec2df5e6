//! Every address of the server, and the layers around them.

use std::sync::Arc;

use axum::{Extension, Json, Router, extract::DefaultBodyLimit, extract::State, middleware, routing::get};
use serde_json::json;
use tower_http::{
    CompressionLevel,
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer,
        predicate::{NotForContentType, Predicate, SizeAbove},
    },
};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    access::Access,
    admin::{self, guard},
    api::{
        adapters, deletion, embeddings, events, generations, images, model, openapi, recipe, tokens, uploads,
    },
    error,
    layers::{body, client, deadline, headers, host, log, origin, visitor},
    pages,
    state::AppState,
};

/// The JSON API and its description.
pub fn api() -> (Router<AppState>, utoipa::openapi::OpenApi) {
    let image_sized = DefaultBodyLimit::max(recipe::MAX_PNG_BYTES);
    OpenApiRouter::with_openapi(openapi::Description::openapi())
        .routes(routes!(generations::submit))
        .routes(routes!(generations::read, generations::cancel))
        .routes(routes!(deletion::generation))
        .routes(routes!(deletion::image))
        .routes(routes!(deletion::history))
        .routes(routes!(events::events))
        .routes(routes!(images::read))
        .routes(routes!(adapters::list))
        .routes(routes!(adapters::read))
        .routes(routes!(adapters::file))
        .routes(routes!(embeddings::list))
        .routes(routes!(model::model))
        .routes(routes!(model::queue))
        .routes(routes!(tokens::tokens))
        .routes(routes!(openapi::document))
        .merge(admin::api::routes())
        .merge(OpenApiRouter::new().routes(routes!(recipe::recipe)).layer(image_sized))
        .routes(routes!(uploads::upload))
        .split_for_parts()
}

/// The whole server once the model is there.
///
/// # Errors
/// The description of the API cannot be written as JSON.
pub fn router(state: AppState) -> Result<Router, serde_json::Error> {
    let (api, description) = api();
    let access = state.access.clone();
    let document = openapi::Document(serde_json::to_vec(&description)?.into());
    let router = Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .merge(api.layer(Extension(document)));
    // The outermost layer comes last.
    let router = pages::mount(router, &state)
        .merge(admin::pages::routes())
        .method_not_allowed_fallback(error::method_not_allowed)
        .fallback(pages::fallback)
        .layer(middleware::from_fn(body::limit))
        .layer(middleware::from_fn_with_state(body::MAX_GAP, body::gaps))
        .layer(DefaultBodyLimit::max(body::MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(state.clone(), guard::check))
        .layer(middleware::from_fn_with_state(access.clone(), visitor::remember))
        .layer(middleware::from_fn(origin::check))
        .layer(middleware::from_fn_with_state(access.clone(), client::identify))
        .layer(middleware::from_fn(deadline::limit))
        .layer(compression())
        .with_state(state);
    Ok(surround(router, access))
}

/// The layers that the answers given while the model loads need too.
pub(crate) fn surround(router: Router, access: Arc<Access>) -> Router {
    router
        .layer(middleware::from_fn_with_state(access, host::check))
        .layer(middleware::from_fn(headers::secure))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(middleware::from_fn(log::log))
}

/// Compresses on the fly what is text and not compressed yet. Event streams stay as they are: a compressor would
/// hold events back.
fn compression() -> CompressionLayer<impl Predicate> {
    let predicate = SizeAbove::new(512)
        .and(NotForContentType::SSE)
        .and(NotForContentType::IMAGES)
        .and(NotForContentType::const_new("font/woff2"));
    CompressionLayer::new().quality(CompressionLevel::Precise(4)).compress_when(predicate)
}

/// The process lives.
pub(crate) async fn health() -> Json<serde_json::Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// The model is there.
async fn ready(State(state): State<AppState>) -> Json<serde_json::Value> {
    Json(json!({ "status": "ready", "model": state.studio.model().name, "queue": state.studio.queue() }))
}
