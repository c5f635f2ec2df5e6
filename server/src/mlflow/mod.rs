//! MLflow: training runs, evaluations, versions and alias moves go to a tracking server as they happen.
//!
//! Everything is in the database before it is sent, and how much of it has been is there too, so nothing is lost while the
//! server is away, and a step of training never waits. What is sent twice after a broken connection is the same twice: MLflow
//! keeps one.

mod client;
mod evaluation;
mod images;
mod import;
mod mirror;
mod registry;
#[cfg(test)]
mod tests;
mod training;

use std::time::Duration;

use adire_protocol::Tracking;
use adire_studio::Studio;

pub(crate) use client::{Client, Failure, PATIENCE};
pub(crate) use import::{Imported, Importer};
use mirror::{Mirror, REST};

/// Between two looks at what is new.
const BEAT: Duration = Duration::from_secs(2);
/// First and longest wait while the server is away.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const MAX_WAIT: Duration = Duration::from_secs(300);

/// Where to.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// May have a name and a password.
    pub(crate) uri: String,
    /// Name of the experiment.
    pub(crate) experiment: String,
}

/// Tells MLflow what happens until the process ends.
pub(crate) async fn run(studio: Studio, settings: Settings) {
    let client = match Client::new(&settings.uri, PATIENCE) {
        Ok(client) => client,
        Err(sentence) => {
            tracing::error!("{sentence}");
            studio.set_tracking(Tracking { problem: Some(sentence), ..Tracking::default() });
            return;
        }
    };
    let shown = client.shown();
    let mut mirror = Some(Mirror::new(studio.clone(), client, settings.experiment, REST));
    let mut wait = FIRST_WAIT;
    loop {
        let Some(mut own) = mirror.take() else { return };
        let work = move || {
            let sent = own.pass();
            (own, sent)
        };
        let Ok((own, sent)) = tokio::task::spawn_blocking(work).await else {
            tracing::error!("telling MLflow failed for good");
            return;
        };
        mirror = Some(own);
        let (pause, problem) = match sent {
            Ok(refused) => {
                wait = FIRST_WAIT;
                (BEAT, refused)
            }
            Err(Failure::Away(sentence) | Failure::Refused(_, sentence)) => {
                tracing::warn!("{sentence} It is sent later.");
                let pause = wait;
                wait = (wait * 2).min(MAX_WAIT);
                (pause, Some(sentence))
            }
        };
        studio.set_tracking(Tracking { server: shown.clone(), problem });
        tokio::time::sleep(pause).await;
    }
}
