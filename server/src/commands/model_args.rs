//! Command-line arguments for model, device and data folder, and their defaults.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use adire_engine::{DeviceChoice, LoadOptions, Pipeline, Placement, Precision};
use adire_protocol::Recipe;
use adire_runtime::{JudgeFolder, JudgeParts};
use adire_studio::{BlobPlace, Bucket, StudioConfig};
use anyhow::Context;
use bytesize::ByteSize;
use clap::Args;

use crate::hub::{self, Kind};

/// Parses `--max-strength`.
pub(crate) fn strength_limit(text: &str) -> Result<f64, String> {
    let most = adire_protocol::Limits::MAX_STRENGTH;
    match text.parse::<f64>() {
        Ok(limit) if limit > 0.0 && limit <= most => Ok(limit),
        _ => Err(format!("expected a number above 0, at most {most}")),
    }
}

/// Model, and the files that a single-file checkpoint lacks.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ModelArgs {
    /// Model folder in Hugging Face layout, single-file checkpoint (.safetensors), or a name that `adire models
    /// list` shows [default: the starter model]
    #[arg(long, env = "ADIRE_MODEL")]
    model: Option<PathBuf>,
    /// For a single-file checkpoint: folder with CLIP's vocab.json and merges.txt [default: one downloaded from the Hub]
    #[arg(long, env = "ADIRE_TOKENIZER", value_name = "DIR")]
    tokenizer: Option<PathBuf>,
    /// For a single-file checkpoint with another structure than SD 1.5: model folder with its configs
    #[arg(long, env = "ADIRE_MODEL_CONFIG", value_name = "DIR")]
    model_config: Option<PathBuf>,
    /// VAE to use instead of the model's own: folder in Hugging Face layout, or .safetensors file
    #[arg(long, env = "ADIRE_VAE", value_name = "FILE|DIR")]
    vae: Option<PathBuf>,
    /// Check every image with the model's safety checker and black out what it flags; for model folders that have one
    #[arg(long, env = "ADIRE_SAFETY_CHECKER")]
    safety_checker: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Device and precision.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct DeviceArgs {
    /// Device: auto (the first usable GPU, else the CPU), cpu or cuda:N
    #[arg(long, env = "ADIRE_DEVICE", value_name = "auto|cpu|cuda:N", default_value_t)]
    device: DeviceChoice,
    /// Compute precision of text encoder and UNet: auto (f16 on a GPU; on a CPU bf16 where
    /// its instructions have it, else f32), f32, f16 or bf16
    #[arg(long, env = "ADIRE_DTYPE", value_name = "auto|f32|f16|bf16", default_value_t)]
    dtype: Precision,
}

impl DeviceArgs {
    /// Opens the device.
    ///
    /// # Errors
    /// The given GPU cannot be used.
    pub(crate) fn open(self) -> anyhow::Result<Placement> {
        Ok(Placement::open(self.device, self.dtype)?)
    }

    /// Opens the recipe's device and precision, unless others are given or that device is unavailable.
    fn open_like(self, recipe: &Recipe) -> anyhow::Result<Placement> {
        let dtype = match self.dtype {
            Precision::Auto => recipe.dtype.parse().unwrap_or_default(),
            named => named,
        };
        match (self.device, recipe.device.parse()) {
            (DeviceChoice::Auto, Ok(device @ (DeviceChoice::Cpu | DeviceChoice::Cuda(_)))) => {
                // The verdict reports a fallback to another device.
                Placement::open(device, dtype).or_else(|_| Self { dtype, ..self }.open())
            }
            _ => Self { dtype, ..self }.open(),
        }
    }
}

/// What scores images.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct JudgeArgs {
    /// CLIP to score images with: folder in Hugging Face layout, or a name that `adire models list` shows [default: the
    /// model's own, else openai/clip-vit-large-patch14 if it has been downloaded]
    #[arg(long, env = "ADIRE_JUDGE", value_name = "DIR|NAME")]
    judge: Option<PathBuf>,
    /// DINOv2 to find copies of training images with, instead of the judge's image tower: folder in Hugging Face layout,
    /// or a name [default: facebook/dinov2-small if it has been downloaded, for models without a judge of their own]
    #[arg(long, env = "ADIRE_DINOV2", value_name = "DIR|NAME")]
    dinov2: Option<PathBuf>,
    /// CSD to compare styles with, instead of the judge's image tower: safetensors file, folder, or a name
    #[arg(long, env = "ADIRE_CSD", value_name = "FILE|DIR|NAME")]
    csd: Option<PathBuf>,
}

