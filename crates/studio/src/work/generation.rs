//! Generations: a job whose units are images. Each is stored as soon as it is finished.

use std::{collections::VecDeque, sync::Arc};

use adire_protocol::{AdapterUse, GenerationSpec, Links, QueuedKind, WaitReason};
use futures::future::{BoxFuture, ready};
use sha2::{Digest, Sha256};

use super::{
    kind::{Entry, Kind, OnDevice, Progressed, Run, Wait, behind},
    render::{Following, Started, start, store_image},
};
use crate::{
    AdapterFile, EmbeddingFile, InitFiles, RenderRequest, StudioError, adapters, embeddings,
    job::{Claimed, JobKind, JobState},
    limits, production,
    queue::{Hold, QueuedGeneration, Stop, Work},
    shared::Shared,
    store::{About, GenerationRow, OpenJob},
    uploads,
};

/// Milliseconds that a megapixel-step is taken for before anything was timed. Only their ratios matter then.
const UNTIMED: f64 = 1_000.0;

/// What a job wants in effect: a fingerprint of adapters (hash and use, in order); empty where there are none.
pub(crate) fn wants(adapters: &[(String, AdapterUse)]) -> String {
    if adapters.is_empty() {
        return String::new();
    }
    let mut hasher = Sha256::new();
    for (hash, adapter) in adapters {
        hasher.update(format!("{hash} {} {} ", adapter.strength, adapter.text_encoder_strength()));
    }
    hex::encode(&hasher.finalize()[..16])
}

/// Expected milliseconds of a generation, at least one: two jobs of one owner must not have the same turn.
pub(crate) fn expected_ms(shared: &Shared, spec: &GenerationSpec) -> i64 {
    let ms = shared.work.expected(spec, spec.count);
    ms.unwrap_or_else(|| limits::cost(spec, spec.count) * UNTIMED).ceil().max(1.0) as i64
}

/// Characters of a prompt that the list of all jobs shows.
const PROMPT_SHOWN: usize = 200;

/// Generations: the kind of job that all others wait for.
pub(super) struct Generations;

impl Kind for Generations {
    fn kind(&self) -> JobKind {
        JobKind::Generation
    }

    fn about(&self) -> About {
        About::GENERATION
    }

    fn entry(&self, job: &OpenJob) -> Result<Entry, StudioError> {
        let spec: GenerationSpec = job.read("request")?;
        let (width, height) = spec.final_size();
        Ok(Entry {
            kind: QueuedKind::Generation,
            title: spec.prompt.chars().take(PROMPT_SHOWN).collect(),
            detail: format!("{} × {width} × {height}, {} steps", spec.count, spec.total_steps()),
            page: Links::of(&job.id).page,
        })
    }

    fn wait<'a>(
        &'a self,
        shared: &'a Shared,
        job: &'a OpenJob,
        before: &'a [OpenJob],
    ) -> BoxFuture<'a, Result<Wait, StudioError>> {
        let mut why = behind(before);
        if !before.is_empty() && shared.work.is_resident(&job.wants) {
            why += "; its adapters are loaded";
        }
        let ms = shared.work.place(&job.id).and_then(|place| place.wait_ms);
        Box::pin(ready(Ok(Wait { why, ms })))
    }

    fn advice(&self) -> &'static str {
        "It may need more memory than is available; try a smaller size."
    }

    fn shown(&self, message: &str) -> String {
        without_folders(message)
    }

    /// The queue's copy knows which wait.
    fn rested<'a>(&'a self, _: &'a Shared, _: &'a str, _: Option<JobState>) -> BoxFuture<'a, ()> {
        Box::pin(ready(()))
    }

    fn on_device(&'static self) -> Option<&'static dyn OnDevice> {
        Some(self)
    }
}

