//! `adire adapters push`: uploads a version to the Hugging Face Hub, from a data folder that no server is using.

use std::{io::Write as _, path::PathBuf, sync::Arc, sync::atomic::AtomicBool, thread, time::Duration};

use adire_protocol::PushRequest;
use adire_studio::{DataFolder, StudioError};
use anyhow::{Context, anyhow, bail};
use clap::Args;

use crate::{
    commands::{keep_private, model_args, print},
    exports::Exports,
    hub::{self, Push},
    publish::{self, Destination},
};

/// Tries of an upload; between them 2, 4, 8 … seconds.
const TRIES: u32 = 6;

/// Arguments of `adire adapters push`.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The version, NAME@VN
    version: String,
    /// Repository on the Hub, OWNER/NAME; created if it does not exist
    repository: String,
    /// Create a public repository
    #[arg(long)]
    public: bool,
    /// Licence as the Hub spells it, for example creativeml-openrail-m
    #[arg(long)]
    license: Option<String>,
    /// Base model on the Hub, OWNER/NAME
    #[arg(long, value_name = "ID")]
    base_model: Option<String>,
    /// Data folder
    #[arg(long, env = "ADIRE_DATA", default_value = "data")]
    data: PathBuf,
    /// Model folder, for an adapter of a model with another structure than SD 1.5
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    storage: model_args::StorageArgs,
}

impl PushArgs {
    /// Uploads.
    ///
    /// # Errors
    /// One sentence: no such version, no token, no access.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        keep_private();
        let request = PushRequest {
            repository: self.repository.clone(),
            private: !self.public,
            license: self.license.clone(),
            base_model: self.base_model.clone(),
        };
        let destination = destination(Vec::new());
        let hub = destination.hub().map_err(|sentence| anyhow!(sentence))?;
        let config = self.storage.config(&self.data)?;
        let exports = Arc::new(Exports::new(self.data.join("exports"), self.model.clone()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (files, summary) = runtime.block_on(async {
            let folder = DataFolder::open_with(&config).await.map_err(|error| match error {
                StudioError::InUse { .. } => {
                    anyhow!("{error} Use the button on the version's page of the running server instead.")
                }
                other => other.into(),
            })?;
            let checked = folder.check_push(&request);
            let publication = folder.publication(&self.version).await;
            folder.close().await;
            checked?;
            let base = request.base_model.clone().unwrap_or_else(|| "Stable Diffusion 1.5".to_owned());
            publish::assemble(&exports, publication?, &request, &base).await.context("cannot be exported")
        })?;
        let stop = AtomicBool::new(false);
        let push = Push {
            repository: &request.repository,
            private: request.private,
            summary: &summary,
            files: &files,
        };
        for attempt in 1.. {
            let mut report = |progress: &str| {
                let _ = writeln!(std::io::stderr(), "{progress}");
            };
            match hub.push(&push, &stop, &mut report) {
                Ok(hub::Pushed { url, commit }) => {
                    return match commit {
                        Some(_) => print(format_args!("{} is at {url}", self.version)),
                        None => print(format_args!("{url} already holds {}", self.version)),
                    };
                }
                Err(error) if error.transient && attempt < TRIES => {
                    let wait = error.wait_or(Duration::from_secs(1 << attempt));
                    report(&format!("{} Next try in {} s.", error.message, wait.as_secs()));
                    thread::sleep(wait);
                }
                Err(error) => bail!("{}", error.message.trim_end_matches('.')),
            }
        }
        Ok(())
    }
}

/// The Hub that the environment names.
pub(crate) fn destination(allowed: Vec<String>) -> Destination {
    let (endpoint, token) = hub::from_environment();
    Destination { endpoint, token, allowed, hurry: 1, silence: hub::SILENCE }
}
