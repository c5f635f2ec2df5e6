//! Where an adapter version or an image came from, and what was decided about it. Reads rows and decides nothing; every
//! question to the database has a limit, and so has their number.

mod graph;
mod images;
mod nodes;

use std::collections::{HashMap, HashSet, VecDeque};

use adire_protocol::{
    LedgerMove, Lineage, LineageKind, LineageNode, LineageRole, LineageTotal, ModelInfo, PRODUCTION,
};

use self::graph::Graph;
use crate::{
    StudioError,
    ledger::Book,
    registry::{exact, in_full},
    store::{ImageRow, RunOrigin, Store},
};

/// Images that are shown of those made with a version.
const MAX_IMAGES: u32 = 4;
/// Evaluations, rows of the ledger and pushes beside the version that the lineage is of.
const ALL_DECISIONS: u32 = 4;
/// Evaluations, rows of the ledger and pushes beside any other version.
const LAST_DECISION: u32 = 1;
/// Runs that ended with the same file.
const MAX_RUNS: u32 = 3;
/// Versions whose own origins are followed.
const MAX_VERSIONS: usize = 12;

/// The lineage of a version, `name@vN`: images made with it, its origins, and every decision about it.
pub(crate) async fn of_version(store: &Store, model: &ModelInfo, id: &str) -> Result<Lineage, StudioError> {
    let (name, number) = exact(store, id).await?;
    let id = format!("{name}@v{number}");
    if store.adapter_version(&name, number).await?.is_none() {
        return Err(StudioError::not_found("adapter version", &id));
    }
    let mut gather = Gather::new(store, model);
    let root = nodes::version_id(&id);
    let (rows, total) = store.images_with(&id, MAX_IMAGES).await?;
    gather.graph.total(LineageTotal { kind: LineageKind::Image, total }, rows.len());
    for record in rows.into_iter().map(ImageRow::record) {
        let record = record?;
        gather.model_names.insert(record.recipe.model_hash.clone(), record.recipe.model.clone());
        let image = gather.graph.add(nodes::generated(&record));
        gather.graph.link(&image, &root, LineageRole::Adapter);
    }
    gather.origins(VecDeque::from([(name, number)]), Some(&root)).await?;
    Ok(gather.graph.finish(root))
}

/// The lineage of an image, by its hash: its generation, training run or evaluation, and all that it was made from.
pub(crate) async fn of_image(store: &Store, model: &ModelInfo, hash: &str) -> Result<Lineage, StudioError> {
    let mut gather = Gather::new(store, model);
    let root = images::gather(&mut gather, hash).await?;
    Ok(gather.graph.finish(root))
}

/// A lineage that is being gathered.
struct Gather<'a> {
    store: &'a Store,
    model: &'a ModelInfo,
    graph: Graph,
    /// What the registry knows of adapters, by name.
    books: HashMap<String, Book>,
    /// Names of base models by their hashes, as images have them.
    model_names: HashMap<String, String>,
    /// Versions whose origins are in the graph.
    followed: HashSet<String>,
}

impl<'a> Gather<'a> {
    fn new(store: &'a Store, model: &'a ModelInfo) -> Self {
        Self {
            store,
            model,
            graph: Graph::default(),
            books: HashMap::new(),
            model_names: HashMap::new(),
            followed: HashSet::new(),
        }
    }

    async fn book(&mut self, name: &str) -> Result<&Book, StudioError> {
        if !self.books.contains_key(name) {
            let book = self.store.book(name).await?;
            self.books.insert(name.to_owned(), book);
        }
        Ok(&self.books[name])
    }

    /// Adds versions, what they came from, the versions that their runs started from, and so on. `root` has all its
    /// decisions beside it, others the last one.
    async fn origins(
        &mut self,
        mut next: VecDeque<(String, u32)>,
        root: Option<&str>,
    ) -> Result<(), StudioError> {
        while let Some((name, number)) = next.pop_front() {
            let id = format!("{name}@v{number}");
            if self.followed.len() >= MAX_VERSIONS || !self.followed.insert(id.clone()) {
                continue;
            }
            let runs = self.store.runs_of_version(&id, MAX_RUNS).await?;
            let node = self.version(&name, number, !runs.is_empty()).await?;
            let is_root = root == Some(node.as_str());
            self.decisions(&node, &name, number, is_root).await?;
            for (at, run) in runs.into_iter().enumerate() {
                let (run, parent) = self.run(run).await?;
                let role = if at == 0 { LineageRole::TrainingRun } else { LineageRole::Repetition };
                self.graph.link(&node, &run, role);
                next.extend(parent);
            }
        }
        Ok(())
    }

    /// Adds a version alone.
    async fn version(&mut self, name: &str, number: u32, trained: bool) -> Result<String, StudioError> {
        let Some(listed) = self.store.adapter_version(name, number).await? else {
            return Ok(self.graph.add(nodes::lost_version(&format!("{name}@v{number}"))));
        };
        let stage = self.book(name).await?.stage(number);
        Ok(self.graph.add(nodes::version(&listed, stage, trained)))
    }

