//! Rows as nodes of a lineage. Pure.

use adire_protocol::{
    ImageRecord, LedgerMove, LineageKind, LineageNode, Links, ModelInfo, PushRecord, Recipe, Stage,
    TrainingRequest, VerdictOutcome,
};

use crate::store::{DatasetOrigin, EvaluationOrigin, Listed, RunOrigin, image_url};

/// Characters of a prompt or description that a node shows.
const TEXT_SHOWN: usize = 160;

/// Hex digits of a hash that stand for what has lost its name.
const HASH_SHOWN: usize = 8;

pub(super) fn short(hash: &str) -> String {
    hash.chars().take(HASH_SHOWN).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_SHOWN).collect()
}

/// A node of which nothing but its name is known.
pub(super) fn node(kind: LineageKind, id: String, name: String) -> LineageNode {
    LineageNode {
        id,
        kind,
        name,
        state: None,
        detail: String::new(),
        hash: None,
        images: None,
        at: None,
        deleted: false,
        page: None,
        image: None,
    }
}

/// Id of a version's node; `version` is `name@vN`.
pub(super) fn version_id(version: &str) -> String {
    format!("version:{version}")
}

pub(super) fn move_id(name: &str, number: u64) -> String {
    format!("move:{name}:{number}")
}

pub(super) fn evaluation_id(id: &str) -> String {
    format!("evaluation:{id}")
}

/// An image by its hash and what it is called.
pub(super) fn image(hash: &str, name: &str) -> LineageNode {
    let name = if name.is_empty() { "Image without a prompt".to_owned() } else { cut(name) };
    LineageNode {
        hash: Some(hash.to_owned()),
        page: Some(format!("/admin/images/{hash}")),
        image: Some(image_url(hash)),
        ..node(LineageKind::Image, format!("image:{hash}"), name)
    }
}

pub(super) fn deleted_image(hash: &str) -> LineageNode {
    LineageNode {
        name: format!("Image {}", short(hash)),
        deleted: true,
        page: None,
        image: None,
        ..image(hash, "")
    }
}

pub(super) fn generated(record: &ImageRecord) -> LineageNode {
    let withheld = if record.recipe.withheld { "Blocked by the safety checker" } else { "" };
    LineageNode {
        at: Some(record.created_at),
        detail: withheld.to_owned(),
        ..image(&record.hash, &record.recipe.spec.prompt)
    }
}

/// The generation of an image. `visitor`: digest of the one who requested it.
pub(super) fn generation(record: &ImageRecord, visitor: Option<&str>) -> LineageNode {
    let Recipe { spec, embeddings, vae, .. } = &record.recipe;
    let (width, height) = spec.final_size();
    let mut detail = vec![spec.sampling.label()];
    if let Some(strength) = spec.denoising_strength.filter(|_| spec.init_image.is_some()) {
        detail.push(format!("denoising strength {strength}"));
    }
    detail.extend(embeddings.iter().map(|embedding| format!("embedding {}", embedding.word)));
    detail.extend(vae.iter().map(|vae| format!("VAE {}", vae.name)));
    detail.extend(visitor.map(|visitor| format!("visitor {}", short(visitor))));
    let name = format!("Seed {}, {} steps, {width} × {height}", spec.seed, spec.total_steps());
    LineageNode {
        detail: detail.join(" · "),
        at: Some(record.created_at),
        page: Some(Links::of(&record.generation).page),
        ..node(LineageKind::Generation, format!("generation:{}", record.generation), name)
    }
}

/// A version; `trained`: whether a run of this studio made it.
pub(super) fn version(listed: &Listed, stage: Stage, trained: bool) -> LineageNode {
    let id = listed.version.id();
    let detail = match (trained, listed.version.description.as_str()) {
        (true, description) => cut(description),
        (false, "") => "Added from a file".to_owned(),
        (false, description) => format!("Added from a file · {}", cut(description)),
    };
    LineageNode {
        state: Some(stage.word().to_owned()),
        detail,
        hash: Some(listed.version.hash.clone()),
        at: Some(listed.version.created_at),
        deleted: listed.deleted_at.is_some(),
        page: Some(format!("/admin/versions/{id}")),
        ..node(LineageKind::Version, version_id(&id), id)
    }
}

/// A version of which no row is left; `name` is `name@vN`.
pub(super) fn lost_version(name: &str) -> LineageNode {
    LineageNode { deleted: true, ..node(LineageKind::Version, version_id(name), name.to_owned()) }
}

pub(super) fn run(row: &RunOrigin, request: &TrainingRequest) -> LineageNode {
    let mut detail = format!("rank {}, seed {}", request.config.rank, request.config.seed);
    if !request.note.is_empty() {
        detail = format!("{detail} · {}", cut(&request.note));
    }
    LineageNode {
        state: Some(row.state.clone()),
        detail,
        at: Some(row.finished_at.unwrap_or(row.created_at)),
        page: Some(format!("/admin/training/{}", row.id)),
        ..node(
            LineageKind::TrainingRun,
            format!("training_run:{}", row.id),
            format!("{}, {} steps", request.name, request.config.steps),
        )
    }
}

/// A run of which no row is left.
pub(super) fn lost_run(id: &str) -> LineageNode {
    let name = format!("Training run {}", short(id));
    LineageNode { deleted: true, ..node(LineageKind::TrainingRun, format!("training_run:{id}"), name) }
}

