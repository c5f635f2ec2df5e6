//! `adire generate`: one image from the command line.

use std::{
    io::{self, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Instant,
};

use adire_engine::{
    Manifest, Output, Pipeline,
    adapter::{Adapter, Receipt, Strength},
    write_whole,
};
use adire_protocol::{
    AdapterUse, Defaults, GenerationRequest, GenerationSpec, Limits, Recipe, Sampling, Template,
    ValidationError, Wildcards, lora_tag,
};
use adire_runtime::{PreparedInit, embedding_uses, pixels};
use adire_studio::{DataFolder, read_wildcards};
use anyhow::{Context, bail};
use clap::{Args, error::ErrorKind};
use indicatif::{ProgressBar, ProgressStyle};

use crate::commands::{
    bundled,
    embeddings::NamedFile,
    init_image::{Hires, InitImageArgs, InitImageFiles},
    model_args,
    parameters::Parameters,
    print,
};

/// Message for an image that the safety checker blocked.
pub(crate) const WITHHELD: &str =
    "Blocked by the safety checker, so the file is black. Try another prompt or seed.";

/// Arguments of `adire generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    model: model_args::ModelArgs,
    /// Prompt; (word:1.2) sets a weight, BREAK starts a chunk, <lora:NAME:1> applies an adapter bundled with the model, or of the
    /// data folder: NAME, NAME@VN or NAME@ALIAS
    #[arg(long)]
    prompt: String,
    /// Negative prompt: what to avoid
    #[arg(long, default_value = "")]
    negative: String,
    #[command(flatten)]
    pub(crate) parameters: Parameters,
    /// Adapter file with its strength, -5 to 5 (default 1), or its strengths for text encoder and UNet; repeatable
    #[arg(long, value_name = "FILE[:STRENGTH|:TE:UNET]")]
    lora: Vec<Lora>,
    /// Data folder whose adapters prompts may name; only opened where the model bundles none of that name
    #[arg(long, env = "ADIRE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    storage: model_args::StorageArgs,
    /// Embedding file (textual inversion) and its word in prompts [default: the file's own word, or its name];
    /// repeatable
    #[arg(long, value_name = "FILE[:WORD]")]
    embedding: Vec<NamedFile>,
    /// Text file of wildcard lists, as on the admin's page: [name] on a line, then one value a line; __name__ in a prompt
    /// takes one of them
    #[arg(long, value_name = "FILE")]
    wildcards: Option<PathBuf>,
    /// Refuse adapters that apply only in part, instead of warning
    #[arg(long)]
    strict: bool,
    /// Largest adapter strength, either sign [default: 5]
    #[arg(long, value_name = "N", env = "ADIRE_MAX_STRENGTH", value_parser = model_args::strength_limit)]
    max_strength: Option<f64>,
    #[command(flatten)]
    init: InitImageArgs,
    /// Hires fix: scale, then optionally the upscaler (latent or image), denoising strength and steps of the hires pass
    #[arg(long, value_name = "SCALE[:latent|image[:STRENGTH[:STEPS]]]", conflicts_with = "init_image")]
    hires: Option<Hires>,
    /// The PNG file to write
    #[arg(long, value_name = "FILE.png")]
    out: PathBuf,
    /// Also write the final latents to this file, unless the safety checker blocks the image
    #[arg(long, value_name = "FILE.safetensors")]
    latents: Option<PathBuf>,
}

/// `FILE`, `FILE:STRENGTH` or `FILE:TE:UNET`.
#[derive(Clone, Debug, PartialEq)]
struct Lora {
    file: PathBuf,
    strength: Strength,
}

