//! Where the nodes of a lineage stand: a column for each step back, and lines from everything to its origins. Pure.
//!
//! Rows are low: an origin takes three of them, a decision two, below what it was made about.

use std::collections::HashMap;

use adire_protocol::{Lineage, LineageEdge};

/// Rows of an origin.
const ORIGIN: usize = 3;
/// Rows of a decision.
const DECISION: usize = 2;

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) column: usize,
    /// Its first row.
    pub(super) row: usize,
    /// Rows that it takes.
    pub(super) height: usize,
    /// Whether it is a decision below something.
    pub(super) below: bool,
}

impl Cell {
    /// Rows from the top to its middle.
    fn middle(self) -> f64 {
        self.row as f64 + self.height as f64 / 2.0
    }
}

/// A lineage laid out.
#[derive(Clone, Debug)]
pub(super) struct Layout<'a> {
    pub(super) columns: usize,
    pub(super) rows: usize,
    pub(super) cells: HashMap<&'a str, Cell>,
    /// Paths of the lines, in units of columns and rows.
    pub(super) lines: Vec<String>,
}

impl<'a> Layout<'a> {
    pub(super) fn of(lineage: &'a Lineage) -> Self {
        let origins: Vec<&LineageEdge> =
            lineage.edges.iter().filter(|edge| !edge.role.is_decision()).collect();
        let below = decisions(lineage);
        let columns = columns(lineage, &origins);
        let mut placed = Self { columns: 0, rows: 0, cells: HashMap::new(), lines: Vec::new() };
        let last = columns.values().copied().max().unwrap_or_default();
        // Rows that are filled in each column.
        let mut taken = vec![0; last + 1];
        for column in 0..=last {
            for node in in_order(lineage, &origins, &columns, column, &placed.cells) {
                let sources: Vec<Cell> = sources(&origins, node, &placed.cells).collect();
                let first = sources.iter().map(|cell| cell.column + 1).min().unwrap_or(column);
                let beside = sources.iter().map(|cell| cell.row).min().unwrap_or_default();
                // A line that passes other columns needs its row in each of them.
                let free = taken[first..=column].iter().copied().max().unwrap_or_default();
                let row = free.max(beside);
                placed.cells.insert(node, Cell { column, row, height: ORIGIN, below: false });
                taken[first..=column].fill(row + ORIGIN);
                for decision in below.iter().filter(|(of, _)| *of == node).map(|(_, decision)| *decision) {
                    let cell = Cell { column, row: taken[column], height: DECISION, below: true };
                    placed.cells.insert(decision, cell);
                    taken[column] += DECISION;
                }
            }
        }
        placed.columns = last + 1;
        placed.rows = taken.into_iter().max().unwrap_or_default();
        placed.lines = origins.iter().filter_map(|edge| line(edge, &placed.cells)).collect();
        placed
    }
}

/// Each decision with what it was made about: the first that leads to it.
fn decisions(lineage: &Lineage) -> Vec<(&str, &str)> {
    let is_origin = |id: &str| {
        let mut to = lineage.edges.iter().filter(|edge| edge.to == id);
        to.any(|edge| !edge.role.is_decision()) || !lineage.edges.iter().any(|edge| edge.to == id)
    };
    let mut found: Vec<(&str, &str)> = Vec::new();
    for edge in lineage.edges.iter().filter(|edge| edge.role.is_decision() && !is_origin(&edge.to)) {
        // A verdict is the decision of its version; the row of the ledger that rests on it only refers to it.
        if is_origin(&edge.from) && found.iter().all(|(_, decision)| *decision != edge.to) {
            found.push((&edge.from, &edge.to));
        }
    }
    found
}

/// The column of each node except decisions: the longest way to it.
fn columns<'a>(lineage: &'a Lineage, origins: &[&'a LineageEdge]) -> HashMap<&'a str, usize> {
    let decided: Vec<&str> = decisions(lineage).into_iter().map(|(_, decision)| decision).collect();
    let nodes = lineage.nodes.iter().map(|node| node.id.as_str()).filter(|id| !decided.contains(id));
    let mut columns: HashMap<&str, usize> = nodes.map(|id| (id, 0)).collect();
    // Without circles, every way is shorter than the number of nodes.
    for _ in 0..lineage.nodes.len() {
        let mut moved = false;
        for edge in origins {
            let Some(after) = columns.get(edge.from.as_str()).map(|column| column + 1) else { continue };
            if let Some(column) = columns.get_mut(edge.to.as_str()).filter(|column| **column < after) {
                (*column, moved) = (after, true);
            }
        }
        if !moved {
            break;
        }
    }
    columns
}

fn sources<'a>(
    origins: &'a [&LineageEdge],
    node: &'a str,
    cells: &'a HashMap<&str, Cell>,
) -> impl Iterator<Item = Cell> + 'a {
    let leads = origins.iter().filter(move |edge| edge.to == node);
    leads.filter_map(|edge| cells.get(edge.from.as_str()).copied())
}

/// The nodes of a column from top to bottom: those that lines from farther away lead to come last, where rows are free.
fn in_order<'a>(
    lineage: &'a Lineage,
    origins: &[&LineageEdge],
    columns: &HashMap<&str, usize>,
    column: usize,
    cells: &HashMap<&str, Cell>,
) -> Vec<&'a str> {
    let nodes = lineage.nodes.iter().map(|node| node.id.as_str());
    let mut here: Vec<&str> = nodes.filter(|id| columns.get(id) == Some(&column)).collect();
    here.sort_by_key(|id| {
        let from: Vec<Cell> = sources(origins, id, cells).collect();
        let is_far = from.iter().any(|cell| cell.column + 1 < column);
        (is_far, from.iter().map(|cell| cell.row).min())
    });
    here
}

