//! `adire mlflow …`.

use adire_runtime::EngineBackend;
use adire_studio::Studio;
use anyhow::anyhow;
use clap::{Args, Subcommand};

use crate::{
    commands::{keep_private, model_args, print},
    mlflow::{Client, Imported, Importer, PATIENCE},
};

/// Commands on MLflow servers.
#[derive(Debug, Subcommand)]
pub(crate) enum MlflowCommand {
    /// Take runs and registered versions of an MLflow server over; run again, it takes over what is new
    Import(Box<ImportArgs>),
}

/// Arguments of `adire mlflow import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Address of the server, such as http://127.0.0.1:5000; may have a name and a password
    #[arg(env = "ADIRE_MLFLOW_TRACKING_URI", hide_env_values = true)]
    uri: String,
    /// Only the runs of this experiment. Repeatable
    #[arg(long, value_name = "NAME")]
    experiment: Vec<String>,
    #[command(flatten)]
    model_and_data: model_args::ModelAndDataArgs,
    #[command(flatten)]
    storage: model_args::StorageArgs,
}

impl MlflowCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// One sentence that says what went wrong and what to do.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let Self::Import(args) = self;
        args.run()
    }
}

impl ImportArgs {
    fn run(self) -> anyhow::Result<()> {
        keep_private();
        let client = Client::new(&self.uri, PATIENCE).map_err(|sentence| anyhow!(sentence))?;
        let config = self.storage.config(&self.model_and_data.data)?;
        let model = self.model_and_data.model()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let studio = runtime
            .block_on(Studio::open(config, move || EngineBackend::load(&model.path, &model.options)))?;
        // Not on a thread of the runtime: it waits for the server.
        let importer =
            Importer::new(&studio, &client, runtime.handle().clone(), &self.model_and_data.data, 1);
        let imported = importer.import(&self.experiment, &mut |line| {
            // Whether it is read or not, the import comes first; the last line below says what failed.
            let _ = print(line);
        });
        runtime.block_on(studio.shutdown());
        let Imported { runs, same_runs, own_runs, versions, same_versions, left_out } =
            imported.map_err(|error| {
                anyhow!(
                    "{} Run the command again: it continues where it stopped",
                    error.trim_end_matches('.').to_owned() + "."
                )
            })?;
        print(format_args!(
            "{} and {} taken over; {} and {} were here already; {} left out",
            counted(runs, "run"),
            counted(versions.len(), "version"),
            counted(same_runs + own_runs, "run"),
            counted(same_versions, "version"),
            left_out.len()
        ))
    }
}

fn counted(count: impl TryInto<u64>, what: &str) -> String {
    let count = count.try_into().unwrap_or_default();
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
