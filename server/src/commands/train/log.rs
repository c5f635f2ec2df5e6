//! `training.jsonl`: a line for each update and each measurement.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
};

use adire_engine::train::Update;
use anyhow::Context;
use serde::{Deserialize, Serialize};

/// One line.
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
    /// `seconds`: of its last micro-step.
    pub(crate) fn update(update: &Update, seconds: f64) -> Self {
        Self {
            step: update.step,
            loss: Some(update.loss),
            learning_rate: Some(update.learning_rate),
            gradient_norm: Some(update.gradient_norm),
            seconds: Some(seconds),
            held_out_loss: None,
        }
    }

    pub(crate) fn held_out(step: u32, loss: Option<f64>) -> Self {
        Self { step, held_out_loss: loss, ..Self::default() }
    }
}

/// The file, open at its end.
pub(crate) struct Log {
    file: File,
    first_held_out: Option<f64>,
}

impl Log {
    /// Opens the log of a run that has made `updates`: lines of later ones belong to what was lost, and go.
    pub(crate) fn open(path: &Path, updates: u32) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<Line> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let kept: Vec<Line> = if updates == 0 { Vec::new() } else { lines };
        let kept: Vec<Line> = kept.into_iter().filter(|line| line.step <= updates).collect();
        let first_held_out = kept.iter().find(|line| line.step == 0).and_then(|line| line.held_out_loss);
        let mut log = String::new();
        for line in &kept {
            log += &serde_json::to_string(line)?;
            log.push('\n');
        }
        fs::write(path, log).with_context(|| format!("{shown} cannot be written"))?;
        let file = OpenOptions::new().append(true).open(path);
        Ok(Self { file: file.with_context(|| format!("{shown} cannot be written"))?, first_held_out })
    }

    /// The held-out loss before the first update, if an earlier part of the run measured it.
    pub(crate) fn first_held_out(&self) -> Option<f64> {
        self.first_held_out
    }

    pub(crate) fn write(&mut self, line: &Line) -> anyhow::Result<()> {
        let text = serde_json::to_string(line)? + "\n";
        self.file.write_all(text.as_bytes()).context("the training log cannot be written")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_goes_on_keeps_what_its_checkpoint_knows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("training.jsonl");
        let mut log = Log::open(&path, 0).unwrap();
        log.write(&Line::held_out(0, Some(0.5))).unwrap();
        for step in 1..=4 {
            log.write(&Line { step, loss: Some(1.0), ..Line::default() }).unwrap();
        }
        // A line that was being written when the program was killed.
        log.file.write_all(b"{\"step\": 5, \"lo").unwrap();
        let log = Log::open(&path, 3).unwrap();
        assert_eq!(log.first_held_out(), Some(0.5));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4);
        assert_eq!(Log::open(&path, 0).unwrap().first_held_out(), None);
    }
}
