//! What every handler may reach.

use std::sync::Arc;

use adire_studio::Studio;
use axum::extract::FromRef;
use leptos::config::LeptosOptions;

use crate::{operator::Operators, shutdown::Shutdown, site::Site};

/// Cloned for each request; everything in it is a handle.
#[derive(Clone)]
pub struct AppState {
    /// Jobs, pictures, adapters.
    pub studio: Studio,
    /// The page's files.
    pub site: Arc<Site>,
    /// Who may change what the studio offers.
    pub operators: Arc<Operators>,
    /// Tells long answers to end.
    pub shutdown: Shutdown,
    /// What leptos asks for; only its server functions are used.
    pub leptos: LeptosOptions,
}

impl AppState {
    /// The state of a server around `studio`.
    pub fn new(studio: Studio, site: Arc<Site>, operators: Arc<Operators>, shutdown: Shutdown) -> Self {
        let leptos = LeptosOptions::builder().output_name("adire").site_pkg_dir("pkg").build();
        Self { studio, site, operators, shutdown, leptos }
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
