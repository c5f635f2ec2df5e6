//! Shadow rendering: while the device has nothing else to do, the challenger's image of a production generation is rendered
//! and both images are scored. Not a job: pairs are rows, what a unit has made is stored, and what was broken off is done
//! again. A rendering stops within one step when a generation comes.

use std::sync::{Arc, atomic::AtomicBool};

use adire_protocol::{GenerationSpec, lora_tag};

use crate::{
    BackendError, FeatureRequest, FeatureSet, MeasureRequest, RenderRequest, Seen, StudioError, adapters,
    embeddings,
    evaluation::prompts::{plain, with_trigger},
    job::{MAX_ATTEMPTS, given_up},
    png::encode_bare,
    read_pixels,
    shared::Shared,
    store::{End, PairScores, ShadowRow, Waiting},
    tasks::blocking,
    time::now,
};

/// Images that the judge sees in one unit.
const UNIT: usize = 4;
/// Pairs in a row that fail alike before the shadow ends.
const MAX_FAILURES: usize = 5;

/// What a shadow's pair is in the middle of.
#[derive(Default)]
pub(super) struct ShadowRun {
    /// Set to break a rendering off within one step.
    pub(super) interrupt: Arc<AtomicBool>,
    /// Of the shadow whose pair was the last.
    style: Option<Style>,
}

/// What the judge has seen of a shadow's style reference.
struct Style {
    shadow: String,
    held_out: Vec<String>,
    base: Vec<String>,
    seen_held_out: Vec<Vec<f32>>,
    seen_base: Vec<Vec<f32>>,
}

/// Why a unit could not be done.
enum Problem {
    /// The pair cannot be scored.
    Pair(String),
    /// No pair of the shadow can.
    Shadow(String),
    /// A generation goes first.
    Interrupted,
    Studio(StudioError),
}

impl From<StudioError> for Problem {
    fn from(error: StudioError) -> Self {
        Self::Studio(error)
    }
}

impl From<BackendError> for Problem {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Cancelled => Self::Interrupted,
            BackendError::Failed(message) => Self::Pair(message),
        }
    }
}

impl ShadowRun {
    /// Does the next unit of the oldest pair; whether there was one.
    pub(super) async fn unit(&mut self, shared: &Shared) -> Result<bool, StudioError> {
        let Some(pair) = shared.store.next_pair(&shared.model.hash).await? else { return Ok(false) };
        let Some(shadow) = shared.store.shadow(&pair.shadow).await? else { return Ok(false) };
        match self.work_on(shared, &shadow, &pair).await {
            Ok(()) | Err(Problem::Interrupted) => {}
            Err(Problem::Pair(note)) => {
                tracing::warn!(shadow = shadow.challenger(), note, "a pair was left out");
                if shared.store.leave_out(&pair, &note).await? >= MAX_FAILURES {
                    let reason = format!("{MAX_FAILURES} pairs in a row failed: {note}");
                    end(shared, &shadow, &reason).await?;
                }
            }
            Err(Problem::Shadow(reason)) => end(shared, &shadow, &reason).await?,
            Err(Problem::Studio(error)) => return Err(error),
        }
        Ok(true)
    }

    async fn work_on(&mut self, shared: &Shared, shadow: &ShadowRow, pair: &Waiting) -> Result<(), Problem> {
        let judge = shared.worker.judge().await?.map_err(|error| Problem::Shadow(error.to_string()))?;
        if format!("{} {}", judge.hash, judge.revision) != shadow.judge {
            let reason = format!("The judge changed from {} to {}.", shadow.judge_name, judge.name);
            return Err(Problem::Shadow(reason));
        }
        let Some(rendered) = &pair.rendered else { return self.render(shared, shadow, pair).await };
        if self.see_style(shared, shadow).await? {
            return Ok(());
        }
        self.score(shared, shadow, pair, rendered).await
    }

