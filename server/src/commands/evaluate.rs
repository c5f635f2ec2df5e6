//! `adire evaluate`: a version through the gate, on a data folder that no server is using.

use std::{fs, path::PathBuf, process::ExitCode};

use adire_protocol::{
    EvaluationDetail, EvaluationRecord, EvaluationRequest, EvaluationState, EvaluationStepName, StepState,
    VerdictOutcome,
};
use adire_runtime::EngineBackend;
use adire_studio::{JobUpdate, Studio, StudioConfig, StudioError};
use anyhow::{Context, anyhow, bail};
use clap::Args;
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    commands::{bundled, keep_private, model_args, print},
    printable, shutdown,
};

/// Arguments of `adire evaluate`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 pass, 1 fail, 3 inconclusive, 2 for anything that prevents a verdict.")]
pub(crate) struct EvaluateArgs {
    /// The version, NAME@VN or an alias
    version: String,
    /// Version to compare its style with [default: the one in production, else the base model]
    #[arg(long, value_name = "NAME@VM")]
    against: Option<String>,
    /// Suite of prompts and seeds, TOML or JSON [default: the built-in one of the model]
    #[arg(long, value_name = "FILE")]
    suite: Option<PathBuf>,
    /// Id of the dataset whose style is wanted, for a version that was not trained by this studio [default: that of the
    /// version compared with]
    #[arg(long, value_name = "ID")]
    dataset: Option<String>,
    /// Promote the version if it passes
    #[arg(long)]
    promote: bool,
    /// Repository of the Hugging Face Hub to push the version to if it passes; the next `adire serve` uploads it
    #[arg(long, value_name = "OWNER/NAME")]
    publish: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model_and_data: model_args::ModelAndDataArgs,
    #[command(flatten)]
    judge: model_args::JudgeArgs,
    #[command(flatten)]
    storage: model_args::StorageArgs,
}

impl EvaluateArgs {
    /// Evaluates the version and prints the verdict. The exit code is the outcome; errors have one of their own, because 1 is
    /// “fail”.
    pub(crate) fn run(self) -> ExitCode {
        match self.evaluate() {
            Ok(outcome) => ExitCode::from(code(outcome)),
            Err(error) => {
                printable::report(&error);
                ExitCode::from(2)
            }
        }
    }

    fn evaluate(self) -> anyhow::Result<VerdictOutcome> {
        keep_private();
        let suite = self.suite.as_deref().map(|file| {
            fs::read_to_string(file).with_context(|| format!("cannot read the suite {}", file.display()))
        });
        let request = EvaluationRequest {
            version: self.version,
            against: self.against,
            suite: suite.transpose()?,
            dataset: self.dataset,
            promote: self.promote,
            publish: self.publish,
            rerun: None,
        };
        let config = self.storage.config(&self.model_and_data.data)?;
        let model = self.model_and_data.model()?.warn();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let detail = runtime.block_on(async {
            let studio = open(config, model, &self.judge).await?;
            let ended = follow(&studio, request).await;
            studio.shutdown().await;
            ended
        })?;
        let record = &detail.evaluation;
        let verdict = match (record.state, &record.verdict, &record.error) {
            (EvaluationState::Done, Some(verdict), _) => verdict,
            (_, _, Some(error)) => bail!("the evaluation failed: {error}"),
            (state, ..) => bail!("the evaluation ended without a verdict; it is {}", state.name()),
        };
        let text = if self.json {
            serde_json::to_string_pretty(&detail)?
        } else {
            printable::printable(&table(record))
        };
        print(text.trim_end())?;
        Ok(verdict.outcome)
    }
}

fn code(outcome: VerdictOutcome) -> u8 {
    match outcome {
        VerdictOutcome::Pass => 0,
        VerdictOutcome::Fail => 1,
        VerdictOutcome::Inconclusive => 3,
    }
}

async fn open(
    config: StudioConfig,
    model: model_args::FoundModel,
    judge: &model_args::JudgeArgs,
) -> anyhow::Result<Studio> {
    let model_args::FoundModel { path, options, .. } = model;
    let (folder, (judge, parts)) = (path.clone(), judge.find(&path));
    let load = move || Ok(EngineBackend::load(&folder, &options)?.with_judge(judge, parts));
    let studio = Studio::open(config, load).await.map_err(|error| match error {
        StudioError::InUse { .. } => anyhow!(
            "{error} Evaluate on the running server instead: POST /admin/api/evaluations, or the page /admin/evaluations."
        ),
        other => other.into(),
    })?;
    bundled::add(&studio, &path).await;
    Ok(studio)
}