impl FromStr for Lora {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A file name may hold colons itself; only numbers after the last ones are strengths.
        fn number(text: &str) -> Option<(&str, f64)> {
            text.rsplit_once(':').and_then(|(file, number)| Some((file, number.trim().parse().ok()?)))
        }
        let (file, strength) = match number(text) {
            None => (text, Strength::from(1.0)),
            Some((rest, unet)) => match number(rest) {
                None => (rest, Strength::from(unet)),
                Some((file, text_encoder)) => (file, Strength { unet, text_encoder }),
            },
        };
        if file.is_empty() {
            return Err("a file is needed before the colon".to_owned());
        }
        Ok(Self { file: file.into(), strength })
    }
}

impl Lora {
    fn check(&self, most: f64) -> Result<(), String> {
        let strengths = [self.strength.unet, self.strength.text_encoder];
        match strengths.into_iter().find(|strength| !(strength.is_finite() && strength.abs() <= most)) {
            Some(strength) => {
                let file = self.file.display();
                Err(format!("Strength of {file} must be -{most} to {most}; got {strength}."))
            }
            None => Ok(()),
        }
    }
}

impl GenerateArgs {
    /// Generates the image and writes it.
    ///
    /// # Errors
    /// One sentence; a [`clap::Error`] for an invalid argument.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        // All validation that needs no model comes before loading one.
        let most = self.max_strength.unwrap_or(Limits::default().strength);
        let (seed, limits) = (random_seed(), Limits { strength: most, ..Limits::default() });
        for lora in &self.lora {
            lora.check(most)
                .map_err(|message| clap::Error::raw(ErrorKind::ValueValidation, format!("{message}\n")))?;
        }
        let (given, lists) = (self.init.read()?, self.lists()?);
        self.named_request(given.as_ref(), &lists, &limits, seed)?
            .validate(&limits, &any_defaults(), seed)
            .map_err(bad_arguments)?;
        let targets: Vec<&Path> =
            [Some(&self.out), self.latents.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
        for target in targets {
            check_target(target)?;
        }
        let mut adapters = Vec::with_capacity(self.lora.len());
        for lora in &self.lora {
            adapters.push((Arc::new(Adapter::read(&lora.file)?), lora.strength));
        }

        let mut embeddings = Vec::with_capacity(self.embedding.len());
        for named in &self.embedding {
            embeddings.push(named.read()?);
        }

        let model_args::FoundModel { path, options, .. } = self.model.find()?.warn();
        let mut pipeline = Pipeline::load(&path, &options)?;
        let mut info = pipeline.info().clone();
        info.limits.strength = most;
        let request = self.named_request(given.as_ref(), &lists, &info.limits, seed)?;
        let mut spec = request.validate(&info.limits, &info.defaults, seed).map_err(bad_arguments)?;
        spec.template = self.template(&spec);
        let mut uses: Vec<_> =
            adapters.iter().map(|(adapter, strength)| of_file(adapter, *strength)).collect();
        for mut tagged in spec.adapters {
            let strength = Strength { unet: tagged.strength, text_encoder: tagged.text_encoder_strength() };
            let (id, adapter) = self.tagged(pipeline.manifest(), &tagged.name)?;
            adapters.push((Arc::new(adapter), strength));
            tagged.name = id;
            uses.push(tagged);
        }
        let tagged: Vec<_> = uses.iter().filter(|u| u.in_prompt).map(|u| u.name.clone()).collect();
        spec.prompt = lora_tag::rename(&spec.prompt, &tagged);
        spec.adapters = uses;
        let begun = Instant::now();
        pipeline.set_embeddings(embeddings)?;
        let receipts = pipeline.set_adapters(&adapters)?;
        let warnings: Vec<String> = receipts.iter().filter_map(warning).collect();
        if self.strict && !warnings.is_empty() {
            bail!("{} Omit --strict to apply what fits.", warnings.join("\n"));
        }
        for warning in &warnings {
            let _ = writeln!(std::io::stderr(), "Warning: {warning}");
        }
        let switch_seconds = begun.elapsed().as_secs_f64();
        let init = given.map(|given| given.fit(spec.width, spec.height)).transpose()?;
        let output = draw(&mut pipeline, &spec, init.as_ref())?;

        if let Some(path) = self.latents.as_ref().filter(|_| !output.withheld) {
            let save =
                |part: &Path| output.latents.save_safetensors("latents", part).map_err(io::Error::other);
            write_whole(path, save).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let (seed, seconds, withheld) = (spec.seed, output.seconds, output.withheld);
        let hashes = adapters.iter().map(|(adapter, _)| adapter.hash().to_owned()).collect();
        let recipe = Recipe {
            spec,
            adapter_hashes: hashes,
            embeddings: embedding_uses(output.embeddings),
            vae: info.vae.clone(),
            model: info.name.clone(),
            model_hash: info.hash.clone(),
            device: info.device.clone(),
            dtype: info.dtype.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fingerprint: pipeline.fingerprint()?.unwrap_or_default().to_owned(),
            withheld,
            seconds: output.seconds,
            switch_seconds,
            warnings,
        };
        let png = adire_studio::encode_with_recipe(&pixels(output.image), &recipe)?;
        write_whole(&self.out, |part| std::fs::write(part, &png))
            .with_context(|| format!("cannot write {}", self.out.display()))?;
        print(format_args!("{} (seed {seed}, {seconds:.1} s)", self.out.display()))?;
        if withheld {
            print(WITHHELD)?;
        }
        Ok(())
    }

    /// The adapter of a tag with its `name@vN`: the model's own, else the data folder's.
    fn tagged(&self, manifest: &Manifest, name: &str) -> anyhow::Result<(String, Adapter)> {
        if let Some(version) = bundled::find(manifest, name)? {
            let id = format!("{}@v{}", version.name, version.version);
            return Ok((id, Adapter::read(&version.file)?));
        }
        // An empty variable counts as unset, as everywhere.
        let data = self.data.as_deref().filter(|data| !data.as_os_str().is_empty());
        let data = data.ok_or_else(|| bundled::missing(manifest, name))?;
        if !data.is_dir() {
            bail!(
                "the prompt uses the adapter {name}, but the data folder {} does not exist",
                data.display()
            );
        }
        let config = self.storage.config(data)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let folder = DataFolder::open_with(&config)
                .await
                .with_context(|| format!("the adapter {name} of {} cannot be read", data.display()))?;
            let found = folder.adapter(name).await;
            // Read while the folder is open: a bucket's file is in a cache.
            let read =
                found.map(|(version, file)| Adapter::read(&file).map(|adapter| (version.id(), adapter)));
            folder.close().await;
            Ok(read??)
        })
    }

    /// The request, with the hashes of the init image and mask.
    fn named_request(
        &self,
        given: Option<&InitImageFiles>,
        lists: &Wildcards,
        limits: &Limits,
        random: u64,
    ) -> anyhow::Result<GenerationRequest> {
        let mut request = self.request();
        let seed = request.seed.unwrap_or(random & 0xffff_ffff);
        let prompts = request.image_prompts(lists, seed, limits).map_err(bad_arguments)?;
        if let Some(prompts) = prompts.into_iter().next() {
            (request.prompt, request.negative_prompt) = (prompts.prompt, prompts.negative_prompt);
        }
        Ok(match given {
            Some(given) => given.name_in(request, limits),
            None => request,
        })
    }

    /// The wildcard lists; without any, their names stay text.
    fn lists(&self) -> anyhow::Result<Wildcards> {
        let Some(path) = &self.wildcards else { return Ok(Wildcards::default()) };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        read_wildcards(&text).map_err(|message| anyhow::anyhow!("{}: {message}", path.display()))
    }

    /// What the prompts were before their choices.
    fn template(&self, spec: &GenerationSpec) -> Option<Template> {
        let (prompt, negative) = (self.prompt.trim(), self.negative.trim());
        let differs = (prompt, negative) != (spec.prompt.as_str(), spec.negative_prompt.as_str());
        differs.then(|| Template {
            prompt: prompt.to_owned(),
            negative_prompt: negative.to_owned(),
            ..Template::default()
        })
    }

    fn request(&self) -> GenerationRequest {
        GenerationRequest {
            prompt: self.prompt.clone(),
            negative_prompt: self.negative.clone(),
            // Adapter files have no registered names; they are put into the spec once it is complete.
            hires: self.hires.as_ref().map(|Hires(hires)| hires.clone()),
            ..self.parameters.0.clone()
        }
    }
}