    /// Renders the challenger's image with the generation's own noise, and keeps it.
    async fn render(&self, shared: &Shared, shadow: &ShadowRow, pair: &Waiting) -> Result<(), Problem> {
        if given_up(pair.attempts + 1) {
            return Err(Problem::Pair(format!(
                "The server crashed {MAX_ATTEMPTS} times while it rendered this pair."
            )));
        }
        let recipe = pair.recipe()?;
        let model = &shared.model;
        if (&recipe.device, &recipe.dtype, &recipe.vae) != (&model.device, &model.dtype, &model.vae) {
            return Err(Problem::Pair(
                "The generation was made on another device, in another precision or with another VAE."
                    .to_owned(),
            ));
        }
        let spec = challenge(shared, shadow, recipe.spec).await?;
        let adapters = match adapters::files(shared, &spec.adapters).await {
            Ok(files) => files,
            Err(StudioError::ShuttingDown) => return Err(Problem::Interrupted),
            Err(error) => {
                let sound = shared.blobs.is_sound(&shadow.hash).await?;
                let id = shadow.challenger();
                return Err(if sound {
                    Problem::Pair(error.to_string())
                } else {
                    Problem::Shadow(format!("The file of {id} is missing or damaged."))
                });
            }
        };
        let embeddings = embeddings::files(shared).await?;
        shared.store.count_attempt(pair, 1).await?;
        let request = RenderRequest { spec, adapters, embeddings, init: None };
        let rendered = match shared.worker.render(request, self.interrupt.clone(), || {}).await? {
            Ok(rendered) if rendered.withheld => {
                return Err(Problem::Pair("The safety checker blocked the challenger's image.".to_owned()));
            }
            Ok(rendered) => rendered,
            Err(error) => {
                shared.store.count_attempt(pair, -1).await?;
                return Err(error.into());
            }
        };
        let png = blocking(move || encode_bare(&rendered.pixels)).await?;
        let _keeping = shared.blobs.keeping().await;
        let hash = shared.blobs.put(png).await?;
        if !shared.store.save_shadow_image(pair, &hash).await? {
            // The generation was deleted meanwhile, or the shadow has ended: the file belongs to nobody.
            shared.store.note_blob(&hash).await?;
        }
        Ok(())
    }

    /// Shows the judge a few images of the style reference; whether there were some.
    async fn see_style(&mut self, shared: &Shared, shadow: &ShadowRow) -> Result<bool, Problem> {
        let style = match &mut self.style {
            Some(style) if style.shadow == shadow.id => style,
            _ => {
                let reference = shadow.style()?;
                self.style.insert(Style {
                    shadow: shadow.id.clone(),
                    held_out: reference.held_out,
                    base: reference.base,
                    seen_held_out: Vec::new(),
                    seen_base: Vec::new(),
                })
            }
        };
        for (hashes, seen) in
            [(&style.held_out, &mut style.seen_held_out), (&style.base, &mut style.seen_base)]
        {
            let next: Vec<String> = hashes.iter().skip(seen.len()).take(UNIT).cloned().collect();
            if next.is_empty() {
                continue;
            }
            match see(shared, next, Vec::new()).await {
                Ok(found) => seen.extend(found.styles),
                Err(Problem::Pair(message)) => {
                    let reason = format!("Style can no longer be measured: {message}");
                    return Err(Problem::Shadow(reason));
                }
                Err(other) => return Err(other),
            }
            return Ok(true);
        }
        Ok(false)
    }

