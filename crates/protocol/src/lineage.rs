//! Lineage: what an image or an adapter version came from, and what was decided about it, as a graph.

use serde::{Deserialize, Serialize};

/// What a node of a lineage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LineageKind {
    /// A generated or uploaded image.
    Image,
    /// The generation that made an image.
    Generation,
    /// An adapter version.
    Version,
    /// A training run.
    TrainingRun,
    /// A dataset as a run used it.
    Dataset,
    /// A base model.
    BaseModel,
    /// An evaluation with its verdict.
    Evaluation,
    /// A row of the ledger.
    Move,
    /// A push of a version to a Hub.
    Publication,
}

/// What the target of an edge is to its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LineageRole {
    /// The generation of an image.
    Generation,
    /// An adapter version that an image was made with.
    Adapter,
    /// The image that a generation starts from.
    InitImage,
    /// The mask of a generation.
    Mask,
    /// The run that trained a version, or made a sample.
    TrainingRun,
    /// A later run that ended with the same file.
    Repetition,
    /// The dataset of a run.
    Dataset,
    /// The class images of a run.
    ClassImages,
    /// The version whose weights a run started from.
    Parent,
    /// The base model.
    BaseModel,
    /// An evaluation of a version, or the one that an image was rendered for.
    Evaluation,
    /// A row of the ledger that concerns a version, or after which a smoke image was made.
    Move,
    /// The evaluation whose verdict a row of the ledger rests on.
    Verdict,
    /// A push of a version.
    Publication,
}

impl LineageRole {
    /// Whether the target was decided about the source, instead of being what the source came from.
    pub fn is_decision(self) -> bool {
        matches!(self, Self::Evaluation | Self::Move | Self::Verdict | Self::Publication)
    }
}

/// Something in a lineage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LineageNode {
    /// Unique in this graph.
    pub id: String,
    /// What it is.
    pub kind: LineageKind,
    /// What it is called: `name@vN`, a prompt, the name of a dataset.
    pub name: String,
    /// Stage of a version, outcome of a verdict, state of a push, or state of what has none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// One line about it; may be empty.
    pub detail: String,
    /// sha256 of a file, a dataset's content or a model's weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Images of a dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
    /// Milliseconds since 1970 (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    /// Whether it was deleted; what is still known of it stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Address of its page, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// URL of an image's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// From something to what it came from, or to what was decided about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LineageEdge {
    /// Id of a node.
    pub from: String,
    /// Id of a node.
    pub to: String,
    /// What `to` is to `from`.
    pub role: LineageRole,
    /// Adapter strength, of adapters of a generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// Strength in the text encoder, if it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub te_strength: Option<f64>,
}

/// How many there are of a kind of which only the newest are in the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LineageTotal {
    /// The kind.
    pub kind: LineageKind,
    /// All of them, those in the graph included.
    pub total: u64,
}

/// Where something came from and what was decided about it. Edges run from each thing to its origins, without circles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Lineage {
    /// Id of the node that was asked about.
    pub root: String,
    /// In reading order.
    pub nodes: Vec<LineageNode>,
    /// In the order of their sources.
    pub edges: Vec<LineageEdge>,
    /// Kinds directly beside the root of which there are more than the graph has.
    pub totals: Vec<LineageTotal>,
}

impl Lineage {
    /// The node of an id.
    pub fn node(&self, id: &str) -> Option<&LineageNode> {
        self.nodes.iter().find(|node| node.id == id)
    }
}
