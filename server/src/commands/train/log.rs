//! `training.jsonl`: a line for each update and each measurement.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
};

use adire_protocol::TrainingPoint;
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
    /// `seconds`: since the update before.
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

/// The held-out losses of a log, by the number of updates; none where there is no log.
pub(crate) fn held_out(path: &Path) -> Vec<(u32, f64)> {
    lines(path).iter().filter_map(|line| Some((line.step, line.held_out_loss?))).collect()
}

fn lines(path: &Path) -> Vec<Line> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The file, open at its end.
pub(crate) struct Log {
    file: File,
}

impl Log {
    /// Opens the log of a run that has made `updates`, or that begins: lines of later ones belong to what was lost, and
    /// go.
    pub(crate) fn open(path: &Path, updates: Option<u32>) -> anyhow::Result<Self> {
        let shown = path.display();
        let kept = lines(path).into_iter().filter(|line| updates.is_some_and(|updates| line.step <= updates));
        let mut log = String::new();
        for line in kept {
            log += &serde_json::to_string(&line)?;
            log.push('\n');
        }
        fs::write(path, log).with_context(|| format!("{shown} cannot be written"))?;
        let file = OpenOptions::new().append(true).open(path);
        Ok(Self { file: file.with_context(|| format!("{shown} cannot be written"))? })
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