/// Runs an evaluation to its end under a progress bar. Ctrl-C cancels it.
async fn follow(studio: &Studio, request: EvaluationRequest) -> anyhow::Result<EvaluationDetail> {
    let id = studio.evaluate(request).await?.id;
    let bar = ProgressBar::no_length();
    let running = async {
        let events = stream::iter(studio.evaluation_events(&id, 0).await?).flatten();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            if let JobUpdate::Evaluation(record) = event.update {
                show(&bar, &record);
            }
        }
        Ok::<_, StudioError>(())
    };
    let ended = tokio::select! {
        ended = running => ended.map_err(anyhow::Error::from),
        signal = shutdown::signal() => {
            // An error: it has just ended.
            let _ = studio.cancel_evaluation(&id).await;
            Err(anyhow!("cancelled by {}", signal.unwrap_or("a signal")))
        }
    };
    bar.finish_and_clear();
    ended?;
    Ok(studio.evaluation(&id).await?)
}

fn show(bar: &ProgressBar, record: &EvaluationRecord) {
    if bar.length().is_none()
        && record.images > 0
        && let Ok(style) = ProgressStyle::with_template("{bar:32} image {pos} of {len}, {msg}")
    {
        bar.set_style(style);
        bar.set_length(record.images.into());
    }
    bar.set_position(record.images_done.into());
    let step = record.steps.iter().find(|step| step.state == StepState::Running);
    bar.set_message(step.map_or(record.state.name(), |step| step.name.name()));
}

/// The verdict as a table: a line for each criterion with its outcome and reason.
fn table(record: &EvaluationRecord) -> String {
    let Some(verdict) = &record.verdict else { return String::new() };
    let champion = record.champion.as_deref().unwrap_or("the base model");
    let mut text = format!("{}: {}, compared with {champion}", record.version, verdict.outcome.word());
    text += &format!(" on {} images of the suite {}", record.prompts, record.suite);
    text += &record.judge.as_ref().map_or(String::new(), |judge| format!(", judge {judge}"));
    text += "\n\n";
    let rows: Vec<(String, String, &str)> = verdict
        .criteria
        .iter()
        .map(|criterion| {
            let muted = if criterion.muted { " (muted)" } else { "" };
            let outcome = format!("{}{muted}", criterion.outcome.word());
            (criterion.kind.replace('_', " "), outcome, criterion.reason.as_str())
        })
        .collect();
    let width = |of: fn(&(String, String, &str)) -> usize| rows.iter().map(of).max().unwrap_or_default();
    let (first, second) = (width(|row| row.0.len()), width(|row| row.1.len()));
    for (kind, outcome, reason) in &rows {
        text += &format!("{kind:first$}  {outcome:second$}  {reason}\n");
    }
    if !verdict.metrics.is_empty() {
        let metrics = verdict.metrics.iter().map(|(name, value)| format!("{name} {value:.3}"));
        text += &format!("\n{}\n", metrics.collect::<Vec<_>>().join(", "));
    }
    let last = [EvaluationStepName::Promote, EvaluationStepName::Publish];
    for line in record.steps.iter().filter(|step| last.contains(&step.name)).flat_map(|step| &step.log) {
        text += &format!("{line}\n");
    }
    for note in verdict.stopped_early.iter().chain(&record.warnings) {
        text += &format!("Note: {note}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_exit_code() {
        let codes = [VerdictOutcome::Pass, VerdictOutcome::Fail, VerdictOutcome::Inconclusive].map(code);
        assert_eq!(codes, [0, 1, 3]);
    }

    #[test]
    fn the_table_lists_every_criterion_in_columns() {
        let record: EvaluationRecord = serde_json::from_value(serde_json::json!({
            "id": "x", "state": "done", "version": "adire@v2", "champion": "adire@v1", "suite": "starter",
            "prompts": 24, "judge": "small CLIP", "promote": false, "created_at": 0, "images_done": 1, "images": 1,
            "steps": [], "warnings": ["Held out too few images."],
            "verdict": {
                "outcome": "inconclusive", "metrics": {"cmmd": 0.25}, "suspects": [], "policy_hash": "",
                "criteria": [
                    {"kind": "floors", "outcome": "pass", "muted": false, "reason": "24 of 24 images rendered."},
                    {"kind": "style", "outcome": "inconclusive", "muted": true, "reason": "No clear difference."},
                ],
            },
        }))
        .unwrap();
        assert_eq!(
            table(&record),
            "adire@v2: inconclusive, compared with adire@v1 on 24 images of the suite starter, judge small CLIP\n\n\
             floors  pass                  24 of 24 images rendered.\n\
             style   inconclusive (muted)  No clear difference.\n\n\
             cmmd 0.250\nNote: Held out too few images.\n"
        );
    }
}
