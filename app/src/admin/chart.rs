//! Line charts over the steps of a training run, as SVG with colours from the style sheet. The drawing is stretched to the
//! available space; labels are HTML, so that they keep their size on a phone. A table has the same numbers.
//!
//! Drawn by hand: the crates that draw charts either need a browser to measure text in, or write fixed colours and
//! fonts into the SVG, which then cannot follow light and dark.

use std::{borrow::Cow, fmt::Write};

use leptos::prelude::*;

use super::scale::{Axis, scientific, smoothed, thinned};

/// Drawn points per line: two for each pixel of a phone.
const MAX_POINTS: usize = 600;
/// Rows of the table.
const ROWS: usize = 12;
/// Width and height of the drawing; stretched.
const SIZE: (f64, f64) = (600.0, 200.0);

/// Style of a line, as a class of the style sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The line that matters.
    Main,
    /// The noise around it.
    Faint,
    /// Another one beside it, with a dot at each point.
    Second,
    /// The n-th of several runs.
    Run(usize),
}

impl Look {
    fn class(self) -> String {
        match self {
            Self::Main => "line main".to_owned(),
            Self::Faint => "line faint".to_owned(),
            Self::Second => "line second".to_owned(),
            Self::Run(index) => format!("line run-{}", index % 6 + 1),
        }
    }

    /// Whether each point gets a dot.
    fn has_dots(self, points: usize) -> bool {
        matches!(self, Self::Second | Self::Run(_)) && points <= 60
    }
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) look: Look,
    /// Step and value, in the order of the steps.
    pub(super) points: Vec<(f64, f64)>,
}

impl Line {
    pub(super) fn new(name: impl Into<String>, look: Look, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), look, points }
    }

    /// The same, without its noise.
    pub(super) fn calm(&self, name: impl Into<String>, look: Look) -> Self {
        Self { name: name.into(), look, points: smoothed(&self.points, 0.95) }
    }
}

/// Lines that share two axes.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    /// Unique on its page.
    pub(super) id: Cow<'static, str>,
    pub(super) title: Cow<'static, str>,
    /// Explanation in one sentence.
    pub(super) meaning: Cow<'static, str>,
    pub(super) lines: Vec<Line>,
    /// The last step of the axis.
    pub(super) steps: u32,
    /// Values above this are clipped; rare peaks would flatten the rest.
    pub(super) ceiling: Option<f64>,
    /// Whether the axis starts at 0.
    pub(super) from_zero: bool,
}

impl Chart {
    /// The chart, or a sentence where there is nothing to draw yet.
    pub(super) fn draw(self) -> AnyView {
        let lines: Vec<_> = self.lines.iter().filter(|line| !line.points.is_empty()).collect();
        let legend = (lines.len() > 1).then(|| {
            let entries = lines.iter().map(|line| {
                view! { <li class=line.look.class()>{line.name.clone()}</li> }
            });
            view! { <ul class="legend">{entries.collect::<Vec<_>>()}</ul> }
        });
        let title_id = format!("{}-title", self.id);
        let body = if lines.is_empty() {
            view! { <p class="chart-empty">"No data yet."</p> }.into_any()
        } else {
            self.plot(&lines)
        };
        view! {
            <figure class="chart" aria-labelledby=title_id.clone()>
                <figcaption>
                    <h3 id=title_id.clone()>{self.title.clone()}</h3>
                    <p class="hint">{self.meaning.clone()}</p>
                    {legend}
                </figcaption>
                {body}
                {(!lines.is_empty()).then(|| self.table(&lines))}
            </figure>
        }
        .into_any()
    }

    fn plot(&self, lines: &[&Line]) -> AnyView {
        let ceiling = self.ceiling.unwrap_or(f64::INFINITY);
        let values = lines.iter().flat_map(|line| &line.points).map(|point| point.1.min(ceiling));
        let y = Axis::around(values.chain(self.from_zero.then_some(0.0)), 4);
        let x = Axis::of_steps(self.steps);
        let place = |&(step, value): &(f64, f64)| (x.place(step) * SIZE.0, (1.0 - y.place(value)) * SIZE.1);
        let rules = y.marks.iter().map(|mark| {
            let at = format!("{:.1}", (1.0 - y.place(*mark)) * SIZE.1);
            view! { <line class="rule" x1="0" x2=SIZE.0.to_string() y1=at.clone() y2=at /> }
        });
        let drawn = lines.iter().map(|line| {
            let points: Vec<_> = line.points.iter().filter(|point| point.1.is_finite()).copied().collect();
            let dots = line.look.has_dots(points.len());
            let thin: Vec<_> = thinned(&points, MAX_POINTS).iter().map(place).collect();
            // A dot is a line without length and with round ends: round however the drawing is stretched.
            let dots = dots.then(|| {
                let path = thin.iter().fold(String::new(), |mut path, (x, y)| {
                    let _ = write!(path, "M{x:.1} {y:.1}h0");
                    path
                });
                view! { <path class=format!("{} dots", line.look.class()) d=path /> }
            });
            let path = thin.iter().enumerate().fold(String::new(), |mut path, (index, (x, y))| {
                let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
                path
            });
            view! {
                <path class=line.look.class() d=path />
                {dots}
            }
        });
        let below = x.marks.iter().map(|mark| {
            let at = format!("left:{:.2}%", x.place(*mark) * 100.0);
            view! { <span style=at>{x.label(*mark)}</span> }
        });
        let beside = y.marks.iter().map(|mark| {
            let at = format!("bottom:{:.2}%", y.place(*mark) * 100.0);
            view! { <span style=at>{y.label(*mark)}</span> }
        });
        let widest = y.marks.iter().map(|mark| y.label(*mark).len()).max().unwrap_or(1);
        let named = format!("{0}-svg {0}-text", self.id);
        let described = format!("{} {}", self.meaning, self.summary(lines));
        let (title_id, text_id) = (format!("{}-svg", self.id), format!("{}-text", self.id));
        view! {
            <div class="plot" style=format!("--axis:{}ch", widest + 1)>
                <div class="marks-y" aria-hidden="true">
                    {beside.collect::<Vec<_>>()}
                </div>
                <svg
                    viewBox=format!("0 0 {} {}", SIZE.0, SIZE.1)
                    preserveAspectRatio="none"
                    role="img"
                    aria-labelledby=named
                >
                    <title id=title_id>{self.title.clone()}</title>
                    <desc id=text_id>{described}</desc>
                    {rules.collect::<Vec<_>>()}
                    {drawn.collect::<Vec<_>>()}
                </svg>
                <div class="marks-x" aria-hidden="true">
                    {below.collect::<Vec<_>>()}
                </div>
                <p class="axis-name" aria-hidden="true">
                    "step"
                </p>
            </div>
        }
        .into_any()
    }

