//! A lineage while it is being put together. Pure.

use adire_protocol::{Lineage, LineageEdge, LineageNode, LineageRole, LineageTotal};

/// Nodes without duplicates, and edges without circles.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<LineageNode>,
    edges: Vec<LineageEdge>,
    totals: Vec<LineageTotal>,
}

impl Graph {
    /// Adds a node unless it is there, and gives its id.
    pub(super) fn add(&mut self, node: LineageNode) -> String {
        let id = node.id.clone();
        if !self.has(&id) {
            self.nodes.push(node);
        }
        id
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.nodes.iter().any(|node| node.id == id)
    }

    pub(super) fn link(&mut self, from: &str, to: &str, role: LineageRole) {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.push(LineageEdge { from, to, role, strength: None, te_strength: None });
    }

    /// Adds an edge, unless it is there or would close a circle: a run that starts from a version can end with the file of
    /// that version.
    pub(super) fn push(&mut self, edge: LineageEdge) {
        if !self.edges.contains(&edge) && !self.leads(&edge.to, &edge.from) {
            self.edges.push(edge);
        }
    }

    /// Whether edges lead from one node to another, or both are the same.
    fn leads(&self, from: &str, to: &str) -> bool {
        let (mut seen, mut next) = (vec![from], vec![from]);
        while let Some(node) = next.pop() {
            if node == to {
                return true;
            }
            for edge in self.edges.iter().filter(|edge| edge.from == node) {
                if !seen.contains(&edge.to.as_str()) {
                    seen.push(&edge.to);
                    next.push(&edge.to);
                }
            }
        }
        false
    }

    /// Notes how many there are of a kind, if that is more than were added.
    pub(super) fn total(&mut self, total: LineageTotal, shown: usize) {
        if total.total > shown as u64 {
            self.totals.push(total);
        }
    }

    /// The lineage of a node.
    pub(super) fn finish(mut self, root: String) -> Lineage {
        let place = |id: &str| self.nodes.iter().position(|node| node.id == id);
        // Stable: edges of one source stay in their order.
        self.edges.sort_by_key(|edge| place(&edge.from));
        Lineage { root, nodes: self.nodes, edges: self.edges, totals: self.totals }
    }
}

#[cfg(test)]
mod tests {
    use adire_protocol::LineageKind;

    use super::{super::nodes::node, *};

    fn graph(ids: &[&str]) -> Graph {
        let mut graph = Graph::default();
        for id in ids {
            graph.add(node(LineageKind::Version, (*id).to_owned(), (*id).to_owned()));
        }
        graph
    }

    #[test]
    fn nodes_and_edges_are_added_once_and_sorted_by_their_source() {
        let mut graph = graph(&["a", "b", "c", "b"]);
        for (from, to) in [("b", "c"), ("a", "c"), ("a", "b"), ("a", "b")] {
            graph.link(from, to, LineageRole::Parent);
        }
        graph.total(LineageTotal { kind: LineageKind::Image, total: 2 }, 2);
        graph.total(LineageTotal { kind: LineageKind::Move, total: 3 }, 2);
        let lineage = graph.finish("a".to_owned());
        assert_eq!(lineage.nodes.iter().map(|node| node.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        let edges: Vec<_> = lineage.edges.iter().map(|e| (e.from.as_str(), e.to.as_str())).collect();
        assert_eq!(edges, [("a", "c"), ("a", "b"), ("b", "c")]);
        assert_eq!(lineage.totals, [LineageTotal { kind: LineageKind::Move, total: 3 }]);
    }

    #[test]
    fn an_edge_that_would_close_a_circle_is_left_out() {
        let mut graph = graph(&["v1", "run", "v0"]);
        for (from, to) in [("v1", "run"), ("run", "v0"), ("run", "v1"), ("v0", "v1"), ("v1", "v1")] {
            graph.link(from, to, LineageRole::Parent);
        }
        let edges: Vec<_> = graph.finish("v1".to_owned()).edges.into_iter().map(|e| (e.from, e.to)).collect();
        let expected = [("v1", "run"), ("run", "v0")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(edges, expected);
    }
}
