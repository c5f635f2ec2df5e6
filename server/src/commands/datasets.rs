//! `adire datasets …`: datasets of a data folder that no server is using.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use adire_protocol::{DatasetRecord, NewDataset};
use adire_studio::{DataFolder, StudioError};
use anyhow::Context;
use clap::{Args, Subcommand};

use crate::{
    commands::{keep_private, model_args, print},
    hub,
};

/// Commands on datasets.
#[derive(Debug, Subcommand)]
pub(crate) enum DatasetsCommand {
    /// Import a folder, a zip file or a Hugging Face dataset
    Import(ImportArgs),
    /// List the datasets of a data folder
    List(ListArgs),
}

impl DatasetsCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// One sentence that says what went wrong and what to do.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        keep_private();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self {
                Self::Import(args) => args.run().await,
                Self::List(args) => args.run().await,
            }
        })
    }
}

/// Source and name of the dataset.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Name of the dataset
    name: String,
    /// Folder or zip file with images (PNG, JPEG, WebP) and captions (metadata.jsonl or .csv, a.txt beside a.png, folders named
    /// 10_words), or hf:OWNER/NAME for a dataset on the Hub whose images are plain files
    from: String,
    /// Trigger word, prepended to captions that lack it
    #[arg(long, default_value = "", value_name = "WORD")]
    trigger: String,
    /// Default caption of images without one
    #[arg(long, default_value = "", value_name = "TEXT")]
    caption: String,
    /// Data folder
    #[arg(long, env = "ADIRE_DATA", default_value = "data")]
    data: PathBuf,
    #[command(flatten)]
    storage: model_args::StorageArgs,
}

impl ImportArgs {
    async fn run(self) -> anyhow::Result<()> {
        let new = NewDataset { name: self.name, trigger: self.trigger, caption: self.caption };
        // Validate before downloading anything or opening the folder.
        let new = new.validate()?;
        let from = match self.from.strip_prefix("hf:") {
            Some(repository) => hub::pull_images(repository, "main", &mut |report| {
                if let hub::Report::Line(line) = report {
                    let _ = writeln!(std::io::stderr(), "{line}");
                }
            })?,
            None => PathBuf::from(&self.from),
        };
        let folder = open(&self.data, &self.storage).await?;
        let imported = folder.import(new, &from).await;
        let class = match &imported {
            Ok(DatasetRecord { class_dataset: Some(class), .. }) => folder.dataset(class).await.map(Some),
            _ => Ok(None),
        };
        folder.close().await;
        let (record, class) = (imported?, class?);
        for warning in record.warnings.iter().chain(class.iter().flat_map(|class| &class.warnings)) {
            eprintln!("{}: {}", warning.name, warning.message);
        }
        let line = format!(
            "Imported {} with {} images into {}",
            record.name,
            record.images.len(),
            self.data.display()
        );
        print(line)?;
        Ok(())
    }
}

/// Data folder to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Data folder
    #[arg(long, env = "ADIRE_DATA", default_value = "data")]
    data: PathBuf,
    #[command(flatten)]
    storage: model_args::StorageArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    async fn run(self) -> anyhow::Result<()> {
        let folder = open(&self.data, &self.storage).await?;
        let listed = folder.datasets().await;
        folder.close().await;
        let listed = listed?;
        if self.json {
            print(serde_json::to_string_pretty(&listed)?)?;
            return Ok(());
        }
        for dataset in listed {
            let state = dataset.frozen.map_or_else(
                || "draft".to_owned(),
                |hash| format!("frozen {}", hash.get(..12).unwrap_or(&hash)),
            );
            print(format_args!("{}  {} images  {state}  {}", dataset.name, dataset.images, dataset.id))?;
        }
        Ok(())
    }
}

async fn open(data: &Path, storage: &model_args::StorageArgs) -> anyhow::Result<DataFolder> {
    DataFolder::open_with(&storage.config(data)?)
        .await
        .map_err(|error| match error {
            StudioError::InUse { .. } => {
                anyhow::anyhow!(
                    "{error} Use the admin page or /admin/api/datasets of the running server instead."
                )
            }
            other => other.into(),
        })
        .context("cannot open the datasets")
}
