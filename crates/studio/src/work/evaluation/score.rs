//! Scoring: what the judge sees in images, the metrics of that, and after each block whether going on is futile.

use std::sync::Arc;

use adire_protocol::{EvaluationImage, EvaluationRole, EvaluationStepName, StepState};

use super::{At, EvaluationRun};
use crate::{
    FeatureRequest, StudioError,
    evaluation::{
        UNIT, evidence, features, gate,
        steps::{self, Inputs},
    },
    queue::Stop,
    read_pixels,
    shared::Shared,
    tasks::blocking,
    work::Progressed,
};

impl EvaluationRun {
    /// Has the judge see a few images; once it has seen all of the block, computes metrics.
    pub(super) async fn score(&mut self, shared: &Arc<Shared>) -> Result<Progressed, Stop> {
        let plan = &self.prepared()?.plan;
        let (last, copying) = (self.next >= plan.slots.len(), self.next >= plan.captions);
        if last && self.step.as_ref().is_some_and(|(step, _)| step.name == EvaluationStepName::Render) {
            self.end_render(shared).await?;
        }
        let images: Vec<EvaluationImage> = self.images.iter().flatten().cloned().collect();
        let inputs = self.score_inputs(shared, &images)?;
        let key = steps::key_of(EvaluationStepName::Score, &inputs);
        let stored = match self.row.request()?.rerun {
            Some(EvaluationStepName::Score) => None,
            _ => shared.store.scores(&key).await?,
        };
        let stored = stored.and_then(|text| evidence::Scored::stored(images.clone(), text));
        let reused = stored.is_some();
        let scored = match stored {
            Some(scored) => scored,
            None => {
                if self.see(shared, copying).await? {
                    return Ok(Progressed::More);
                }
                let prepared = self.prepared()?;
                let request = evidence::request(&prepared.facts, &images, &self.suite, &self.found, copying);
                let measured = shared.worker.measure(request).await??;
                let scored = evidence::Scored::new(images, measured, &self.found);
                shared.store.keep_scores(&self.hold.lease, &key, &scored.output).await?;
                scored
            }
        };
        let evidence = self.evidence(&scored)?;
        self.block += 1;
        if !last {
            match gate::futile(&evidence, &self.policy) {
                None => {
                    self.at = At::Render;
                    return Ok(Progressed::More);
                }
                Some(criterion) => {
                    let all = self.suite.prompts.len();
                    let done = self.prepared()?.plan.prompts(self.next);
                    self.stopped_early = Some(match done {
                        0 => format!("Stopped before the suite's prompts: {}", criterion.reason),
                        done => format!("Stopped after {done} of {all} prompts: {}", criterion.reason),
                    });
                    self.end_render(shared).await?;
                }
            }
        }
        self.begin_step(shared, EvaluationStepName::Score, inputs).await?;
        shared.store.save_scores(&self.hold.lease, &scored.rows()).await?;
        let count = scored.images.len();
        let (state, log) = if reused {
            (StepState::Reused, format!("Scores of {count} images taken from an earlier evaluation."))
        } else {
            (StepState::Done, format!("{count} images scored."))
        };
        self.end_step(shared, state, steps::digest(&scored.output), vec![log]).await?;
        self.scored = Some(scored);
        self.at = At::Verdict;
        Ok(Progressed::More)
    }
    /// What scores follow from.
    fn score_inputs(&self, shared: &Shared, images: &[EvaluationImage]) -> Result<Inputs, Stop> {
        let prepared = self.prepared()?;
        let judge = format!("{} revision {}", prepared.judge.hash, prepared.judge.revision);
        let metrics: Vec<String> =
            shared.metrics.iter().map(|metric| format!("{} {}", metric.name, metric.revision)).collect();
        Ok([
            ("images", evidence::digest(images)),
            ("prompts", self.suite.hash()),
            ("judge", judge),
            ("metrics", metrics.join(", ")),
            ("dataset", prepared.dataset_hash.clone()),
            ("training_images", steps::digest(&prepared.facts.training.join(" "))),
            ("held_out_images", steps::digest(&prepared.facts.held_out.join(" "))),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect())
    }

    /// Shows the judge what it has not seen; whether there was something.
    async fn see(&mut self, shared: &Shared, copying: bool) -> Result<bool, Stop> {
        let texts: Vec<String> = self
            .suite
            .prompts
            .iter()
            .map(|prompt| self.suite.score_text(prompt))
            .filter(|text| !self.found.texts.contains_key(text))
            .collect();
        if !texts.is_empty() {
            let request = FeatureRequest { texts: texts.clone(), ..FeatureRequest::default() };
            let seen = features(&shared.worker, request).await?;
            self.found.texts.extend(texts.into_iter().zip(seen.texts));
            return Ok(true);
        }
        let prepared = self.prepared()?;
        let mut wanted: Vec<(String, bool)> = Vec::new();
        // Those that are only compared byte for byte need no judge.
        let judged = |image: &&EvaluationImage| image.role != EvaluationRole::BaseUntriggered;
        for image in self.images.iter().flatten().filter(judged) {
            let maps = matches!(image.role, EvaluationRole::Caption | EvaluationRole::BaseCaption);
            if !self.found.images.contains_key(&image.hash)
                || (maps && !self.found.maps.contains_key(&image.hash))
            {
                wanted.push((image.hash.clone(), maps));
            }
        }
        // Held-out images first: the style needs them after the first block.
        let held_out = prepared.facts.held_out.iter();
        let training = prepared.facts.training.iter().filter(|_| copying);
        for hash in held_out.chain(training) {
            if !self.found.maps.contains_key(hash) {
                wanted.push((hash.clone(), true));
            }
        }
        wanted.dedup();
        wanted.truncate(UNIT);
        if wanted.is_empty() {
            return Ok(false);
        }
        let maps = wanted.iter().any(|(_, maps)| *maps);
        let hashes: Vec<String> = wanted.into_iter().map(|(hash, _)| hash).collect();
        let files = shared.blobs.locals(hashes.clone()).await;
        let mut paths = Vec::with_capacity(files.len());
        for (file, hash) in files.into_iter().zip(&hashes) {
            let missing = || {
                StudioError::Damaged(format!(
                    "The file of image {hash} is missing; restore it from a backup."
                ))
            };
            paths.push(file?.ok_or_else(missing)?);
        }
        let images =
            blocking(move || paths.iter().map(|path| read_pixels(path)).collect::<Result<Vec<_>, _>>())
                .await?;
        let seen = features(&shared.worker, FeatureRequest { images, texts: Vec::new(), maps }).await?;
        self.found.flat.extend(hashes.iter().cloned().zip(seen.flat));
        self.found.maps.extend(hashes.iter().cloned().zip(seen.maps));
        self.found.styles.extend(hashes.iter().cloned().zip(seen.styles));
        self.found.images.extend(hashes.into_iter().zip(seen.images));
        Ok(true)
    }

    pub(super) fn evidence(&self, scored: &evidence::Scored) -> Result<gate::Evidence, Stop> {
        let prepared = self.prepared()?;
        Ok(evidence::of(
            scored,
            &prepared.facts,
            evidence::About {
                champion: self.row.id_of_champion(),
                judge: prepared.judge.name.clone(),
                failed: self.render.failed.clone(),
            },
        ))
    }
}