impl JudgeArgs {
    /// The given judge, else the downloaded one; `None` where `model` brings one, and where there is none. With what takes
    /// over features of it.
    pub(crate) fn find(&self, model: &Path) -> (Option<JudgeFolder>, JudgeParts) {
        let own = Self::given(&self.judge).is_none() && JudgeFolder::of_model(model).is_some();
        let judge = match Self::given(&self.judge) {
            Some(named) => Some(found(named, &[Kind::Judge])),
            None if own => None,
            None => cached(DEFAULT_JUDGE, &[Kind::Judge]),
        };
        let dinov2 = match Self::given(&self.dinov2) {
            Some(named) => Some(found(named, &[Kind::ImageTower])),
            // A model that brings a judge was measured with that judge.
            None if own => None,
            None => cached(DEFAULT_DINOV2, &[Kind::ImageTower]),
        };
        let csd = Self::given(&self.csd).map(|named| found(named, &[Kind::ImageTower, Kind::Checkpoint]));
        (judge, JudgeParts { dinov2, csd })
    }

    /// An empty variable counts as unset, as everywhere.
    fn given(path: &Option<PathBuf>) -> Option<&Path> {
        path.as_deref().filter(|path| !path.as_os_str().is_empty())
    }
}

/// What is downloaded under a name.
fn cached(name: &str, kinds: &[Kind]) -> Option<JudgeFolder> {
    let cache = hub::folder();
    let found = kinds.iter().find_map(|kind| hub::find_kind(&cache, name, *kind))?;
    Some(JudgeFolder { name: found.name, path: found.path })
}

/// A path, or else what is downloaded under that name. A path that is not there is named when it is opened.
fn found(named: &Path, kinds: &[Kind]) -> JudgeFolder {
    let by_name = || named.to_str().and_then(|name| cached(name, kinds));
    match named.exists() {
        true => JudgeFolder::at(named),
        false => by_name().unwrap_or_else(|| JudgeFolder::at(named)),
    }
}

/// The judge of models that bring none.
const DEFAULT_JUDGE: &str = "openai/clip-vit-large-patch14";
/// What finds copies for them.
const DEFAULT_DINOV2: &str = "facebook/dinov2-small";

/// A resolved model with its load options.
#[derive(Clone, Debug)]
pub(crate) struct FoundModel {
    pub(crate) path: PathBuf,
    pub(crate) options: LoadOptions,
    /// Why an available GPU is not used.
    pub(crate) note: Option<String>,
}

impl FoundModel {
    /// Prints the note to stderr, for commands without a log.
    pub(crate) fn warn(self) -> Self {
        if let Some(note) = &self.note {
            eprintln!("adire: {note}");
        }
        self
    }
}

impl ModelArgs {
    /// The given model, or the starter model.
    pub(crate) fn find(&self) -> anyhow::Result<FoundModel> {
        self.on(self.device.open()?)
    }

    /// An empty variable counts as unset, as everywhere.
    fn model_config(&self) -> Option<&Path> {
        self.model_config.as_deref().filter(|folder| !folder.as_os_str().is_empty())
    }

    fn on(&self, place: Placement) -> anyhow::Result<FoundModel> {
        let path = named_or_starter(self.model.as_deref())?;
        let config = self.model_config().map(resolve);
        let mut tokenizer = self.tokenizer.clone();
        if path.is_file() && tokenizer.is_none() && config.is_none() {
            let beside = path.with_file_name("tokenizer");
            let beside = beside.join("vocab.json").is_file().then_some(beside);
            tokenizer = beside.or_else(|| hub::tokenizer(&hub::folder()));
        }
        let Placement { device, gpu, dtype, note } = place;
        // An empty variable counts as unset, as everywhere.
        let vae = self.vae.as_deref().filter(|vae| !vae.as_os_str().is_empty()).map(resolve);
        let safety_checker = self.safety_checker;
        let options = LoadOptions { device, gpu, dtype, tokenizer, config, vae, safety_checker };
        Ok(FoundModel { path, options, note })
    }
}

/// Where blobs are, if not in the data folder.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct BucketArgs {
    /// S3 bucket for images, uploads and adapters instead of `blobs` in the data folder: s3://bucket/prefix. Credentials
    /// and endpoint are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL; docs/blobs.md has more
    #[arg(long, value_name = "URL", env = "ADIRE_BLOBS")]
    blobs: Option<String>,
}

impl BucketArgs {
    /// The bucket that is given, if one is.
    ///
    /// # Errors
    /// The URL is malformed.
    pub(crate) fn bucket(&self) -> anyhow::Result<Option<Bucket>> {
        let given = self.blobs.as_deref().filter(|url| !url.is_empty());
        Ok(given.map(Bucket::from_environment).transpose()?)
    }
}

