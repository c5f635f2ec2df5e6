//! What is sent to MLflow, in which order, and how much of it has been.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::{Duration, Instant},
};

use adire_studio::{Studio, StudioError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::client::{Client, Failure};

/// Params of one batch, and the longest value.
const PARAMS: usize = 100;
pub(super) const VALUE: usize = 5_900;
/// How long something that MLflow refused rests before it is sent again.
pub(super) const REST: Duration = Duration::from_secs(300);

/// How much of a run has been sent to MLflow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Sent {
    pub(super) run: String,
    /// The run's artifact URI.
    pub(super) root: String,
    pub(super) params: bool,
    /// The largest number of a point that was sent.
    pub(super) number: u64,
    /// Names of images that were sent.
    pub(super) images: Vec<String>,
    pub(super) status: String,
    pub(super) artifacts: bool,
    /// Of a version: its number in MLflow's registry.
    pub(super) version: String,
}

/// Where a store of ours cannot be read, it is sent later; what is lost keeps nothing else back.
pub(super) fn own(error: StudioError) -> Failure {
    match error {
        StudioError::Storage(_) | StudioError::ShuttingDown => Failure::Away(error.to_string()),
        lost => Failure::Refused("LOST".to_owned(), lost.to_string()),
    }
}

pub(super) struct Mirror {
    pub(super) studio: Studio,
    pub(super) client: Client,
    pub(super) handle: Handle,
    /// Name of the experiment, and its id once it is known.
    name: String,
    experiment: Option<String>,
    /// What MLflow refused, when, and why. Everything else is sent meanwhile.
    refused: RefCell<BTreeMap<String, (Instant, String)>>,
    /// A part of the present thing is refused.
    is_partial: Cell<bool>,
    /// How long what was refused rests.
    rest: Duration,
}

impl Mirror {
    /// Made on a thread of the runtime.
    pub(super) fn new(studio: Studio, client: Client, name: String, rest: Duration) -> Self {
        Self {
            studio,
            client,
            handle: Handle::current(),
            name,
            experiment: None,
            refused: RefCell::default(),
            is_partial: Cell::new(false),
            rest,
        }
    }

    fn target(&self) -> String {
        format!("mlflow {}", self.client.shown())
    }

    pub(super) fn sent(&self, kind: &str, id: &str) -> Result<Sent, Failure> {
        let state = self.handle.block_on(self.studio.mirror(&self.target(), kind, id)).map_err(own)?;
        Ok(state.and_then(|state| serde_json::from_value(state).ok()).unwrap_or_default())
    }

    pub(super) fn save_sent(&self, kind: &str, id: &str, sent: &Sent) -> Result<(), Failure> {
        let state = serde_json::to_value(sent).unwrap_or_default();
        self.handle.block_on(self.studio.set_mirror(&self.target(), kind, id, &state)).map_err(own)
    }

    /// Sends a part of something, unless MLflow refused it just now; whether it is there. A part that is refused does not keep
    /// the others back, and is sent again later.
    pub(super) fn part(
        &self,
        name: &str,
        send: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        let rests = self.refused.borrow().get(name).is_some_and(|(at, _)| at.elapsed() < self.rest);
        if !rests {
            match send() {
                Ok(()) => {
                    self.refused.borrow_mut().remove(name);
                    return Ok(true);
                }
                Err(Failure::Refused(_, sentence)) => {
                    tracing::warn!("{sentence}");
                    self.refused.borrow_mut().insert(name.to_owned(), (Instant::now(), sentence));
                }
                Err(away) => return Err(away),
            }
        }
        self.is_partial.set(true);
        Ok(false)
    }

    /// Tells of one thing; whether MLflow has every part of it that there is so far.
    pub(super) fn whole(&self, tell: impl FnOnce() -> Result<(), Failure>) -> Result<bool, Failure> {
        self.is_partial.set(false);
        tell()?;
        Ok(!self.is_partial.get())
    }

    /// Tells everything that is new. The first thing that MLflow refuses, if there is any.
    pub(super) fn pass(&mut self) -> Result<Option<String>, Failure> {
        let experiment = match &self.experiment {
            Some(id) => id.clone(),
            None => {
                let id = self.client.experiment(&self.name)?;
                self.experiment.insert(id).clone()
            }
        };
        let mut runs = self.handle.block_on(self.studio.trainings()).map_err(own)?;
        runs.reverse();
        for run in &runs {
            self.part(&run.id, || self.training(&experiment, run))?;
        }
        let mut evaluations = self.handle.block_on(self.studio.evaluations(None)).map_err(own)?;
        evaluations.reverse();
        for evaluation in &evaluations {
            self.part(&evaluation.id, || self.evaluation(&experiment, evaluation))?;
        }
        let mut versions = self.handle.block_on(self.studio.versions()).map_err(own)?;
        versions.retain(|listed| listed.deleted_at.is_none());
        versions.sort_by_key(|listed| (listed.version.name.clone(), listed.version.version));
        let known: Vec<String> = versions.iter().map(|listed| listed.version.id()).collect();
        let mut names: Vec<&str> = Vec::new();
        for (listed, id) in versions.iter().zip(&known) {
            self.part(id, || self.version(&experiment, id, &runs))?;
            if !names.contains(&&*listed.version.name) {
                names.push(&listed.version.name);
            }
        }
        for name in names {
            self.part(&format!("aliases of {name}"), || self.moves(name, &known))?;
        }
        Ok(self.refused.borrow().values().next().map(|(_, sentence)| sentence.clone()))
    }

    /// The run of something, which is created once.
    pub(super) fn run(
        &self,
        experiment: &str,
        (kind, id): (&str, &str),
        (name, start): (&str, i64),
        sent: &mut Sent,
    ) -> Result<(), Failure> {
        if !sent.run.is_empty() {
            return Ok(());
        }
        // Created before, and the answer was lost?
        let found = match self.client.find_run(experiment, ("adire.id", id))? {
            Some(found) => found,
            None => {
                let tags = [("adire.id", id), ("adire.kind", kind), ("mlflow.source.name", "adire")];
                self.client.create_run(experiment, name, start, &tags)?
            }
        };
        (sent.run, sent.root) = found;
        self.save_sent(kind, id, sent)
    }

    pub(super) fn params(&self, run: &str, params: &[(String, String)]) -> Result<(), Failure> {
        for batch in params.chunks(PARAMS) {
            let params: Vec<Value> =
                batch.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
            self.client.post("runs/log-batch", &json!({ "run_id": run, "params": params }))?;
        }
        Ok(())
    }

    pub(super) fn tag(&self, run: &str, key: &str, value: &str) -> Result<(), Failure> {
        let value: String = value.chars().take(VALUE).collect();
        self.client.post("runs/set-tag", &json!({ "run_id": run, "key": key, "value": value })).map(drop)
    }

    /// Says how a run stands.
    pub(super) fn status(&self, run: &str, status: &str, end: Option<i64>) -> Result<(), Failure> {
        let mut update = json!({ "run_id": run, "status": status });
        if let Some(end) = end {
            update["end_time"] = end.into();
        }
        self.client.post("runs/update", &update).map(drop)
    }
}
