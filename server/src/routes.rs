//! Every address of the server with who may call it and how large a body may be, and the layers around them all.
//!
//! Below `/admin` the guard enforces what [`Who`] says here; elsewhere an address enforces it itself. How many
//! generations, uploads and streams a visitor and a network may have is the studio's matter: `docs/limits.md`.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderValue, Method, header, request::Parts},
    middleware,
    routing::{delete, get, post},
};
use serde_json::json;
use tower_http::{
    CompressionLevel,
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer,
        predicate::{NotForContentType, Predicate, SizeAbove},
    },
    cors::{AllowHeaders, AllowOrigin, CorsLayer},
};
use utoipa::OpenApi;
use utoipa_axum::routes;

use crate::{
    access::Access,
    addresses::{Address, Addresses, BodyLimit, Who},
    admin::{api as admin_api, guard, pages as admin_pages},
    api::{
        adapters, deletion, embeddings, events, generations, history, images, model, openapi, recipe, shares,
        tokens, uploads, wildcards,
    },
    compat::{a1111, gradio, hugging_face, openai},
    dialect, embed, error, form_post, history_pages, hub_api,
    layers::{body, client, credentials, deadline, headers, host, log, origin, visitor},
    metrics, pages, share_pages,
    state::AppState,
    vote_pages,
};