/// Where rows and blobs are, if not in the data folder.
#[derive(Clone, Args)]
pub(crate) struct StorageArgs {
    /// PostgreSQL database to use instead of adire.db in the data folder: postgres://user:password@host/name. In the
    /// variable the password is hidden from other users; docs/database.md has more
    #[arg(long, value_name = "URL", env = "ADIRE_DATABASE", hide_env_values = true)]
    database: Option<String>,
    #[command(flatten)]
    blobs: BucketArgs,
    /// Maximum disk space of the bucket's files that are kept in the data folder [default: 20 GB, at most a tenth of the
    /// disk]
    #[arg(long, value_name = "SIZE", env = "ADIRE_BLOB_CACHE")]
    blob_cache: Option<ByteSize>,
}

impl StorageArgs {
    /// The configuration of the studio in a data folder. URLs are not parsed by clap, whose messages repeat the value
    /// with its password.
    ///
    /// # Errors
    /// A URL is malformed.
    pub(crate) fn config(&self, data: &Path) -> anyhow::Result<StudioConfig> {
        // An empty variable counts as unset, as everywhere.
        let given = |url: &'_ Option<String>| url.clone().filter(|url| !url.is_empty());
        let database = given(&self.database).map(|url| url.parse()).transpose()?;
        let blobs =
            BlobPlace { bucket: self.blobs.bucket()?, cache: self.blob_cache.map(|size| size.as_u64()) };
        Ok(StudioConfig { database, blobs, ..StudioConfig::new(data) })
    }
}

impl fmt::Debug for StorageArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageArgs").field("database", &self.database.is_some()).finish_non_exhaustive()
    }
}

/// Model and data folder.
#[derive(Clone, Debug, Args)]
pub(crate) struct ModelAndDataArgs {
    /// Data folder (database, images, adapters); created if absent
    #[arg(long, env = "ADIRE_DATA", default_value = "data")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
}

impl ModelAndDataArgs {
    /// The given model, or the starter model.
    pub(crate) fn model(&self) -> anyhow::Result<FoundModel> {
        self.model.find()
    }

    /// The repository on the Hub that is named and has not been downloaded.
    pub(crate) fn missing(&self) -> Option<&str> {
        let named = self.model.model.as_deref()?.to_str()?;
        (hub::is_repository(named)
            && resolve(Path::new(named)) == Path::new(named)
            && !Path::new(named).exists())
        .then_some(named)
    }

    /// Width of the model's text encoder, without loading its weights.
    pub(crate) fn text_width(&self) -> anyhow::Result<usize> {
        let path = named_or_starter(self.model.model.as_deref())?;
        let config = self.model.model_config().map(resolve);
        Ok(Pipeline::width_of_text(&path, config.as_deref())?)
    }

    /// As [`Self::model`], on the recipe's device and in its precision, unless others are given.
    pub(crate) fn model_for(&self, recipe: &Recipe) -> anyhow::Result<FoundModel> {
        self.model.on(self.model.device.open_like(recipe)?)
    }
}

/// `named`, or the starter model.
fn named_or_starter(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    match named {
        Some(named) => Ok(resolve(named)),
        None => starter().context(
            "no model found; pass a folder in Hugging Face layout with --model or ADIRE_MODEL, or download one with \
             `adire models pull OWNER/NAME`",
        ),
    }
}

/// An existing path, else the model of that name in the Hub's cache, else the path unchanged, so that messages can
/// show it.
pub(crate) fn resolve(named: &Path) -> PathBuf {
    if named.exists() {
        return named.to_owned();
    }
    let found = match named.to_str() {
        Some("starter") => starter(),
        Some(name) => hub::find(&hub::folder(), name).map(|cached| cached.path),
        None => None,
    };
    found.unwrap_or_else(|| named.to_owned())
}

/// The starter model: `models/starter` here or beside the program.
pub(crate) fn starter() -> Option<PathBuf> {
    beside_program("models/starter").into_iter().find(|folder| folder.join("model_index.json").is_file())
}

/// Folder with the page's files: `site` beside the program, or the build's output.
pub(crate) fn site() -> Option<PathBuf> {
    let mut candidates = beside_program("site");
    candidates.push(PathBuf::from("target/site"));
    candidates.into_iter().find(|folder| folder.join("pkg").is_dir())
}

/// `name` in this folder, beside the program, and in the folders above it (`target/release/adire` finds what lies
/// in `target` and in the checkout).
fn beside_program(name: &str) -> Vec<PathBuf> {
    let program = std::env::current_exe().ok();
    let above = program.as_deref().into_iter().flat_map(|program| program.ancestors().skip(1).take(3));
    std::iter::once(Path::new("")).chain(above).map(|folder| folder.join(name)).collect()
}
