//! `training.jsonl`: one line per optimizer step and per held-out loss.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
};

use adire_protocol::TrainingPoint;
use anyhow::Context;
use serde::{Deserialize, Serialize};

/// One line of the log.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    step: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    learning_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    gradient_norm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    held_out_loss: Option<f64>,
}

impl Line {
    /// `seconds`: since the previous step.
    pub(crate) fn update(point: &TrainingPoint, seconds: f64) -> Self {
        Self {
            step: point.step,
            loss: point.loss,
            learning_rate: point.learning_rate,
            gradient_norm: point.gradient_norm,
            seconds: Some(seconds),
            held_out_loss: None,
        }
    }

    pub(crate) fn held_out(step: u32, loss: f64) -> Self {
        Self { step, held_out_loss: Some(loss), ..Self::default() }
    }
}

/// The held-out losses of a log by step; empty without a log.
pub(crate) fn held_out(path: &Path) -> Vec<(u32, f64)> {
    lines(path).iter().filter_map(|line| Some((line.step, line.held_out_loss?))).collect()
}

fn lines(path: &Path) -> Vec<Line> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The log file, opened for appending.
pub(crate) struct Log {
    file: File,
}

impl Log {
    /// Opens the log of a run resumed after `steps_done`, or of a new one (`None`). Lines of later steps are dropped.
    pub(crate) fn open(path: &Path, steps_done: Option<u32>) -> anyhow::Result<Self> {
        let shown = path.display();
        let kept = lines(path)
            .into_iter()
            .filter(|line| steps_done.is_some_and(|steps_done| line.step <= steps_done));
        let mut log = String::new();
        for line in kept {
            log += &serde_json::to_string(&line)?;
            log.push('\n');
        }
        fs::write(path, log).with_context(|| format!("cannot write {shown}"))?;
        let file = OpenOptions::new().append(true).open(path);
        Ok(Self { file: file.with_context(|| format!("cannot write {shown}"))? })
    }

    pub(crate) fn write(&mut self, line: &Line) -> anyhow::Result<()> {
        let text = serde_json::to_string(line)? + "\n";
        self.file.write_all(text.as_bytes()).context("cannot write the training log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_run_drops_lines_after_its_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("training.jsonl");
        let mut log = Log::open(&path, None).unwrap();
        log.write(&Line::held_out(0, 0.5)).unwrap();
        for step in 1..=4 {
            log.write(&Line { step, loss: Some(1.0), ..Line::default() }).unwrap();
        }
        // A line that was being written when the program was killed.
        log.file.write_all(b"{\"step\": 5, \"lo").unwrap();
        Log::open(&path, Some(3)).unwrap();
        assert_eq!(held_out(&path), [(0, 0.5)]);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4);
        Log::open(&path, None).unwrap();
        assert_eq!(held_out(&path), []);
    }
}
