//! Applies events to a generation's record. A stream may start before the record was read and repeat what it already
//! holds, so every rule is idempotent.

use adire_protocol::{Generation, GenerationEvent, GenerationState, Progress};

use crate::order;

/// Applies an event to a record.
pub(crate) fn apply(generation: &mut Generation, event: GenerationEvent) {
    if generation.state.is_final() {
        return;
    }
    match event {
        GenerationEvent::Queued { ahead, wait_ms, wait_reason } => {
            if generation.state == GenerationState::Queued {
                (generation.ahead, generation.wait_ms) = (Some(ahead), wait_ms);
                generation.wait_reason = wait_reason;
            }
        }
        GenerationEvent::Started => {
            // What the device is at ends before the first step.
            let reason = generation.wait_reason;
            run(generation);
            generation.wait_reason = reason.filter(|reason| reason.is_of_device());
        }
        GenerationEvent::Progress(progress) => {
            run(generation);
            step(generation, progress);
        }
        GenerationEvent::Image { image } => {
            run(generation);
            if !generation.images.iter().any(|known| known.index == image.index) {
                order::insert(&mut generation.images, *image, |image| image.index);
            }
        }
        GenerationEvent::Done => end(generation, GenerationState::Done),
        GenerationEvent::Failed { message } => {
            generation.error = Some(message);
            end(generation, GenerationState::Failed);
        }
        GenerationEvent::Cancelled => end(generation, GenerationState::Cancelled),
    }
}

fn run(generation: &mut Generation) {
    generation.state = GenerationState::Running;
    (generation.ahead, generation.wait_ms, generation.wait_reason) = (None, None, None);
}

fn end(generation: &mut Generation, state: GenerationState) {
    generation.state = state;
    (generation.ahead, generation.wait_ms, generation.wait_reason) = (None, None, None);
    generation.progress = None;
}

/// Moves forward only; a step without a preview keeps the last one.
fn step(generation: &mut Generation, mut new: Progress) {
    if let Some(old) = generation.progress.take() {
        if (old.image, old.step) > (new.image, new.step) {
            generation.progress = Some(old);
            return;
        }
        if new.preview.is_none() && old.image == new.image {
            new.preview = old.preview;
        }
    }
    generation.progress = Some(new);
}

/// Completed fraction of the generation, 0 to 1.
pub(crate) fn fraction(generation: &Generation) -> f64 {
    if generation.state == GenerationState::Done {
        return 1.0;
    }
    generation.progress.as_ref().map_or(0.0, Progress::fraction)
}

#[cfg(test)]
mod tests {
    use adire_protocol::{GenerationSpec, ImageRecord, Links, Recipe, Rng, Sampler};

    use super::*;

    fn spec() -> GenerationSpec {
        GenerationSpec {
            prompt: "red moons".to_owned(),
            negative_prompt: String::new(),
            seed: 7,
            rng: Rng::Cpu,
            steps: 10,
            guidance: 5.0,
            sampling: Sampler::Euler.into(),
            width: 256,
            height: 256,
            count: 2,
            clip_skip: 1,
            ..GenerationSpec::default()
        }
    }

    fn generation() -> Generation {
        Generation {
            id: "g".to_owned(),
            state: GenerationState::Queued,
            spec: spec(),
            created_at: 0,
            started_at: None,
            finished_at: None,
            ahead: Some(3),
            wait_ms: Some(9_000),
            wait_reason: None,
            progress: None,
            images: Vec::new(),
            error: None,
            warnings: Vec::new(),
            links: Links::of("g"),
        }
    }

    fn progress(image: u32, step: u32, preview: Option<&str>) -> GenerationEvent {
        let preview = preview.map(str::to_owned);
        let (images, batch, steps, remaining_ms) = (2, 1, 10, None);
        GenerationEvent::Progress(Progress { image, images, batch, step, steps, remaining_ms, preview })
    }

    fn finished(index: u32) -> GenerationEvent {
        let recipe = Recipe {
            spec: spec(),
            adapter_hashes: Vec::new(),
            embeddings: Vec::new(),
            vae: None,
            model: String::new(),
            model_hash: String::new(),
            device: String::new(),
            dtype: String::new(),
            version: String::new(),
            fingerprint: String::new(),
            withheld: false,
            seconds: 0.0,
            switch_seconds: 0.0,
            warnings: Vec::new(),
        };
        let image = ImageRecord {
            hash: index.to_string(),
            url: String::new(),
            generation: "g".to_owned(),
            index,
            created_at: 0,
            recipe,
            infotext: String::new(),
        };
        GenerationEvent::Image { image: Box::new(image) }
    }

    fn whole_stream() -> Vec<GenerationEvent> {
        vec![
            GenerationEvent::Queued { ahead: 1, wait_ms: None, wait_reason: None },
            GenerationEvent::Started,
            progress(0, 5, Some("a")),
            progress(0, 10, None),
            finished(0),
            progress(1, 5, Some("b")),
            finished(1),
            GenerationEvent::Done,
        ]
    }

    #[test]
    fn a_stream_from_the_beginning_ends_at_the_same_record_wherever_the_record_was_read() {
        let mut expected = generation();
        whole_stream().into_iter().for_each(|event| apply(&mut expected, event));
        assert_eq!((expected.state, expected.images.len()), (GenerationState::Done, 2));
        for read_after in 0..whole_stream().len() {
            let mut record = generation();
            whole_stream().into_iter().take(read_after).for_each(|event| apply(&mut record, event));
            whole_stream().into_iter().for_each(|event| apply(&mut record, event));
            assert_eq!(record, expected, "read after {read_after}");
        }
    }

    #[test]
    fn a_repeated_beginning_does_not_set_the_picture_back() {
        let mut record = generation();
        apply(&mut record, progress(1, 5, Some("b")));
        apply(&mut record, GenerationEvent::Queued { ahead: 1, wait_ms: None, wait_reason: None });
        apply(&mut record, progress(0, 5, Some("a")));
        assert_eq!(record.state, GenerationState::Running);
        assert_eq!(record.progress.as_ref().and_then(|p| p.preview.as_deref()), Some("b"));
        assert_eq!(fraction(&record), 0.75);
    }

    #[test]
    fn a_failure_keeps_its_message_and_is_final() {
        let mut record = generation();
        apply(&mut record, GenerationEvent::Failed { message: "No memory.".to_owned() });
        apply(&mut record, GenerationEvent::Started);
        assert_eq!((record.state, record.error.as_deref()), (GenerationState::Failed, Some("No memory.")));
    }
}
