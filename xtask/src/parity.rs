//! The engine beside diffusers and PEFT, on pipelines of random weights.
//!
//! Python writes a model and what it makes of it (`tools/parity/pipelines.py`), then the engine does the same
//! (`crates/engine/examples/parity`); one after the other, so that only one of them is in memory.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::{
    shell::{self, cargo, root, target},
    tools,
};

#[derive(Args)]
pub(crate) struct ParityArgs {
    /// Only these sizes; both when none is named. Real ones are Stable Diffusion 1.5's: 8 GB of memory, 5 GB of disk, and
    /// some twenty minutes of processor time
    #[arg(value_enum)]
    shapes: Vec<Shape>,
    /// Keep models and references in target/parity, and take what an earlier run left there
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    Small,
    Real,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Real => "real",
        }
    }
}

/// The engine's result of one case. NaN is written as null.
#[derive(Deserialize)]
struct Line {
    row: String,
    error: Option<f64>,
    bar: f64,
}

/// The worst of a row's cases.
struct Row {
    name: String,
    cases: usize,
    error: f64,
    bar: f64,
}

/// Compares, prints a table, and fails when a bar is missed.
pub(crate) fn run(args: &ParityArgs) -> Result<()> {
    let shapes = if args.shapes.is_empty() { vec![Shape::Small, Shape::Real] } else { args.shapes.clone() };
    let example = ["--package", "adire-engine", "--example", "parity"];
    shell::run(cargo().args(["build", "--quiet", "--release"]).args(example))?;
    let mut missed = Vec::new();
    for shape in shapes {
        let rows = compare(shape, args.keep)?;
        println!("\n{}\n", table(shape, &rows));
        let over = rows.iter().filter(|row| row.error.is_nan() || row.error > row.bar);
        missed.extend(over.map(|row| format!("{} ({})", row.name, shape.name())));
    }
    if missed.is_empty() { Ok(()) } else { bail!("missed the bar: {}", missed.join(", ")) }
}

fn compare(shape: Shape, keep: bool) -> Result<Vec<Row>> {
    let folder = target().join("parity").join(shape.name());
    // Written last.
    if !(keep && folder.join("cases.json").exists()) {
        let _ = fs::remove_dir_all(&folder);
        let python = tools::python()?;
        let script = root().join("tools/parity/pipelines.py");
        let begun = Instant::now();
        shell::run(Command::new(python).arg(script).arg(shape.name()).arg(&folder))?;
        eprintln!("{}: diffusers and PEFT took {} s", shape.name(), begun.elapsed().as_secs());
    }
    let begun = Instant::now();
    let rows = engine(&target().join("release/examples/parity"), &folder);
    eprintln!("{}: the engine took {} s", shape.name(), begun.elapsed().as_secs());
    if !keep {
        let _ = fs::remove_dir_all(&folder);
    }
    rows
}

fn engine(program: &PathBuf, folder: &Path) -> Result<Vec<Row>> {
    let output = Command::new(program).arg(folder).output().context("the example could not be started")?;
    if !output.status.success() {
        bail!("the engine's half failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let (mut rows, mut places) = (Vec::<Row>::new(), BTreeMap::new());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Line { row: name, error, bar } =
            serde_json::from_str(line).with_context(|| format!("not a line of the example: {line}"))?;
        let place = *places.entry(name.clone()).or_insert(rows.len());
        if place == rows.len() {
            rows.push(Row { name, cases: 0, error: 0.0, bar });
        }
        rows[place].cases += 1;
        rows[place].error = rows[place].error.max(error.unwrap_or(f64::INFINITY));
    }
    if rows.is_empty() {
        bail!("the engine's half compared nothing");
    }
    Ok(rows)
}

/// In Markdown, for docs/parity.md.
fn table(shape: Shape, rows: &[Row]) -> String {
    let mut lines = vec![
        format!("| {} | cases | worst error | bar |", shape.name()),
        "| --- | --- | --- | --- |".to_owned(),
    ];
    for Row { name, cases, error, bar } in rows {
        let shown = |value: f64| match *bar {
            0.0 => format!("{value}"),
            bar if bar < 1.0 => format!("{value:.1e}"),
            _ => format!("{value}/255"),
        };
        lines.push(format!("| {name} | {cases} | {} | {} |", shown(*error), shown(*bar)));
    }
    lines.join("\n")
}
