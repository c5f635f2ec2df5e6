//! Admin API: datasets, training runs, the queue and images. One file per subject. Authorisation happens before any of
//! this is reached, for everything under `/admin`.

mod control;
mod datasets;
pub(crate) mod files;
mod follow;
mod training;

use axum::extract::DefaultBodyLimit;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::AppState;

/// Every address under `/admin/api`.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    let unlimited =
        OpenApiRouter::new().routes(routes!(files::add)).layer(DefaultBodyLimit::max(files::MAX_BODY_BYTES));
    OpenApiRouter::new()
        .routes(routes!(control::queue))
        .routes(routes!(control::cancel_all))
        .routes(routes!(control::cancel))
        .routes(routes!(control::images))
        .routes(routes!(control::delete_image))
        .routes(routes!(control::delete_generation))
        .routes(routes!(control::delete_visitor))
        .routes(routes!(control::versions))
        .routes(routes!(control::change_version, control::delete_version))
        .routes(routes!(datasets::list, datasets::create))
        .routes(routes!(datasets::read, datasets::change, datasets::delete))
        .routes(routes!(datasets::import))
        .routes(routes!(datasets::copy))
        .routes(routes!(datasets::remove))
        .routes(routes!(datasets::thumbnail))
        .routes(routes!(training::list, training::submit))
        .routes(routes!(training::read))
        .routes(routes!(training::pause))
        .routes(routes!(training::resume))
        .routes(routes!(training::cancel))
        .routes(routes!(training::file))
        .routes(routes!(training::settings, training::set_settings))
        .routes(routes!(follow::events))
        .merge(unlimited)
}
