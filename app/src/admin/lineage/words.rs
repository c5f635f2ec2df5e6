//! What the nodes of a lineage are, in words. Pure.

use adire_protocol::{Lineage, LineageEdge, LineageKind, LineageNode, LineageRole};

use crate::words::number;

/// What a node is: `Dataset`, `Adapter, strength 0.8`.
pub(super) fn role(lineage: &Lineage, node: &LineageNode) -> String {
    let mut roles: Vec<String> = Vec::new();
    for edge in incoming(lineage, node).filter(|_| node.id != lineage.root) {
        let words = of_edge(edge, lineage);
        if !roles.contains(&words) {
            roles.push(words);
        }
    }
    if roles.is_empty() { of_kind(node.kind).to_owned() } else { roles.join(" and ") }
}

/// Whose it is, to be read after its role: ` of adire@v2`. Empty for the first of its lineage.
pub(super) fn of_whom(lineage: &Lineage, node: &LineageNode) -> String {
    if node.id == lineage.root {
        return String::new();
    }
    let mut names: Vec<String> = Vec::new();
    for edge in incoming(lineage, node) {
        let name = lineage.node(&edge.from).map(called).unwrap_or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if !names.is_empty() {
        return format!(" of {}", names.join(" and "));
    }
    // What was made with the version that the lineage is of.
    let made_with = lineage.edges.iter().find(|edge| edge.from == node.id && edge.to == lineage.root);
    made_with
        .and_then(|edge| lineage.node(&edge.to))
        .map(|root| format!(" made with {}", root.name))
        .unwrap_or_default()
}

/// A sentence about kinds of which not all are shown; empty if there is none.
pub(super) fn totals(lineage: &Lineage) -> String {
    let shown = |kind: LineageKind| {
        let nodes = lineage.nodes.iter().filter(|node| node.kind == kind);
        nodes.filter(|node| touches_root(lineage, node)).count()
    };
    let part = |kind: LineageKind, total: u64| {
        let words = match kind {
            LineageKind::Image => "images",
            LineageKind::Evaluation => "evaluations",
            LineageKind::Move => "changes in the ledger",
            LineageKind::Publication => "publications",
            LineageKind::Generation => "generations that made this image",
            _ => "others",
        };
        format!("{} of {} {words}", shown(kind), thousands(total))
    };
    let parts: Vec<String> = lineage.totals.iter().map(|total| part(total.kind, total.total)).collect();
    match parts.as_slice() {
        [] => String::new(),
        parts => format!("Shown: {}.", parts.join(", ")),
    }
}

fn touches_root(lineage: &Lineage, node: &LineageNode) -> bool {
    let both = |edge: &LineageEdge| [edge.from.clone(), edge.to.clone()];
    lineage.edges.iter().map(both).any(|ends| ends.contains(&node.id) && ends.contains(&lineage.root))
}

/// `1234567` → `1,234,567`.
pub(super) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn incoming<'a>(lineage: &'a Lineage, node: &'a LineageNode) -> impl Iterator<Item = &'a LineageEdge> {
    let to = lineage.edges.iter().filter(move |edge| edge.to == node.id);
    to.filter(|edge| edge.role != LineageRole::Verdict)
}

/// What a node is called in a sentence about another one.
fn called(node: &LineageNode) -> String {
    match node.kind {
        LineageKind::Image => "the image".to_owned(),
        LineageKind::Generation => "the generation".to_owned(),
        LineageKind::TrainingRun => format!("the run “{}”", node.name),
        _ => node.name.clone(),
    }
}

fn of_kind(kind: LineageKind) -> &'static str {
    match kind {
        LineageKind::Image => "Image",
        LineageKind::Generation => "Generation",
        LineageKind::Version => "Adapter version",
        LineageKind::TrainingRun => "Training run",
        LineageKind::Dataset => "Dataset",
        LineageKind::BaseModel => "Base model",
        LineageKind::Evaluation => "Evaluation",
        LineageKind::Move => "Ledger",
        LineageKind::Publication => "Publication",
    }
}

fn of_edge(edge: &LineageEdge, lineage: &Lineage) -> String {
    let kind = lineage.node(&edge.to).map_or("", |node| of_kind(node.kind));
    match edge.role {
        LineageRole::Adapter => {
            let te = edge.te_strength.map(|te| format!(", text encoder {}", number(te))).unwrap_or_default();
            let strength = edge.strength.map(|strength| format!(", strength {}{te}", number(strength)));
            format!("Adapter{}", strength.unwrap_or_default())
        }
        LineageRole::InitImage => "Init image".to_owned(),
        LineageRole::Mask => "Mask".to_owned(),
        LineageRole::Repetition => "Same file, trained again".to_owned(),
        LineageRole::ClassImages => "Class images".to_owned(),
        LineageRole::Parent => "Start of the run".to_owned(),
        LineageRole::Generation
        | LineageRole::TrainingRun
        | LineageRole::Dataset
        | LineageRole::BaseModel
        | LineageRole::Evaluation
        | LineageRole::Move
        | LineageRole::Verdict
        | LineageRole::Publication => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use adire_protocol::LineageTotal;

    use super::*;

    fn lineage() -> Lineage {
        let node = |id: &str, kind: &str, name: &str| serde_json::json!({ "id": id, "kind": kind, "name": name, "detail": "" });
        let edge =
            |from: &str, to: &str, role: &str| serde_json::json!({ "from": from, "to": to, "role": role });
        let mut used = edge("g", "v", "adapter");
        used["strength"] = 0.8.into();
        let value = serde_json::json!({
            "root": "i",
            "nodes": [
                node("i", "image", "moons"), node("g", "generation", "Seed 7"), node("v", "version", "adire@v2"),
                node("r", "training_run", "adire, 8 steps"), node("b", "base_model", "starter"),
            ],
            "edges": [
                edge("i", "g", "generation"), used, edge("g", "b", "base_model"), edge("v", "r", "training_run"),
                edge("r", "b", "base_model"),
            ],
            "totals": [],
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn each_node_says_what_it_is_and_whose() {
        let lineage = lineage();
        let words = |id: &str| {
            let node = lineage.node(id).unwrap();
            role(&lineage, node) + &of_whom(&lineage, node)
        };
        assert_eq!(words("i"), "Image");
        assert_eq!(words("v"), "Adapter, strength 0.8 of the generation");
        assert_eq!(words("r"), "Training run of adire@v2");
        assert_eq!(words("b"), "Base model of the generation and the run “adire, 8 steps”");
    }

    #[test]
    fn what_is_not_shown_is_counted() {
        let mut lineage = lineage();
        assert_eq!(totals(&lineage), "");
        lineage.totals.push(LineageTotal { kind: LineageKind::Generation, total: 12_345 });
        assert_eq!(totals(&lineage), "Shown: 1 of 12,345 generations that made this image.");
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