impl OnDevice for Generations {
    fn begin<'a>(
        &'a self,
        shared: &'a Arc<Shared>,
        claimed: Claimed,
        hold: Arc<Hold>,
    ) -> BoxFuture<'a, Result<Box<dyn Run>, Stop>> {
        Box::pin(async move {
            let run: Box<dyn Run> = Box::new(GenerationRun::begin(shared, claimed, hold).await?);
            Ok(run)
        })
    }

    fn unit_reason(&self) -> Option<WaitReason> {
        None
    }

    /// Between two images of one, newcomers that are due before it go first.
    fn may_wait(&self, work: &Work, due: Option<i64>) -> bool {
        work.next_turn().is_some_and(|turn| due.is_none_or(|due| due > turn))
    }

    fn only_waiting(&self, work: &Work) -> Option<String> {
        work.only_waiting()
    }

    fn is_copied(&self) -> bool {
        true
    }
}

/// A generation that this node runs.
pub(super) struct GenerationRun {
    hold: Arc<Hold>,
    claimed: Claimed,
    generation: QueuedGeneration,
    /// What the last image needed; another prompt may name other adapters.
    files: Option<(Vec<AdapterUse>, Files)>,
    /// Positions of the images that are not there yet.
    left: VecDeque<u32>,
    /// Images made by this run.
    here: u32,
}

/// What every image of it needs.
struct Files {
    adapters: Vec<AdapterFile>,
    embeddings: Vec<EmbeddingFile>,
    init: Option<InitFiles>,
}

impl GenerationRun {
    async fn begin(shared: &Shared, claimed: Claimed, hold: Arc<Hold>) -> Result<Self, StudioError> {
        let generation = match shared.work.take_out(&hold.lease.job) {
            Some(generation) => generation,
            // Another node has put it into the queue.
            None => load(shared, &hold.lease.job).await?,
        };
        let (id, spec) = (&generation.id, &generation.spec);
        tracing::info!(generation = id, images = spec.count, steps = spec.steps, "started");
        let left = (0..spec.count).filter(|index| !generation.finished.contains(index)).collect();
        shared.work.started(generation.clone(), &claimed.wants);
        Ok(Self { hold, claimed, generation, files: None, left, here: 0 })
    }

    /// The spec of its next image, if that can be made together with others.
    pub(super) fn next(&self) -> Option<GenerationSpec> {
        // What the server may have crashed of is tried without others first.
        let suspect = self.claimed.attempts > 1 && self.here == 0;
        let next = self.left.front().filter(|_| !suspect && self.hold.stopped().is_none());
        next.map(|index| self.generation.spec.of_image(*index)).filter(|spec| spec.shares_batch(spec))
    }

    /// How many of its next images, at most so many, share a batch with one of a spec.
    pub(super) fn sharing(&self, spec: &GenerationSpec, most: usize) -> usize {
        let shares = |index: &&u32| self.generation.spec.of_image(**index).shares_batch(spec);
        self.left.iter().take(most).take_while(shares).count()
    }

    /// Takes so many images on.
    pub(super) async fn prepare(
        &mut self,
        shared: &Shared,
        images: usize,
    ) -> Result<Vec<(u32, RenderRequest)>, Stop> {
        let mut prepared = Vec::with_capacity(images);
        for index in self.left.drain(..images.min(self.left.len())).collect::<Vec<_>>() {
            let spec = self.generation.spec.of_image(index);
            let files = match &self.files {
                Some((adapters, files)) if *adapters == spec.adapters => files,
                _ => &self.files.insert((spec.adapters.clone(), files(shared, &spec).await?)).1,
            };
            let Files { adapters, embeddings, init } = files;
            let (adapters, embeddings, init) = (adapters.clone(), embeddings.clone(), init.clone());
            prepared.push((index, RenderRequest { spec, adapters, embeddings, init }));
        }
        Ok(prepared)
    }

    /// Follows images that were started to their ends, and stores each as soon as it is made.
    pub(super) async fn finish(&mut self, shared: &Shared, started: Started) -> Result<Progressed, Stop> {
        let (generation, hold) = (&self.generation, &self.hold);
        let mut following = Following::new(shared, generation, started);
        while let Some(made) = following.next(hold, self.here).await? {
            let last = self.left.is_empty() && following.is_over();
            let written =
                store_image(shared, generation, &hold.lease, made.request, (made.index, last), made.rendered)
                    .await?;
            self.here += 1;
            if last {
                if written.shadowed {
                    shared.work.shadow_waits();
                }
                return Ok(Progressed::Written(written.end));
            }
        }
        if self.left.is_empty() {
            // All were there already.
            shared.work.shadow_waits();
            return Ok(Progressed::Done);
        }
        Ok(Progressed::More)
    }
}