/// The list. An address that is not here does not exist.
#[rustfmt::skip]
fn list() -> Addresses {
    use BodyLimit::{Adapter, Captions, Embedding, Empty, Files, Form, Images, Png, Small, Upload};
    use Who::{Admin, Anyone, Owner, Scraper, SignIn};

    Addresses::new(openapi::Description::openapi())
        // For whatever watches over the server.
        .page("GET", "/healthz", get(health), Anyone, Empty)
        .page("GET", "/readyz", get(ready), Anyone, Empty)
        .page("GET", "/metrics", get(metrics::metrics), Scraper, Empty)

        // Pages.
        .page("GET", "/", get(pages::studio), Anyone, Empty)
        .page("GET", "/adapters", get(pages::adapters), Anyone, Empty)
        .page("GET", "/adapters/{name}", get(pages::adapter), Anyone, Empty)
        // The studio's form without JavaScript. `/make`: that of pages that were loaded before the address changed.
        .page("POST", "/generate", post(form_post::submit_form), Anyone, Form)
        .page("POST", "/make", post(form_post::submit_form), Anyone, Form)
        .page("GET, POST", "/history", get(history_pages::list).post(history_pages::change), Owner, Small)
        .page("POST", "/history/zip", post(history_pages::zip), Owner, Small)
        .page("GET, POST", "/history/{id}/{index}", get(history_pages::card).post(history_pages::change_one), Owner, Small)
        // Shared images, and the studio with one version chosen.
        .page("GET, POST", "/p/{hash}", get(share_pages::shared).post(share_pages::report), Anyone, Small)
        .page("GET", "/p/{hash}/image.png", get(share_pages::image), Anyone, Empty)
        .page("GET", "/p/{hash}/qr.svg", get(share_pages::shared_qr), Anyone, Empty)
        .page("GET, POST", "/try/{name}", get(share_pages::try_version).post(share_pages::generate), Anyone, Small)
        .page("GET", "/try/{name}/qr.svg", get(share_pages::try_qr), Anyone, Empty)
        // The form as code.
        .page("GET", "/code", get(share_pages::code), Anyone, Empty)
        // The prompt box for other sites' pages; whose, says `--cors`.
        .page("GET", "/embed", get(embed::page), Anyone, Empty)
        .page("GET", "/embed.js", get(embed::script), Anyone, Empty)
        .page("GET", "/embed/page.js", get(embed::page_script), Anyone, Empty)
        // Blind votes, for those with the link.
        .page("GET, POST", "/vote/{token}", get(vote_pages::ballot).post(vote_pages::vote), Anyone, Small)
        .page("GET", "/vote/{token}/qr.svg", get(vote_pages::code), Anyone, Empty)
        .page("GET", "/vote/{token}/{pair}/{side}", get(vote_pages::image), Anyone, Empty)
        // The page's style, scripts and images: whatever the site has.
        .elsewhere("GET", "/{file}", Anyone, Empty)

        // Server functions: the page's own calls. Leptos routes them.
        .elsewhere("POST", "/api/fn/generate", Anyone, Small)
        .elsewhere("POST", "/api/fn/cancel", Owner, Small)
        .elsewhere("POST", "/api/fn/delete", Owner, Small)
        .elsewhere("POST", "/api/fn/delete_all", Owner, Small)
        .elsewhere("GET", "/api/fn/history", Owner, Empty)
        .elsewhere("GET", "/api/fn/queue", Anyone, Empty)
        .elsewhere("GET", "/api/fn/studio", Anyone, Empty)

        // The JSON API.
        .api(routes!(generations::submit), Anyone, Small)
        .api(routes!(generations::read), Anyone, Empty)
        .api(routes!(generations::cancel), Owner, Empty)
        .api(routes!(events::events), Anyone, Empty)
        .api(routes!(images::read), Anyone, Empty)
        .api(routes!(deletion::generation), Owner, Empty)
        .api(routes!(deletion::image), Owner, Empty)
        .api(routes!(history::search, deletion::history), Owner, Empty)
        .api(routes!(history::zip), Owner, Small)
        .api(routes!(history::rating, history::rate), Owner, Small)
        .api(routes!(history::flag), Anyone, Small)
        .api(routes!(shares::share, shares::unshare), Owner, Small)
        .api(routes!(shares::read), Anyone, Empty)
        .api(routes!(uploads::upload), Anyone, Upload)
        .api(routes!(recipe::recipe), Anyone, Png)
        .api(routes!(tokens::tokens), Anyone, Small)
        .api(routes!(adapters::list), Anyone, Empty)
        .api(routes!(adapters::read), Anyone, Empty)
        .api(routes!(adapters::file), Anyone, Empty)
        .api(routes!(embeddings::list), Anyone, Empty)
        .api(routes!(wildcards::list), Anyone, Empty)
        .api(routes!(model::model), Anyone, Empty)
        .api(routes!(model::queue), Anyone, Empty)
        .api(routes!(openapi::document), Anyone, Empty)

        // The Hugging Face Hub's download API, for its clients: adapters are repositories.
        .page("GET", "/api/models/{name}", get(hub_api::model), Anyone, Empty)
        .page("GET", "/api/models/{name}/refs", get(hub_api::refs), Anyone, Empty)
        .page("GET", "/api/models/{name}/revision/{revision}", get(hub_api::revision), Anyone, Empty)
        .page("GET", "/api/models/{name}/tree/{revision}", get(hub_api::tree), Anyone, Empty)
        .page("GET", "/{name}/resolve/{revision}/{*file}", get(hub_api::resolve), Anyone, Empty)

        // AUTOMATIC1111's API, for its clients. Options, progress and interruptions are the caller's own.
        .page("POST", "/sdapi/v1/txt2img", post(a1111::txt2img), Anyone, Images)
        .page("POST", "/sdapi/v1/img2img", post(a1111::img2img), Anyone, Images)
        .page("POST", "/sdapi/v1/png-info", post(a1111::png_info), Anyone, Images)
        .page("GET", "/sdapi/v1/progress", get(a1111::progress), Owner, Empty)
        .page("POST", "/sdapi/v1/interrupt", post(a1111::interrupt), Owner, Empty)
        .page("POST", "/sdapi/v1/skip", post(a1111::interrupt), Owner, Empty)
        .page("GET, POST", "/sdapi/v1/options", get(a1111::options).post(a1111::set), Owner, Small)
        .page("GET", "/sdapi/v1/sd-models", get(a1111::lists::models), Anyone, Empty)
        .page("GET", "/sdapi/v1/samplers", get(a1111::lists::samplers), Anyone, Empty)
        .page("GET", "/sdapi/v1/schedulers", get(a1111::lists::schedulers), Anyone, Empty)
        .page("GET", "/sdapi/v1/upscalers", get(a1111::lists::upscalers), Anyone, Empty)
        .page("GET", "/sdapi/v1/latent-upscale-modes", get(a1111::lists::latent_upscale_modes), Anyone, Empty)
        .page("GET", "/sdapi/v1/sd-vae", get(a1111::lists::none), Anyone, Empty)
        .page("GET", "/sdapi/v1/loras", get(a1111::lists::loras), Anyone, Empty)
        .page("GET", "/sdapi/v1/embeddings", get(a1111::lists::embeddings), Anyone, Empty)
        .page("GET", "/sdapi/v1/scripts", get(a1111::lists::scripts), Anyone, Empty)
        .page("GET", "/sdapi/v1/script-info", get(a1111::lists::none), Anyone, Empty)
        .page("GET", "/sdapi/v1/prompt-styles", get(a1111::lists::none), Anyone, Empty)
        .page("GET", "/sdapi/v1/hypernetworks", get(a1111::lists::none), Anyone, Empty)
        .page("GET", "/sdapi/v1/face-restorers", get(a1111::lists::none), Anyone, Empty)
        .page("GET", "/sdapi/v1/realesrgan-models", get(a1111::lists::none), Anyone, Empty)
        .page("GET", "/sdapi/v1/memory", get(a1111::lists::memory), Anyone, Empty)
        .page("GET", "/sdapi/v1/cmd-flags", get(a1111::lists::flags), Anyone, Empty)
        .page("POST", "/sdapi/v1/refresh-checkpoints", post(a1111::lists::done), Anyone, Empty)
        .page("POST", "/sdapi/v1/refresh-loras", post(a1111::lists::done), Anyone, Empty)
        .page("POST", "/sdapi/v1/refresh-vae", post(a1111::lists::done), Anyone, Empty)
        .page("POST", "/sdapi/v1/unload-checkpoint", post(a1111::lists::done), Anyone, Empty)
        .page("POST", "/sdapi/v1/reload-checkpoint", post(a1111::lists::done), Anyone, Empty)
        .page("POST", "/sdapi/v1/extra-single-image", post(a1111::lists::not_here), Anyone, Empty)
        .page("POST", "/sdapi/v1/extra-batch-images", post(a1111::lists::not_here), Anyone, Empty)

        // OpenAI's images, for its clients.
        .page("GET", "/v1/models", get(openai::models), Anyone, Empty)
        .page("GET", "/v1/models/{id}", get(openai::model), Anyone, Empty)
        .page("POST", "/v1/images/generations", post(openai::generations), Anyone, Small)
        .page("POST", "/v1/images/edits", post(openai::edits), Anyone, Images)
        .page("POST", "/v1/images/variations", post(openai::variations), Anyone, Images)

        // Hugging Face's inference, for its clients.
        .page("POST", "/hf/models/{id}", post(hugging_face::infer), Anyone, Images)

        // Gradio's protocol, for its clients.
        .page("GET", "/config", get(gradio::config), Anyone, Empty)
        .page("GET", "/gradio_api/info", get(gradio::info), Anyone, Empty)
        .page("POST", "/gradio_api/queue/join", post(gradio::join), Anyone, Images)
        .page("GET", "/gradio_api/queue/data", get(gradio::data), Owner, Empty)
        .page("GET", "/gradio_api/heartbeat/{session}", get(gradio::heartbeat), Anyone, Empty)
        .page("POST", "/gradio_api/cancel", post(gradio::cancel), Owner, Small)
        .page("POST", "/gradio_api/reset", post(gradio::cancel), Owner, Small)
        .page("POST", "/gradio_api/upload", post(gradio::upload), Anyone, Images)
        .page("GET", "/gradio_api/{file}/{name}", get(gradio::file), Anyone, Empty)
        .page("POST", "/gradio_api/call/{name}", post(gradio::call), Anyone, Images)
        .page("GET", "/gradio_api/call/{name}/{id}", get(gradio::result), Owner, Empty)
        .page("POST", "/login", post(gradio::login), Anyone, Small)

        // Signing in.
        .page("GET, POST", "/admin/sign-in", get(admin_pages::sign_in::page).post(admin_pages::sign_in::sign_in), SignIn, Small)
        .page("GET, POST", "/admin/link", get(admin_pages::sign_in::enter_by_address).post(admin_pages::sign_in::enter_by_form), SignIn, Small)
        .page("GET, POST", "/admin/set-up", get(admin_pages::sign_in::set_up_page).post(admin_pages::sign_in::set_up), SignIn, Small)
        .page("POST", "/admin/sign-out", post(admin_pages::sign_in::sign_out), Admin, Small)

        // The admin's pages and their forms.
        .page("GET", "/admin", get(admin_pages::overview::overview), Admin, Empty)
        .page("GET", "/admin/live", get(admin_pages::overview::tonight), Admin, Empty)
        .page("GET, POST", "/admin/queue", get(admin_pages::queue::show).post(admin_pages::queue::change), Admin, Small)
        .page("GET", "/admin/monitoring", get(admin_pages::monitoring::show), Admin, Empty)
        .page("GET", "/admin/metrics", get(metrics::for_admin), Admin, Empty)
        .page("GET, POST", "/admin/monitoring/alerts", get(admin_pages::alerts::show).post(admin_pages::alerts::change), Admin, Small)
        .page("GET, POST", "/admin/tokens", get(admin_pages::tokens::show).post(admin_pages::tokens::change), Admin, Small)
        .page("GET, POST", "/admin/images", get(admin_pages::control::images).post(admin_pages::control::change_images), Admin, Small)
        .page("GET, POST", "/admin/flags", get(admin_pages::flags::list).post(admin_pages::flags::change), Admin, Small)
        .page("GET, POST", "/admin/suite", get(admin_pages::flags::suite).post(admin_pages::flags::set_suite), Admin, Captions)
        .page("GET, POST", "/admin/wildcards", get(admin_pages::wildcards::show).post(admin_pages::wildcards::change), Admin, Captions)
        .page("GET", "/admin/images/{hash}", get(admin_pages::control::image), Admin, Empty)
        .page("GET, POST", "/admin/versions", get(admin_pages::versions::list).post(admin_pages::versions::change), Admin, Small)
        .page("POST", "/admin/versions/add", post(admin_pages::versions::add), Admin, Adapter)
        .page("GET, POST", "/admin/versions/{id}", get(admin_pages::versions::show).post(admin_pages::versions::change_one), Admin, Small)
        .page("GET, POST", "/admin/embeddings", get(admin_pages::embeddings::list).post(admin_pages::embeddings::change), Admin, Embedding)
        .page("GET, POST", "/admin/datasets", get(admin_pages::datasets::list).post(admin_pages::datasets::create), Admin, Captions)
        .page("GET, POST", "/admin/datasets/{id}", get(admin_pages::datasets::show).post(admin_pages::datasets::change), Admin, Captions)
        .page("POST", "/admin/datasets/{id}/files", post(admin_pages::datasets::upload), Admin, Files)
        .page("GET, POST", "/admin/training", get(admin_pages::training::list).post(admin_pages::training::start), Admin, Small)
        .page("GET", "/admin/training/new", get(admin_pages::training::form), Admin, Empty)
        .page("GET", "/admin/training/compare", get(admin_pages::training::compare), Admin, Empty)
        .page("GET", "/admin/training/imported", get(admin_pages::training::imported), Admin, Empty)
        .page("GET", "/admin/training/imported/{id}", get(admin_pages::training::imported_run), Admin, Empty)
        .page("POST", "/admin/training/settings", post(admin_pages::training::settings), Admin, Small)
        .page("GET, POST", "/admin/training/{id}", get(admin_pages::training::show).post(admin_pages::training::act), Admin, Small)
        .page("GET", "/admin/training/{id}/live", get(admin_pages::training::live), Admin, Empty)

        .page("GET, POST", "/admin/evaluations", get(admin_pages::evaluations::list).post(admin_pages::evaluations::start), Admin, Small)
        .page("GET", "/admin/evaluations/compare", get(admin_pages::evaluations::compare), Admin, Empty)
        .page("GET, POST", "/admin/evaluations/{id}", get(admin_pages::evaluations::show).post(admin_pages::evaluations::act), Admin, Small)
        .page("GET", "/admin/evaluations/{id}/live", get(admin_pages::evaluations::live), Admin, Empty)
        .page("GET, POST", "/admin/comparisons", get(admin_pages::comparisons::list).post(admin_pages::comparisons::change), Admin, Small)
        .page("GET, POST", "/admin/sheets", get(admin_pages::sheets::list).post(admin_pages::sheets::create), Admin, Captions)
        .page("GET, POST", "/admin/sheets/{id}", get(admin_pages::sheets::show).post(admin_pages::sheets::change), Admin, Small)
        .page("GET", "/admin/sheets/{id}/live", get(admin_pages::sheets::live), Admin, Empty)
        .page("GET", "/admin/sheets/{id}/sheet.png", get(admin_api::sheets::png), Admin, Empty)
        .page("GET, POST", "/admin/gate", get(admin_pages::evaluations::gate).post(admin_pages::evaluations::set_gate), Admin, Small)

        // The admin's API: queue, images, versions.
        .api(routes!(admin_api::control::queue), Admin, Empty)
        .api(routes!(admin_api::control::cancel_all), Admin, Small)
        .api(routes!(admin_api::control::cancel), Admin, Empty)
        .api(routes!(admin_api::jobs::list), Admin, Empty)
        .api(routes!(admin_api::jobs::cancel, admin_api::jobs::change), Admin, Small)
        .api(routes!(admin_api::follow::job), Admin, Empty)
        .api(routes!(admin_api::jobs::set_intake), Admin, Small)
        .api(routes!(admin_api::monitoring::read), Admin, Empty)
        .api(routes!(admin_api::alerts::read, admin_api::alerts::set), Admin, Small)
        .api(routes!(admin_api::alerts::mute), Admin, Small)
        .api(routes!(admin_api::alerts::test), Admin, Empty)
        .api(routes!(admin_api::control::images), Admin, Empty)
        .api(routes!(admin_api::control::delete_image), Admin, Empty)
        .api(routes!(admin_api::control::delete_generation), Admin, Empty)
        .api(routes!(admin_api::control::delete_visitor), Admin, Empty)
        .api(routes!(admin_api::sheets::list, admin_api::sheets::create), Admin, Captions)
        .api(routes!(admin_api::sheets::read, admin_api::sheets::delete), Admin, Empty)
        .api(routes!(admin_api::sheets::cancel), Admin, Empty)
        .api(routes!(admin_api::imported::list), Admin, Empty)
        .api(routes!(admin_api::imported::read), Admin, Empty)
        .api(routes!(admin_api::flags::list), Admin, Empty)
        .api(routes!(admin_api::flags::dismiss), Admin, Empty)
        .api(routes!(admin_api::flags::add_to_suite), Admin, Empty)
        .api(routes!(admin_api::flags::suite, admin_api::flags::set_suite), Admin, Small)
        .api(routes!(admin_api::control::versions), Admin, Empty)
        .api(routes!(admin_api::adapters::add), Admin, Adapter)
        .api(routes!(admin_api::control::change_version, admin_api::control::delete_version), Admin, Small)
        .api(routes!(admin_api::embeddings::add), Admin, Embedding)
        .api(routes!(admin_api::embeddings::remove), Admin, Empty)
        // The registry.
        .api(routes!(admin_api::registry::ledger), Admin, Empty)
        .api(routes!(admin_api::registry::production), Admin, Empty)
        .api(routes!(admin_api::lineage::version), Admin, Empty)
        .api(routes!(admin_api::lineage::image), Admin, Empty)
        .api(routes!(admin_api::registry::promote), Admin, Small)
        .api(routes!(admin_api::registry::roll_back), Admin, Small)
        .api(routes!(admin_api::registry::reject), Admin, Small)
        .api(routes!(admin_api::registry::archive), Admin, Small)
        .api(routes!(admin_api::registry::reopen), Admin, Small)
        .api(routes!(admin_api::registry::set_alias, admin_api::registry::delete_alias), Admin, Small)
        .api(routes!(admin_api::shadows::read, admin_api::shadows::switch_on, admin_api::shadows::switch_off), Admin, Small)
        .api(routes!(admin_api::pushes::submit), Admin, Small)
        .api(routes!(admin_api::pushes::list), Admin, Empty)
        .api(routes!(admin_api::pushes::read, admin_api::pushes::cancel), Admin, Empty)
        .api(routes!(admin_api::follow::push), Admin, Empty)
        // Datasets.
        .api(routes!(admin_api::datasets::list, admin_api::datasets::create), Admin, Small)
        .api(routes!(admin_api::datasets::read, admin_api::datasets::change, admin_api::datasets::delete), Admin, Small)
        .api(routes!(admin_api::datasets::import), Admin, Small)
        .api(routes!(admin_api::datasets::copy), Admin, Small)
        .api(routes!(admin_api::datasets::remove), Admin, Empty)
        .api(routes!(admin_api::datasets::thumbnail), Admin, Empty)
        // Their addresses until images were called that.
        .page("DELETE", "/admin/api/datasets/{id}/pictures/{image}", delete(admin_api::datasets::remove), Admin, Empty)
        .page("GET", "/admin/api/datasets/{id}/pictures/{image}/thumbnail", get(admin_api::datasets::thumbnail), Admin, Empty)
        .api(routes!(admin_api::files::add), Admin, Files)
        // Training runs.
        .api(routes!(admin_api::training::list, admin_api::training::submit), Admin, Small)
        .api(routes!(admin_api::training::read), Admin, Empty)
        .api(routes!(admin_api::training::pause), Admin, Empty)
        .api(routes!(admin_api::training::resume), Admin, Empty)
        .api(routes!(admin_api::training::cancel), Admin, Empty)
        .api(routes!(admin_api::training::keep), Admin, Empty)
        .api(routes!(admin_api::training::file), Admin, Empty)
        .api(routes!(admin_api::training::settings, admin_api::training::set_settings), Admin, Small)
        .api(routes!(admin_api::follow::training), Admin, Empty)
        // Evaluations.
        .api(routes!(admin_api::evaluations::list, admin_api::evaluations::submit), Admin, Small)
        .api(routes!(admin_api::evaluations::read, admin_api::evaluations::cancel), Admin, Empty)
        .api(routes!(admin_api::evaluations::rerun), Admin, Empty)
        .api(routes!(admin_api::evaluations::metrics), Admin, Empty)
        .api(routes!(admin_api::follow::evaluation), Admin, Empty)
        .api(routes!(admin_api::comparisons::list, admin_api::comparisons::create), Admin, Small)
        .api(routes!(admin_api::comparisons::close), Admin, Empty)
        .api(routes!(admin_api::evaluations::gate, admin_api::evaluations::set_gate), Admin, Small)
}

