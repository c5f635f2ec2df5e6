//! Column charts over time, as SVG with colours from the style sheet; a table has the same numbers.

use leptos::prelude::*;

use super::{chart::value, scale::Axis};

/// Width and height of the drawing; stretched.
const SIZE: (f64, f64) = (600.0, 160.0);
/// Times named below the drawing.
const MARKS: usize = 3;

/// Values of one kind, one for each column.
#[derive(Clone, Debug)]
pub(super) struct Stack {
    name: &'static str,
    class: &'static str,
    values: Vec<f64>,
}

impl Stack {
    /// `class`: what the style sheet colours it by.
    pub(super) fn new(name: &'static str, class: &'static str, values: Vec<f64>) -> Self {
        Self { name, class, values }
    }
}

/// Columns whose parts stand on each other.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// Unique on its page.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// Explanation in one sentence.
    pub(super) meaning: String,
    /// Times of the columns.
    pub(super) at: Vec<String>,
    /// From the bottom up.
    pub(super) stacks: Vec<Stack>,
}

impl Columns {
    pub(super) fn draw(self) -> AnyView {
        let sums: Vec<f64> = (0..self.at.len())
            .map(|index| self.stacks.iter().filter_map(|stack| stack.values.get(index)).sum())
            .collect();
        let y = Axis::around(sums.iter().copied().chain([0.0, 1.0]), 4);
        let width = SIZE.0 / self.at.len().max(1) as f64;
        let mut below = vec![0.0; self.at.len()];
        let drawn: Vec<_> = self
            .stacks
            .iter()
            .map(|stack| {
                let path = stack.values.iter().enumerate().filter(|(_, value)| **value > 0.0).fold(
                    String::new(),
                    |path, (index, value)| {
                        let (low, high) = (below[index], below[index] + value);
                        below[index] = high;
                        let place = |value: f64| (1.0 - y.place(value)) * SIZE.1;
                        let (left, right) =
                            (index as f64 * width + width * 0.1, (index + 1) as f64 * width - width * 0.1);
                        format!("{path}M{left:.1} {:.1}H{right:.1}V{:.1}H{left:.1}Z", place(low), place(high))
                    },
                );
                view! { <path class=format!("column {}", stack.class) d=path /> }
            })
            .collect();
        let rules: Vec<_> = y
            .marks
            .iter()
            .map(|mark| {
                let at = format!("{:.1}", (1.0 - y.place(*mark)) * SIZE.1);
                view! { <line class="rule" x1="0" x2=SIZE.0.to_string() y1=at.clone() y2=at /> }
            })
            .collect();
        let beside: Vec<_> = y
            .marks
            .iter()
            .map(|mark| view! { <span style=format!("bottom:{:.2}%", y.place(*mark) * 100.0)>{y.label(*mark)}</span> })
            .collect();
        let widest = y.marks.iter().map(|mark| y.label(*mark).len()).max().unwrap_or(1);
        let legend: Vec<_> = self
            .stacks
            .iter()
            .map(|stack| view! { <li class=format!("column {}", stack.class)>{stack.name}</li> })
            .collect();
        let [title_id, title_name, svg_id, svg_name] =
            ["title", "title", "svg", "svg"].map(|part| format!("{}-{part}", self.id));
        view! {
            <figure class="chart" aria-labelledby=title_name>
                <figcaption>
                    <h2 id=title_id>{self.title}</h2>
                    <p class="hint">{self.meaning.clone()}</p>
                    <ul class="legend">{legend}</ul>
                </figcaption>
                <div class="plot" style=format!("--axis:{}ch", widest + 1)>
                    <div class="marks-y" aria-hidden="true">{beside}</div>
                    <svg
                        viewBox=format!("0 0 {} {}", SIZE.0, SIZE.1)
                        preserveAspectRatio="none"
                        role="img"
                        aria-labelledby=svg_name
                    >
                        <title id=svg_id>{format!("{}. {}", self.title, self.meaning)}</title>
                        {rules}
                        {drawn}
                    </svg>
                    <div class="marks-x times" aria-hidden="true">{marks(&self.at)}</div>
                </div>
                {self.table()}
            </figure>
        }
        .into_any()
    }

    /// The columns that have a value.
    fn table(&self) -> AnyView {
        let heads: Vec<_> =
            self.stacks.iter().map(|stack| view! { <th scope="col">{stack.name}</th> }).collect();
        let rows: Vec<_> = self
            .at
            .iter()
            .enumerate()
            .filter(|(index, _)| {
                self.stacks.iter().any(|stack| stack.values.get(*index).is_some_and(|value| *value > 0.0))
            })
            .map(|(index, at)| {
                let cells: Vec<_> = self
                    .stacks
                    .iter()
                    .map(|stack| {
                        let found = stack.values.get(index).copied().unwrap_or_default();
                        let text = if found.fract() == 0.0 { found.to_string() } else { value(found) };
                        view! { <td>{text}</td> }
                    })
                    .collect();
                view! {
                    <tr>
                        <th scope="row">{at.clone()}</th>
                        {cells}
                    </tr>
                }
            })
            .collect();
        view! {
            <details class="numbers" id=format!("{}-numbers", self.id)>
                <summary>"Data" <span class="off-screen">{format!(": {}", self.title)}</span></summary>
                <div class="wide" tabindex="0" role="region" aria-label=format!("Data of {}", self.title)>
                    <table>
                        <thead>
                            <tr>
                                <th scope="col">"Time (UTC)"</th>
                                {heads}
                            </tr>
                        </thead>
                        <tbody>{rows}</tbody>
                    </table>
                </div>
            </details>
        }
        .into_any()
    }
}

/// The first time, the last, and one between: without the year, and of several on one day only the clock.
fn marks(at: &[String]) -> Vec<AnyView> {
    let Some(last) = at.len().checked_sub(1) else { return Vec::new() };
    let places = if last < MARKS { vec![0] } else { (0..MARKS).map(|n| n * last / (MARKS - 1)).collect() };
    places
        .into_iter()
        .map(|place| view! { <span>{at[place].get(5..).unwrap_or_default().to_owned()}</span> }.into_any())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_on_each_other_and_the_table_has_the_numbers() {
        let columns = Columns {
            id: "c",
            title: "Ended",
            meaning: "By outcome.".to_owned(),
            at: vec!["2026-11-27 10:00".to_owned(), "2026-11-27 11:00".to_owned()],
            stacks: vec![
                Stack::new("Done", "done", vec![3.0, 0.0]),
                Stack::new("Failed", "failed", vec![1.0, 0.0]),
            ],
        };
        let html = columns.draw().to_html();
        assert!(html.contains("M30.0 160.0H270.0V40.0H30.0Z"), "{html}");
        assert!(html.contains("M30.0 40.0H270.0V0.0H30.0Z"), "{html}");
        assert_eq!(html.matches("<tr>").count(), 2, "a row for what has a value, and the heads: {html}");
    }
}
