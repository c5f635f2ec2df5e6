//! The task between queue and worker: takes one generation after the other, has its images made, stores each as
//! soon as it is finished and says so. It is the only one that writes rows of running generations.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use adire_protocol::{GenerationEvent, GenerationState};

use crate::{
    RenderRequest, StudioError, embeddings,
    queue::{QueuedGeneration, Stop},
    render::{RenderError, render_image, store_image},
    shared::{Shared, blocking, now},
    store::Finish,
    uploads,
};

/// Tries to write how a generation ended, before giving up until the next start.
const TRIES: u32 = 4;

/// Serves the queue until the studio closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    let clock = Clock(AtomicI64::new(shared.store.newest_image_at().await.unwrap_or(0)));
    while let Some((generation, stop)) = shared.queue.next().await {
        let id = generation.id.clone();
        tracing::info!(
            generation = id,
            images = generation.spec.count,
            steps = generation.spec.steps,
            "started"
        );
        match render_images(&shared, &generation, &stop, &clock).await {
            Ok(()) => end(&shared, &id, GenerationEvent::Done).await,
            Err(RenderError::Stopped(Stop::Cancelled)) => end(&shared, &id, GenerationEvent::Cancelled).await,
            Err(RenderError::Failed(message)) => {
                // The whole of it is for the log.
                tracing::error!(generation = id, message, "failed");
                let message = without_folders(&message);
                end(&shared, &id, GenerationEvent::Failed { message }).await;
            }
            Err(RenderError::Stopped(Stop::Closing)) => {
                if let Err(error) = shared.store.put_back(&id).await {
                    // It stays `running`, which the next start treats the same, counting one attempt.
                    tracing::warn!(generation = id, %error, "could not be put back");
                }
            }
        }
        // After the last event: nobody waits for it.
        shared.remember_cost().await;
    }
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

/// Writes and publishes the last event of a generation.
pub(crate) async fn end(shared: &Shared, id: &str, event: GenerationEvent) {
    for attempt in 1..=TRIES {
        match write_end(shared, id, &event).await {
            Ok(()) => break,
            Err(error) => {
                tracing::error!(generation = id, %error, attempt, "its end could not be stored");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
    }
    // Published even when it could not be written: people who watch should not wait for ever. The row then
    // still says `running`, and the next start takes the generation up again.
    tracing::info!(generation = id, state = event.name(), "ended");
    shared.queue.publish(id, event);
}

/// Writes the row of a generation's end.
pub(crate) async fn write_end(shared: &Shared, id: &str, event: &GenerationEvent) -> Result<(), StudioError> {
    let (state, error) = match event {
        GenerationEvent::Done => (GenerationState::Done, None),
        GenerationEvent::Cancelled => (GenerationState::Cancelled, None),
        GenerationEvent::Failed { message } => (GenerationState::Failed, Some(message.as_str())),
        _ => return Ok(()),
    };
    let event = shared.queue.next_event(id);
    shared.store.finish(id, &Finish { state, at: now(), error, event }).await
}

/// Makes every image of a generation that is not there yet.
async fn render_images(
    shared: &Shared,
    generation: &QueuedGeneration,
    stop: &Arc<AtomicBool>,
    clock: &Clock,
) -> Result<(), RenderError> {
    shared.store.start(&generation.id, now(), shared.queue.next_event(&generation.id)).await?;
    shared.queue.publish(&generation.id, GenerationEvent::Started);
    let adapters = shared.adapter_files(&generation.spec.adapters).await?;
    let embeddings = embeddings::files(shared).await?;
    let (blobs, spec) = (shared.blobs.clone(), generation.spec.clone());
    let init = blocking(move || uploads::files(&blobs, &spec)).await?;
    let left = (0..generation.spec.count).filter(|index| !generation.finished.contains(index));
    for (here, index) in (0..).zip(left) {
        let mut spec = generation.spec.clone();
        // Validation leaves room above the seed for every image.
        spec.seed = generation.spec.seed.saturating_add(u64::from(index));
        spec.count = 1;
        let (adapters, embeddings) = (adapters.clone(), embeddings.clone());
        let render = RenderRequest { spec, adapters, embeddings, init: init.clone() };
        let rendered = render_image(shared, generation, &render, (index, here), stop).await?;
        let at = clock.tick();
        store_image(shared, generation, render, index, rendered, at).await?;
    }
    Ok(())
}

/// Times of images: each later than the one before, even within a millisecond or after the system's clock
/// was set back, because the history pages by them.
struct Clock(AtomicI64);

impl Clock {
    fn tick(&self) -> i64 {
        let next = now().max(self.0.load(Ordering::Relaxed) + 1);
        self.0.store(next, Ordering::Relaxed);
        next
    }
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