    async fn score(
        &self,
        shared: &Shared,
        shadow: &ShadowRow,
        pair: &Waiting,
        rendered: &str,
    ) -> Result<(), Problem> {
        let spec = pair.recipe()?.spec;
        let (champion, challenger) = triggers(shared, shadow).await?;
        let text = plain(&spec.prompt, &[&champion, &challenger]);
        let images = vec![pair.hash.clone(), rendered.to_owned()];
        let mut seen = see(shared, images, vec![text]).await?;
        let few = || Problem::Pair("The judge returned too few features.".to_owned());
        let mut side = || {
            let seen = (seen.images.pop().ok_or_else(few)?, seen.styles.pop().ok_or_else(few)?);
            Ok::<_, Problem>(Seen { embeddings: vec![seen.0], styles: vec![seen.1] })
        };
        let (ours, theirs) = (side()?, side()?);
        let reference = self.style.as_ref().filter(|style| style.shadow == shadow.id);
        let only_styles = |styles: &[Vec<f32>]| Seen { embeddings: Vec::new(), styles: styles.to_vec() };
        let request = MeasureRequest {
            prompts: vec![0],
            texts: seen.texts,
            challenger: ours,
            champion: theirs,
            base: reference.map(|style| only_styles(&style.seen_base)).unwrap_or_default(),
            held_out: reference.map(|style| only_styles(&style.seen_held_out)).unwrap_or_default(),
            ..MeasureRequest::default()
        };
        let measured = shared.worker.measure(request).await??;
        let of = |scores: &[Vec<f64>; 3]| Some([*scores[2].first()?, *scores[0].first()?]);
        let clip = of(&measured.clip_scores)
            .filter(|scores| scores.iter().all(|score| score.is_finite()))
            .ok_or_else(|| Problem::Pair("The judge returned no score.".to_owned()))?;
        let style = of(&measured.style_margins).filter(|scores| scores.iter().all(|score| score.is_finite()));
        shared.store.save_pair_scores(pair, PairScores { clip, style }, now()).await?;
        crate::unused_blobs::remove_unused(&shared.store, &shared.blobs).await?;
        tracing::debug!(shadow = shadow.challenger(), pair = pair.number, "scored");
        Ok(())
    }
}

async fn end(shared: &Shared, shadow: &ShadowRow, reason: &str) -> Result<(), StudioError> {
    tracing::warn!(shadow = shadow.challenger(), reason, "ended");
    shared.store.end_shadow(&shadow.id, End { at: now(), by: "server", reason }).await?;
    Ok(())
}

/// The trigger words of the version in production and of the challenger.
async fn triggers(shared: &Shared, shadow: &ShadowRow) -> Result<(String, String), StudioError> {
    let known = shared.store.all_adapters().await?;
    let trigger = |id: String| {
        let found = known.iter().find(|listed| listed.version.id() == id);
        found.map(|listed| listed.version.trigger.clone()).unwrap_or_default()
    };
    Ok((trigger(shadow.champion()), trigger(shadow.challenger())))
}

/// The image's own spec with the challenger in place of the version in production: same strength, same noise, and the
/// challenger's trigger word where the prompt has the other one.
async fn challenge(
    shared: &Shared,
    shadow: &ShadowRow,
    mut spec: GenerationSpec,
) -> Result<GenerationSpec, StudioError> {
    let (champion, challenger) = triggers(shared, shadow).await?;
    let (from, to) = (shadow.champion(), shadow.challenger());
    for adapter in spec.adapters.iter_mut().filter(|adapter| adapter.name == from) {
        adapter.name.clone_from(&to);
    }
    let tagged = spec.adapters.iter().filter(|adapter| adapter.in_prompt);
    let names: Vec<String> = tagged.map(|adapter| adapter.name.clone()).collect();
    spec.prompt = with_trigger(&lora_tag::rename(&spec.prompt, &names), &champion, &challenger);
    spec.count = 1;
    Ok(spec)
}

/// What the judge sees in stored images and in texts.
async fn see(shared: &Shared, hashes: Vec<String>, texts: Vec<String>) -> Result<FeatureSet, Problem> {
    let mut paths = Vec::with_capacity(hashes.len());
    for (file, hash) in shared.blobs.locals(hashes.clone()).await.into_iter().zip(&hashes) {
        let missing = || Problem::Pair(format!("The file of image {hash} is missing."));
        paths.push(file.map_err(|error| Problem::Pair(error.to_string()))?.ok_or_else(missing)?);
    }
    let wanted = (hashes.len(), texts.len());
    let images =
        blocking(move || paths.iter().map(|path| read_pixels(path)).collect::<Result<Vec<_>, _>>()).await;
    let images = images.map_err(|error| match error {
        StudioError::ShuttingDown => Problem::Interrupted,
        other => Problem::Pair(other.to_string()),
    })?;
    let seen = shared.worker.features(FeatureRequest { images, texts, maps: false }).await??;
    if (seen.images.len(), seen.texts.len()) != wanted || seen.styles.len() != wanted.0 {
        return Err(Problem::Pair("The judge returned too few features.".to_owned()));
    }
    Ok(seen)
}