impl Run for GenerationRun {
    fn hold(&self) -> &Arc<Hold> {
        &self.hold
    }

    fn unit<'a>(&'a mut self, shared: &'a Arc<Shared>) -> BoxFuture<'a, Result<Progressed, Stop>> {
        Box::pin(async move {
            let images = self.prepare(shared, 1).await?;
            let started = start(shared, vec![(images, &self.hold)])?.pop();
            self.finish(shared, started.unwrap_or_default()).await
        })
    }

    /// Between two images, newcomers go first.
    fn due(&self) -> i64 {
        let images = i64::from(self.generation.spec.count.max(1));
        self.claimed.turn + self.claimed.cost / images * i64::from(self.here)
    }
}

async fn files(shared: &Shared, spec: &GenerationSpec) -> Result<Files, StudioError> {
    let adapters = match adapters::files(shared, &spec.adapters).await {
        Ok(files) => files,
        Err(error) => {
            // Where a file is damaged, the version before is to serve the next request.
            production::doubt(shared, &spec.adapters).await;
            return Err(error);
        }
    };
    let embeddings = embeddings::files(shared).await?;
    let init = uploads::files(&shared.blobs, spec).await?;
    Ok(Files { adapters, embeddings, init })
}

/// A generation as the queue needs it.
pub(super) async fn load(shared: &Shared, id: &str) -> Result<QueuedGeneration, StudioError> {
    let row = shared.store.generation(id).await?.ok_or_else(|| StudioError::not_found("generation", id))?;
    queued(shared, &row).await
}

pub(super) async fn queued(shared: &Shared, row: &GenerationRow) -> Result<QueuedGeneration, StudioError> {
    let images = shared.store.images_of(&row.id).await?;
    let finished = images.iter().filter_map(|image| u32::try_from(image.position).ok()).collect();
    let (id, who) = (row.id.clone(), row.who());
    Ok(QueuedGeneration { id, who, created_at: row.created_at, spec: row.spec()?, finished })
}

/// A message as visitors may read it: of each absolute path only the last part.
fn without_folders(message: &str) -> String {
    let is_of_path =
        |c: char| !c.is_whitespace() && !matches!(c, '"' | '“' | '”' | '\'' | '`' | '(' | ')' | ',' | ';');
    let mut shown = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find('/') {
        let (before, path) = rest.split_at(start);
        shown.push_str(before);
        let length = path.find(|c| !is_of_path(c)).unwrap_or(path.len());
        let (path, after) = path.split_at(length);
        // Not within a word (`and/or`, `1/2`, `https://`): a path begins after a character that cannot belong to one.
        let within = before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'));
        let address = before.ends_with(':') && path.starts_with("//");
        let absolute = !(within || address);
        match path.trim_end_matches(['/', ':', '.']).rsplit_once('/') {
            Some((_, last)) if absolute && !last.is_empty() => {
                let end = path.len() - path.trim_end_matches(['/', ':', '.']).len();
                shown.push_str(last);
                shown.push_str(&path[path.len() - end..]);
            }
            _ => shown.push_str(path),
        }
        rest = after;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::without_folders;

    #[test]
    fn paths_of_the_server_are_not_for_visitors() {
        for (message, shown) in [
            ("/srv/adire/blobs/ab/cd could not be read: gone.", "cd could not be read: gone."),
            (
                "The file “/srv/adire/my-style.safetensors” is lost.",
                "The file “my-style.safetensors” is lost.",
            ),
            ("open /data/a: /data/b: no.", "open a: b: no."),
            ("at /data/blobs/.", "at blobs/."),
            ("failed:/data/blobs/ab", "failed:ab"),
            ("1/2 of it and/or https://example.org/a/b", "1/2 of it and/or https://example.org/a/b"),
            ("models/starter is relative", "models/starter is relative"),
            ("/ and // stay", "/ and // stay"),
            ("àdìrẹ /ẹlẹ́kọ/ọ̀ṣun", "àdìrẹ ọ̀ṣun"),
            ("", ""),
        ] {
            assert_eq!(without_folders(message), shown, "{message}");
        }
    }
}