/// Every address of the server.
pub fn addresses() -> Vec<Address> {
    list().list
}

/// The JSON API and its description.
pub fn api() -> (Router<AppState>, utoipa::openapi::OpenApi) {
    list().api.split_for_parts()
}

/// The whole server once the model is there.
///
/// # Errors
/// The description of the API cannot be written as JSON.
pub fn router(state: AppState) -> Result<Router, serde_json::Error> {
    let Addresses { api, pages: documents, .. } = list();
    let (api, description) = api.split_for_parts();
    let access = state.access.clone();
    let mut description = serde_json::to_value(&description)?;
    openapi::describe_fields(&mut description);
    openapi::describe_old_names(&mut description);
    let document = openapi::Document(serde_json::to_vec(&description)?.into());
    // The outermost layer comes last.
    let mut router = pages::with_functions(documents, &state)
        .merge(api.layer(Extension(document)))
        .method_not_allowed_fallback(error::method_not_allowed)
        .fallback(pages::fallback)
        .layer(middleware::from_fn(body::limit))
        .layer(middleware::from_fn_with_state(body::MAX_GAP, body::gaps))
        .layer(DefaultBodyLimit::max(body::MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(state.clone(), guard::check))
        .layer(middleware::from_fn_with_state(state.clone(), credentials::identify))
        .layer(middleware::from_fn_with_state(access.clone(), visitor::remember))
        .layer(middleware::from_fn_with_state(access.clone(), origin::check));
    if !access.cors().is_empty() {
        router = router.layer(cors(&access));
    }
    let router = router
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
        .layer(middleware::from_fn(dialect::shape))
        .layer(middleware::from_fn(log::log))
}

/// Lets pages of the allowed origins call the APIs of programs.
fn cors(access: &Arc<Access>) -> CorsLayer {
    let known = access.clone();
    let allowed = move |origin: &HeaderValue, parts: &Parts| {
        origin.to_str().is_ok_and(|origin| known.lets_in(origin, parts.uri.path()))
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        // Gradio's client asks with cookies; those of other origins are not looked at.
        .allow_credentials(true)
        .expose_headers([header::LOCATION, header::RETRY_AFTER])
        .max_age(Duration::from_secs(600))
}

/// Compresses on the fly what is text and not compressed yet. Event streams stay as they are: a compressor would
/// hold events back.
fn compression() -> CompressionLayer<impl Predicate> {
    let predicate = SizeAbove::new(512)
        .and(NotForContentType::SSE)
        .and(NotForContentType::IMAGES)
        .and(NotForContentType::const_new("application/octet-stream"))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use leptos::server_fn::axum::server_fn_paths;

    use super::*;

    #[test]
    fn every_server_function_is_listed() {
        let functions: BTreeSet<String> =
            server_fn_paths().map(|(path, method)| format!("{method} {path}")).collect();
        let listed = addresses().into_iter().filter(|address| address.path.starts_with("/api/fn/"));
        let listed: BTreeSet<String> =
            listed.map(|address| format!("{} {}", address.methods.join(" "), address.path)).collect();
        assert_eq!(listed, functions);
    }
}
