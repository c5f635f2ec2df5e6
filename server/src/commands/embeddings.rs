//! `adire embeddings …` on a data folder that no server is using, and embeddings passed as files.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use adire_engine::{Embedding, EngineError};
use adire_studio::{DataFolder, NewEmbedding, StudioError};
use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};

use super::{model_args, print};

/// Commands on embeddings.
#[derive(Debug, Subcommand)]
pub(crate) enum EmbeddingsCommand {
    /// Add an embedding file to a data folder, so that prompts can use its word
    Add(AddArgs),
    /// List the embeddings of a data folder
    List(ListArgs),
    /// Remove an embedding by its word; its file stays, so that images made with it can be verified
    Remove(RemoveArgs),
}

impl EmbeddingsCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// One sentence that says what went wrong and what to do.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self {
                Self::Add(args) => args.run().await,
                Self::List(args) => args.run().await,
                Self::Remove(args) => args.run().await,
            }
        })
    }
}

/// Arguments of `adire embeddings add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Embedding file (.safetensors)
    file: PathBuf,
    /// Word that activates it in prompts [default: the file's own word, or its name]
    #[arg(long)]
    word: Option<String>,
    #[command(flatten)]
    model_and_data: model_args::ModelAndDataArgs,
    #[command(flatten)]
    storage: model_args::StorageArgs,
}

impl AddArgs {
    async fn run(self) -> anyhow::Result<()> {
        let embedding = Embedding::read(&self.file)?;
        let word = called(&embedding, self.word.as_deref())?;
        let width = self.model_and_data.text_width()?;
        if embedding.width() != width {
            return Err(anyhow!(
                "{}: has vectors of {} numbers, but the model's text encoder needs {width}: it was made for another \
                 model. Pass the right one with --model",
                self.file.display(),
                embedding.width()
            ));
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (vectors, width) = (count(embedding.vectors()), count(width));
        let new = NewEmbedding { word, path: self.file, vectors, width };
        let folder = open(&self.model_and_data.data, &self.storage).await?;
        let added = folder.add_embedding(new).await;
        folder.close().await;
        let added = added?;
        let data = self.model_and_data.data.display();
        let plural = if added.vectors == 1 { "" } else { "s" };
        let (word, hash) = (&added.word, &added.hash);
        let line = format!("Added {word} ({} vector{plural}) to {data} (sha256 {hash})", added.vectors);
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
        let listed = folder.embeddings().await;
        folder.close().await;
        let listed = listed?;
        if self.json {
            print(serde_json::to_string_pretty(&listed)?)?;
            return Ok(());
        }
        for one in listed {
            print(format_args!("{}  {} × {}  sha256 {}", one.word, one.vectors, one.width, one.hash))?;
        }
        Ok(())
    }
}

/// Embedding to remove.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Word of the embedding
    word: String,
    /// Data folder
    #[arg(long, env = "ADIRE_DATA", default_value = "data")]
    data: PathBuf,
    #[command(flatten)]
    storage: model_args::StorageArgs,
}

impl RemoveArgs {
    async fn run(self) -> anyhow::Result<()> {
        let folder = open(&self.data, &self.storage).await?;
        let removed = folder.remove_embedding(&self.word).await;
        folder.close().await;
        print(format_args!("{} removed from {}", removed?.word, self.data.display()))?;
        Ok(())
    }
}

async fn open(data: &Path, storage: &model_args::StorageArgs) -> anyhow::Result<DataFolder> {
    DataFolder::open_with(&storage.config(data)?)
        .await
        .map_err(|error| match error {
            StudioError::InUse { .. } => {
                anyhow!("{error} A running server adds the file itself: /admin/embeddings, or POST /admin/api/embeddings.")
            }
            other => other.into(),
        })
        .context("cannot open the embeddings")
}

fn called(embedding: &Embedding, named: Option<&str>) -> anyhow::Result<String> {
    let word = embedding.called(named);
    word.map_err(|message| anyhow!("{}: the {message}. Give one with --word", embedding.path().display()))
}

/// `FILE` or `FILE:WORD`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedFile {
    file: PathBuf,
    word: Option<String>,
}

impl FromStr for NamedFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A file name may hold colons itself; words hold none.
        let whole = Self { file: text.into(), word: None };
        let parts = match text.rsplit_once(':') {
            Some((file, word)) if !word.contains(['/', '\\']) && !whole.file.is_file() => (file, Some(word)),
            _ => (text, None),
        };
        match parts {
            ("", _) => Err("a file is needed before the colon".to_owned()),
            (_, Some("")) => Err("a word is needed after the colon".to_owned()),
            (file, word) => Ok(Self { file: file.into(), word: word.map(str::to_owned) }),
        }
    }
}

impl NamedFile {
    /// The embedding and its word.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) fn read(&self) -> Result<(String, Arc<Embedding>), EngineError> {
        let embedding = Embedding::read(&self.file)?;
        let word = embedding.called(self.word.as_deref()).map_err(|message| {
            EngineError::adapter(&self.file, format!("the {message}. Give one as FILE:WORD."))
        })?;
        Ok((word, Arc::new(embedding)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedding_is_a_file_with_or_without_a_word() {
        let parsed = |text: &str| text.parse::<NamedFile>();
        let of = |file: &str, word: Option<&str>| {
            Ok(NamedFile { file: file.into(), word: word.map(str::to_owned) })
        };
        assert_eq!(parsed("a.safetensors"), of("a.safetensors", None));
        assert_eq!(parsed("a.safetensors:my word"), of("a.safetensors", Some("my word")));
        assert_eq!(parsed("C:\\a.safetensors"), of("C:\\a.safetensors", None));
        assert_eq!(parsed("dir:x/a.safetensors"), of("dir:x/a.safetensors", None));
        for wrong in ["", ":word", "a.safetensors:"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