    /// First and last value of each line, for screen readers.
    fn summary(&self, lines: &[&Line]) -> String {
        let parts = lines.iter().filter(|line| line.look != Look::Faint).filter_map(|line| {
            let (first, last) = (line.points.first()?, line.points.last()?);
            Some(format!(
                "{}: {} at step {}, {} at step {}.",
                line.name,
                value(first.1),
                first.0,
                value(last.1),
                last.0
            ))
        });
        parts.collect::<Vec<_>>().join(" ")
    }

    /// The values at a few steps.
    fn table(&self, lines: &[&Line]) -> AnyView {
        let mut steps: Vec<u32> =
            lines.iter().flat_map(|line| &line.points).map(|point| point.0 as u32).collect();
        steps.sort_unstable();
        steps.dedup();
        let every = steps.len().div_ceil(ROWS).max(1);
        // From the last one backwards: the newest is always there.
        let mut rows: Vec<_> = steps.iter().rev().step_by(every).copied().collect();
        rows.reverse();
        let heads =
            lines.iter().map(|line| view! { <th scope="col">{line.name.clone()}</th> }).collect::<Vec<_>>();
        let rows = rows.into_iter().map(|step| {
            let cells = lines.iter().map(|line| {
                let found = line.points.iter().find(|point| point.0 as u32 == step);
                view! { <td>{found.map_or_else(|| "–".to_owned(), |point| value(point.1))}</td> }
            });
            view! {
                <tr>
                    <th scope="row">{step}</th>
                    {cells.collect::<Vec<_>>()}
                </tr>
            }
        });
        view! {
            <details class="numbers" id=format!("{}-numbers", self.id)>
                <summary>"Data" <span class="off-screen">{format!(": {}", self.title)}</span></summary>
                <div class="wide" tabindex="0" role="region" aria-label=format!("Data of {}", self.title)>
                    <table>
                        <thead>
                            <tr>
                                <th scope="col">"Step"</th>
                                {heads}
                            </tr>
                        </thead>
                        <tbody>{rows.collect::<Vec<_>>()}</tbody>
                    </table>
                </div>
            </details>
        }
        .into_any()
    }
}

/// A measured value, rounded to what matters.
pub(super) fn value(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "NaN".to_owned(),
        0.0 => "0".to_owned(),
        size if size < 1e-3 => scientific(value),
        size if size < 1.0 => format!("{value:.4}"),
        size if size < 100.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(lines: Vec<Line>, steps: u32) -> String {
        let chart = Chart {
            id: "loss".into(),
            title: "Loss".into(),
            meaning: "Lower is better.".into(),
            lines,
            steps,
            ceiling: None,
            from_zero: false,
        };
        chart.draw().to_html()
    }

    #[test]
    fn a_line_goes_from_the_first_point_to_the_last() {
        let drawn = html(
            vec![Line::new("Held-out loss", Look::Second, vec![(0.0, 0.2), (50.0, 0.1), (100.0, 0.15)])],
            100,
        );
        assert!(drawn.contains("M0.0 0.0L300.0 200.0L600.0 100.0"), "{drawn}");
        assert!(drawn.contains("Held-out loss: 0.2000 at step 0, 0.1500 at step 100."), "{drawn}");
        assert_eq!(drawn.matches("<tr>").count(), 4, "a row for each point, and one of heads: {drawn}");
    }

    #[test]
    fn non_finite_values_are_not_drawn() {
        let drawn = html(
            vec![Line::new("Loss", Look::Main, vec![(0.0, f64::NAN), (1.0, 1.0), (2.0, f64::INFINITY)])],
            2,
        );
        let path = drawn.split("<path").nth(1).unwrap().split('>').next().unwrap();
        assert!(!path.contains("NaN") && !path.contains("inf"), "{path}");
        assert!(html(Vec::new(), 0).contains("No data yet."));
    }

    #[test]
    fn values_are_rounded_to_what_matters() {
        for (number, text) in [
            (0.0, "0"),
            (1e-4, "1e-4"),
            (0.12345, "0.1235"),
            (2.345, "2.35"),
            (1234.5, "1234"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(value(number), text);
        }
    }
}
