//! What every handler may reach.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use adire_studio::Studio;
use axum::extract::FromRef;
use leptos::config::LeptosOptions;

use crate::{
    access::Access,
    admin::auth::AdminAuth,
    compat::{bodies::Bodies, callers::Callers, sessions::Sessions},
    exports::Exports,
    layers::streams::Streams,
    shutdown::Shutdown,
    site::Site,
    starting::Starting,
};

/// What stands between the network and the studio; made before the studio is.
#[derive(Clone)]
pub struct Front {
    /// The page's files.
    pub site: Arc<Site>,
    /// Who may change what the studio offers.
    pub auth: Arc<AdminAuth>,
    /// What is believed of those who ask.
    pub access: Arc<Access>,
    /// Where adapters are exported to.
    pub exports: PathBuf,
    /// The model's folder, for the names of its modules; set before the studio is open.
    pub model: Arc<OnceLock<PathBuf>>,
    /// What is done until then.
    pub starting: Starting,
}

/// Cloned for each request; everything in it is a handle.
#[derive(Clone)]
pub struct AppState {
    /// Jobs, images, adapters.
    pub studio: Studio,
    /// The page's files.
    pub site: Arc<Site>,
    /// Who may change what the studio offers.
    pub auth: Arc<AdminAuth>,
    /// What is believed of those who ask.
    pub access: Arc<Access>,
    /// Adapters in other programs' formats.
    pub(crate) exports: Arc<Exports>,
    /// Who follows how many generations.
    pub(crate) streams: Streams,
    /// Room for the bodies of other programs' APIs.
    pub(crate) bodies: Bodies,
    /// What the callers of A1111's API have set and wait for.
    pub(crate) callers: Callers,
    /// What the callers of OpenAI's and Gradio's APIs wait for.
    pub(crate) sessions: Sessions,
    /// Tells long answers to end.
    pub shutdown: Shutdown,
    /// What leptos asks for; only its server functions are used.
    pub leptos: LeptosOptions,
}

impl AppState {
    /// The state of a server around `studio`.
    pub fn new(studio: Studio, front: Front, shutdown: Shutdown) -> Self {
        let Front { site, auth, access, exports, model, starting: _ } = front;
        let exports = Arc::new(Exports::new(exports, model.get().cloned()));
        let leptos = LeptosOptions::builder().output_name("adire").site_pkg_dir("pkg").build();
        Self {
            studio,
            site,
            auth,
            access,
            exports,
            streams: Streams::default(),
            bodies: Bodies::default(),
            callers: Callers::default(),
            sessions: Sessions::default(),
            shutdown,
            leptos,
        }
    }
}

impl FromRef<AppState> for Bodies {
    fn from_ref(state: &AppState) -> Self {
        state.bodies.clone()
    }
}

impl FromRef<AppState> for LeptosOptions {
    fn from_ref(state: &AppState) -> Self {
        state.leptos.clone()
    }
}

impl FromRef<AppState> for Studio {
    fn from_ref(state: &AppState) -> Self {
        state.studio.clone()
    }
}
