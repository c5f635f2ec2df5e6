//! Answers requests until the model is loaded: alive but not ready, a page that
//! refreshes automatically, and a 503 with Retry-After for API clients.

use std::sync::{Arc, OnceLock};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tower::ServiceExt;

use crate::{
    access::Access,
    dialect::Dialect,
    error::{Problem, ProblemKind},
    layers::visitor::accepts_html,
    routes,
    starting::Starting,
};

/// Value of Retry-After, in seconds.
const RETRY_AFTER_SECONDS: u64 = 1;

/// Switches once from the startup responses to the real router.
#[derive(Clone, Debug, Default)]
pub struct Startup(Arc<OnceLock<Router>>);

impl Startup {
    /// Serves every request with `router` from now on.
    pub fn open(&self, router: Router) {
        // A second opening would be the same router again; the first one stays.
        let _ = self.0.set(router);
    }

    /// What the listener serves: the real router once it is there.
    pub fn router(&self, access: Arc<Access>, starting: Starting) -> Router {
        Router::new().fallback(pass).with_state((self.clone(), loading(access, starting)))
    }
}

async fn pass(State((startup, loading)): State<(Startup, Router)>, request: Request) -> Response {
    let router = startup.0.get().cloned().unwrap_or(loading);
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn loading(access: Arc<Access>, starting: Starting) -> Router {
    let router = Router::new()
        .route("/healthz", get(routes::health))
        .route("/readyz", get(not_ready))
        .fallback(wait)
        .with_state(starting);
    routes::surround(router, access)
}

async fn not_ready(State(starting): State<Starting>) -> Response {
    let body = json!({ "status": "starting", "detail": starting.sentence() });
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)], Json(body))
        .into_response()
}

async fn wait(State(starting): State<Starting>, request: Request) -> Response {
    let path = request.uri().path();
    let api = path.starts_with("/api/") || Dialect::of(path).is_some();
    if api || !accepts_html(request.headers()) {
        let sentence = format!("{} Poll GET /readyz until it returns 200.", starting.sentence());
        return Problem::new(ProblemKind::Starting, sentence)
            .retry_after(RETRY_AFTER_SECONDS)
            .into_response();
    }
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, Html(starting.page())).into_response();
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