/// A dataset. `frozen`: hash of its content when a run used it, if that is known.
pub(super) fn dataset(id: &str, row: Option<DatasetOrigin>, frozen: Option<&str>) -> LineageNode {
    let plain = node(LineageKind::Dataset, format!("dataset:{id}"), String::new());
    match row {
        Some(row) => LineageNode {
            name: row.name,
            images: Some(row.images.cast_unsigned()),
            hash: frozen.map(str::to_owned).or(row.hash),
            page: Some(format!("/admin/datasets/{id}")),
            ..plain
        },
        None => LineageNode {
            name: format!("Dataset {}", short(frozen.unwrap_or(id))),
            hash: frozen.map(str::to_owned),
            deleted: true,
            ..plain
        },
    }
}

/// A base model; `loaded`: the one that the server has. `name`: what images say it is called.
pub(super) fn base_model(hash: &str, loaded: &ModelInfo, name: Option<&str>) -> LineageNode {
    let id = format!("base_model:{hash}");
    let is_loaded = loaded.hash == hash;
    let name = match name {
        _ if is_loaded => loaded.name.clone(),
        Some(name) => name.to_owned(),
        None => format!("Base model {}", short(hash)),
    };
    LineageNode {
        detail: if is_loaded { "Loaded now".to_owned() } else { "Not loaded".to_owned() },
        hash: Some(hash.to_owned()),
        page: is_loaded.then(|| "/admin".to_owned()),
        ..node(LineageKind::BaseModel, id, name)
    }
}

pub(super) fn evaluation(row: &EvaluationOrigin, outcome: Option<VerdictOutcome>) -> LineageNode {
    let state = outcome.map_or_else(|| row.state().name(), VerdictOutcome::word);
    let against = row.champion.map_or_else(|| "the base model".to_owned(), |v| format!("{}@v{v}", row.name));
    LineageNode {
        state: Some(state.to_owned()),
        detail: format!("against {against}"),
        at: Some(row.finished_at.unwrap_or(row.created_at)),
        page: Some(format!("/admin/evaluations/{}", row.id)),
        ..node(
            LineageKind::Evaluation,
            evaluation_id(&row.id),
            format!("Evaluation of {}@v{}", row.name, row.version),
        )
    }
}

/// A row of the ledger beside a version. `verdict`: outcome of the verdict that it rests on.
pub(super) fn ledger_move(made: &LedgerMove, version: u32, verdict: Option<VerdictOutcome>) -> LineageNode {
    let LedgerMove { name, number, who, reason, .. } = made;
    let mut detail = format!("by {who}");
    if !reason.is_empty() {
        detail = format!("{detail}: {}", cut(reason));
    }
    if let Some(verdict) = verdict {
        detail = format!("{detail} · verdict {}", verdict.word());
    }
    LineageNode {
        detail,
        at: Some(made.at),
        page: Some(format!("/admin/versions/{name}@v{version}#ledger-{number}")),
        ..node(LineageKind::Move, move_id(name, *number), made.change())
    }
}

/// A push of a version: its repository, and once it is done that repository's address.
pub(super) fn publication(record: &PushRecord) -> LineageNode {
    let visibility = if record.request.private { "private" } else { "public" };
    let mut detail = visibility.to_owned();
    if let Some(commit) = &record.commit {
        detail = format!("{detail} · commit {}", short(commit));
    }
    if let Some(error) = &record.error {
        detail = format!("{detail} · {}", cut(error));
    }
    LineageNode {
        state: Some(record.state.name().to_owned()),
        detail,
        at: Some(record.finished_at.unwrap_or(record.created_at)),
        page: Some(format!("/admin/versions/{}#push", record.version)),
        ..node(
            LineageKind::Publication,
            format!("publication:{}", record.id),
            record.request.repository.clone(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_deleted_keeps_a_name_and_has_no_page() {
        let hash = "3f2a91c4".repeat(8);
        for (node, name) in [
            (deleted_image(&hash), "Image 3f2a91c4"),
            (lost_version("adire@v9"), "adire@v9"),
            (lost_run("0199c0de-0000"), "Training run 0199c0de"),
            (dataset("0199c0de-0000", None, Some(&hash)), "Dataset 3f2a91c4"),
        ] {
            assert_eq!(
                (node.name.as_str(), node.deleted, &node.page, &node.image),
                (name, true, &None, &None)
            );
        }
    }

    #[test]
    fn a_row_of_the_ledger_says_who_and_why_and_on_which_verdict() {
        let made = LedgerMove {
            number: 3,
            at: 5,
            who: "admin".to_owned(),
            name: "adire".to_owned(),
            action: adire_protocol::LedgerAction::Promote,
            alias: Some("production".to_owned()),
            from_version: Some(1),
            to_version: Some(2),
            verdict: Some("x".to_owned()),
            verdict_digest: None,
            reason: "denser dots".to_owned(),
            previous_digest: String::new(),
            digest: String::new(),
        };
        let node = ledger_move(&made, 2, Some(VerdictOutcome::Pass));
        assert_eq!((node.id.as_str(), node.name.as_str()), ("move:adire:3", "v2 promoted, after v1"));
        assert_eq!(node.detail, "by admin: denser dots · verdict pass");
        assert_eq!(node.page.as_deref(), Some("/admin/versions/adire@v2#ledger-3"));
        let silent = LedgerMove { reason: String::new(), ..made };
        assert_eq!(ledger_move(&silent, 2, None).detail, "by admin");
    }
}