/// From the middle of a node to the middle of its origin; the nodes hide the ends. It changes rows right beside the node
/// that it comes from and then keeps to the row of the origin.
fn line(edge: &LineageEdge, cells: &HashMap<&str, Cell>) -> Option<String> {
    let (from, to) = (cells.get(edge.from.as_str())?, cells.get(edge.to.as_str())?);
    let (start, end) = (from.column as f64 + 0.5, to.column as f64 + 0.5);
    let (y, to_y) = (from.middle(), to.middle());
    if from.row == to.row && from.height == to.height {
        return Some(format!("M{start} {y}H{end}"));
    }
    let edge = from.column as f64 + 1.0;
    let (left, right) = (edge - 0.07, edge + 0.07);
    Some(format!("M{start} {y}H{left:.2}C{edge} {y} {edge} {to_y} {right:.2} {to_y}H{end}"))
}

#[cfg(test)]
mod tests {
    use adire_protocol::{LineageKind, LineageNode, LineageRole};

    use super::*;

    fn lineage(nodes: &[&str], edges: &[(&str, &str, LineageRole)]) -> Lineage {
        let node = |id: &&str| LineageNode {
            id: (*id).to_owned(),
            kind: LineageKind::Version,
            name: String::new(),
            state: None,
            detail: String::new(),
            hash: None,
            images: None,
            at: None,
            deleted: false,
            page: None,
            image: None,
        };
        let edge = |(from, to, role): &(&str, &str, LineageRole)| LineageEdge {
            from: (*from).to_owned(),
            to: (*to).to_owned(),
            role: *role,
            strength: None,
            te_strength: None,
        };
        Lineage {
            root: nodes[0].to_owned(),
            nodes: nodes.iter().map(node).collect(),
            edges: edges.iter().map(edge).collect(),
            totals: Vec::new(),
        }
    }

    use LineageRole::{Adapter, BaseModel, Dataset, Evaluation, Generation, Move, TrainingRun, Verdict};

    #[test]
    fn columns_go_back_in_time_and_decisions_stand_below() {
        let lineage = lineage(
            &["image", "other", "version", "verdict", "move", "run", "dataset", "base"],
            &[
                ("image", "version", Adapter),
                ("other", "version", Adapter),
                ("version", "verdict", Evaluation),
                ("version", "move", Move),
                ("move", "verdict", Verdict),
                ("version", "run", TrainingRun),
                ("run", "dataset", Dataset),
                ("run", "base", BaseModel),
            ],
        );
        let layout = Layout::of(&lineage);
        let at = |id| {
            let cell: Cell = layout.cells[id];
            (cell.column, cell.row, cell.below)
        };
        assert_eq!([at("image"), at("other")], [(0, 0, false), (0, 3, false)]);
        assert_eq!([at("version"), at("verdict"), at("move")], [(1, 0, false), (1, 3, true), (1, 5, true)]);
        assert_eq!([at("run"), at("dataset"), at("base")], [(2, 0, false), (3, 0, false), (3, 3, false)]);
        assert_eq!((layout.columns, layout.rows, layout.lines.len()), (4, 7, 5));
        assert_eq!(layout.lines[0], "M0.5 1.5H1.5");
    }

    #[test]
    fn a_long_line_passes_no_node() {
        // Two adapters and the base model that the generation and both runs share.
        let lineage = lineage(
            &["image", "generation", "v1", "move", "run1", "set1", "base", "v2", "run2", "set2"],
            &[
                ("image", "generation", Generation),
                ("generation", "v1", Adapter),
                ("generation", "v2", Adapter),
                ("generation", "base", BaseModel),
                ("v1", "move", Move),
                ("v1", "run1", TrainingRun),
                ("run1", "set1", Dataset),
                ("run1", "base", BaseModel),
                ("v2", "run2", TrainingRun),
                ("run2", "set2", Dataset),
                ("run2", "base", BaseModel),
            ],
        );
        let layout = Layout::of(&lineage);
        let base = layout.cells["base"];
        assert_eq!(base.column, 4);
        let overlaps = |cell: &&Cell| cell.row < base.row + base.height && base.row < cell.row + cell.height;
        for (id, cell) in &layout.cells {
            let between = (2..=4).contains(&cell.column) && *id != "base";
            assert!(!(between && overlaps(&cell)), "{id} is in the way: {cell:?}, {base:?}");
        }
        // No two nodes on one place, and each origin beside or below what it belongs to.
        let mut places: Vec<_> = layout.cells.values().map(|cell| (cell.column, cell.row)).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), lineage.nodes.len());
        assert_eq!(layout.cells["run2"].row, layout.cells["v2"].row);
        assert_eq!(layout.cells["set2"].row, layout.cells["v2"].row);
    }

    #[test]
    fn one_node_alone_has_no_lines() {
        let lineage = lineage(&["upload"], &[]);
        let layout = Layout::of(&lineage);
        assert_eq!((layout.columns, layout.rows, layout.lines.len()), (1, 3, 0));
    }
}