/// Stands in for the model's own defaults while only what was asked is checked.
fn any_defaults() -> Defaults {
    Defaults { steps: 20, guidance: 7.5, width: 512, height: 512, sampling: Sampling::default() }
}

fn bad_arguments(error: ValidationError) -> anyhow::Error {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{error}\n")).into()
}

fn random_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}

/// Warning about an adapter that applies only in part.
pub(crate) fn warning(receipt: &Receipt) -> Option<String> {
    receipt.warning().map(|warning| format!("{}: {warning}", receipt.path.display()))
}

/// How an image names an adapter that was given as a file.
fn of_file(adapter: &Adapter, strength: Strength) -> AdapterUse {
    let te_strength = (strength.text_encoder != strength.unet).then_some(strength.text_encoder);
    AdapterUse { te_strength, ..AdapterUse::new(stem(adapter.path()), strength.unet) }
}

/// What `<lora:…>` tags call a file.
fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
    // These end or split a tag.
    stem.replace(['<', '>', ':'], "_")
}

/// Makes one image under a progress bar.
pub(crate) fn draw(
    pipeline: &mut Pipeline,
    spec: &GenerationSpec,
    init: Option<&PreparedInit>,
) -> anyhow::Result<Output> {
    let bar = ProgressBar::new(spec.total_steps().into());
    if let Ok(style) = ProgressStyle::with_template("{bar:32} step {pos} of {len}, {eta} left") {
        bar.set_style(style);
    }
    let output = pipeline.generate_from(spec, init.map(PreparedInit::as_init_image), &mut |step| {
        bar.set_position(step.step.into());
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    Ok(output?)
}

/// Minutes of work should not end in a folder that is not there.
fn check_target(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        bail!("{} is a folder; name a file to write", path.display());
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        bail!("cannot write {}: the folder {} does not exist", path.display(), folder.display());
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lora_is_a_file_with_or_without_strength() {
        let lora = |text: &str| text.parse::<Lora>();
        let of = |file: &str, strength: f64| Ok(Lora { file: file.into(), strength: strength.into() });
        assert_eq!(lora("a.safetensors"), of("a.safetensors", 1.0));
        assert_eq!(lora("a.safetensors:0.5"), of("a.safetensors", 0.5));
        assert_eq!(lora("dir:x/a.safetensors:-2"), of("dir:x/a.safetensors", -2.0));
        assert_eq!(lora("C:a.safetensors"), of("C:a.safetensors", 1.0));
        let strength = Strength { unet: 1.0, text_encoder: 0.0 };
        assert_eq!(lora("C:a.safetensors:0:1"), Ok(Lora { file: "C:a.safetensors".into(), strength }));
        for wrong in ["", ":1", ":1:1"] {
            assert!(lora(wrong).is_err(), "{wrong} was taken");
        }
        for wrong in ["a.safetensors:1e9", "a.safetensors:nan", "a.safetensors:-5.1", "a:6:1"] {
            assert!(lora(wrong).unwrap().check(5.0).is_err(), "{wrong} was taken");
        }
        assert!(lora("a:-5:5").unwrap().check(5.0).is_ok());
    }

    #[test]
    fn targets_are_checked_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_target(folder.path()).is_err());
        assert!(check_target(&folder.path().join("none/a.png")).is_err());
        assert!(check_target(&folder.path().join("a.png")).is_ok());
        assert!(check_target(Path::new("a.png")).is_ok());
    }
}