    /// Adds a version that is followed later, so that edges may name it.
    async fn mention(&mut self, version: &str) -> Result<(String, Option<(String, u32)>), StudioError> {
        let Ok((name, number)) = in_full(version) else {
            return Ok((self.graph.add(nodes::lost_version(version)), None));
        };
        let id = nodes::version_id(&format!("{name}@v{number}"));
        if !self.graph.has(&id) {
            let trained = !self.store.runs_of_version(version, 1).await?.is_empty();
            self.version(&name, number, trained).await?;
        }
        Ok((id, Some((name, number))))
    }

    /// Adds a run with its datasets, its base model, and the version that it started from, which is also returned.
    async fn run(&mut self, row: RunOrigin) -> Result<(String, Option<(String, u32)>), StudioError> {
        let request = row.request()?;
        let run = self.graph.add(nodes::run(&row, &request));
        self.dataset(&run, &request.dataset, Some(&row.dataset_hash), LineageRole::Dataset).await?;
        if let Some(classes) = &request.class_dataset {
            self.dataset(&run, classes, None, LineageRole::ClassImages).await?;
        }
        self.base_model(&run, &row.model);
        let mut parent = None;
        if let Some(version) = &request.continue_from {
            let (id, found) = self.mention(version).await?;
            self.graph.link(&run, &id, LineageRole::Parent);
            parent = found;
        }
        Ok((run, parent))
    }

    async fn dataset(
        &mut self,
        run: &str,
        id: &str,
        frozen: Option<&str>,
        role: LineageRole,
    ) -> Result<(), StudioError> {
        let row = self.store.dataset_origin(id).await?;
        let dataset = self.graph.add(nodes::dataset(id, row, frozen));
        self.graph.link(run, &dataset, role);
        Ok(())
    }

    /// Adds the base model of something; runs of old versions do not name it.
    fn base_model(&mut self, of: &str, hash: &str) {
        if !hash.is_empty() {
            let name = self.model_names.get(hash).map(String::as_str);
            let base = self.graph.add(nodes::base_model(hash, self.model, name));
            self.graph.link(of, &base, LineageRole::BaseModel);
        }
    }

    /// Adds what was decided about a version: evaluations, rows of the ledger and pushes, the newest first.
    async fn decisions(
        &mut self,
        node: &str,
        name: &str,
        number: u32,
        is_root: bool,
    ) -> Result<(), StudioError> {
        let limit = if is_root { ALL_DECISIONS } else { LAST_DECISION };
        let (evaluations, total) = self.store.evaluations_of_version(name, number, limit).await?;
        if is_root {
            self.graph.total(LineageTotal { kind: LineageKind::Evaluation, total }, evaluations.len());
        }
        for row in evaluations {
            let evaluation = self.graph.add(nodes::evaluation(&row, row.outcome()?));
            self.graph.link(node, &evaluation, LineageRole::Evaluation);
        }
        let book = self.book(name).await?;
        // An alias that moves decides nothing, so where one decision is shown, it is one of a stage.
        let concerns = |made: &&LedgerMove| {
            let moves_stage = made.alias.as_deref().is_none_or(|alias| alias == PRODUCTION);
            let names_it = made.from_version == Some(number) || made.to_version == Some(number);
            names_it && (is_root || moves_stage)
        };
        let total = book.moves.iter().filter(concerns).count() as u64;
        let newest = book.moves.iter().rev().filter(concerns).take(limit as usize);
        let moves: Vec<_> =
            newest.map(|made| (made.verdict.clone(), move_node(book, made, number))).collect();
        if is_root {
            self.graph.total(LineageTotal { kind: LineageKind::Move, total }, moves.len());
        }
        for (verdict, made) in moves {
            let id = self.graph.add(made);
            self.graph.link(node, &id, LineageRole::Move);
            let evaluation = verdict.map(|id| nodes::evaluation_id(&id));
            if let Some(evaluation) = evaluation.filter(|id| self.graph.has(id)) {
                self.graph.link(&id, &evaluation, LineageRole::Verdict);
            }
        }
        let pushes = self.store.pushes(Some((name, number))).await?;
        if is_root {
            let total = pushes.len() as u64;
            self.graph.total(
                LineageTotal { kind: LineageKind::Publication, total },
                pushes.len().min(limit as usize),
            );
        }
        for record in pushes.iter().take(limit as usize) {
            let id = self.graph.add(nodes::publication(record));
            self.graph.link(node, &id, LineageRole::Publication);
        }
        Ok(())
    }
}

/// A row of a ledger with the outcome of the verdict that it rests on.
fn move_node(book: &Book, made: &LedgerMove, version: u32) -> LineageNode {
    let verdict = made.verdict.as_ref().and_then(|id| book.verdict(id));
    nodes::ledger_move(made, version, verdict.map(|verdict| verdict.outcome))
}
