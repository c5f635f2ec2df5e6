//! The lineage of an image: of a generated one, a sample, an image of an evaluation, a smoke image, or an upload.

use adire_protocol::{
    EvaluationRole, ImageRecord, LineageEdge, LineageKind, LineageNode, LineageRole, LineageTotal,
};

use super::{Gather, move_node, nodes};
use crate::{StudioError, store::ImageRow};

/// Generations that are shown of those that made the same image.
const MAX_GENERATIONS: u32 = 3;

/// Gathers the lineage of an image; the id of its node.
pub(super) async fn gather(to: &mut Gather<'_>, hash: &str) -> Result<String, StudioError> {
    let (rows, total) = to.store.images_of_content(hash, MAX_GENERATIONS).await?;
    if !rows.is_empty() {
        to.graph.total(LineageTotal { kind: LineageKind::Generation, total }, rows.len());
        let records: Vec<_> = rows.into_iter().map(ImageRow::record).collect::<Result<_, _>>()?;
        return generated(to, &records).await;
    }
    if let Some(sample) = to.store.sample_origin(hash).await? {
        let image = to.graph.add(LineageNode {
            detail: format!("Sample at step {}", sample.step),
            ..nodes::image(hash, &sample.prompt)
        });
        let (run, parent) = match to.store.run_origin(&sample.job).await? {
            Some(row) => {
                if sample.with_adapter == 0 {
                    to.base_model(&image, &row.model);
                }
                to.run(row).await?
            }
            None => (to.graph.add(nodes::lost_run(&sample.job)), None),
        };
        to.graph.link(&image, &run, LineageRole::TrainingRun);
        to.origins(parent.into_iter().collect(), None).await?;
        return Ok(image);
    }
    if let Some(origin) = to.store.evaluation_image_origin(hash).await? {
        return of_evaluation(to, hash, &origin.evaluation, &origin.role, &origin.text).await;
    }
    if let Some(smoke) = to.store.smoke_origin(hash).await? {
        let node = nodes::image(hash, "Smoke image");
        let image = to.graph.add(LineageNode { at: Some(smoke.created_at), ..node });
        let number = u32::try_from(smoke.version).unwrap_or(u32::MAX);
        adapter(to, &image, &format!("{}@v{number}", smoke.name)).await?;
        let book = to.book(&smoke.name).await?;
        let made = book.moves.iter().find(|made| made.number == smoke.number.cast_unsigned());
        if let Some(made) = made.map(|made| move_node(book, made, number)) {
            let id = to.graph.add(made);
            to.graph.link(&image, &id, LineageRole::Move);
        }
        to.base_model(&image, &smoke.model);
        return Ok(image);
    }
    if to.store.has_upload(hash).await? {
        return Ok(to.graph.add(nodes::image(hash, "Uploaded image")));
    }
    Err(StudioError::not_found("image", hash))
}

/// The generations of one image; they have the same recipe.
async fn generated(to: &mut Gather<'_>, records: &[ImageRecord]) -> Result<String, StudioError> {
    let mut image = String::new();
    for record in records {
        let recipe = &record.recipe;
        to.model_names.insert(recipe.model_hash.clone(), recipe.model.clone());
        image = to.graph.add(nodes::generated(record));
        let visitor = to.store.generation(&record.generation).await?.and_then(|row| row.visitor);
        let generation = to.graph.add(nodes::generation(record, visitor.as_deref()));
        to.graph.link(&image, &generation, LineageRole::Generation);
        for used in &recipe.spec.adapters {
            let (version, found) = to.mention(&used.name).await?;
            to.graph.push(LineageEdge {
                from: generation.clone(),
                to: version,
                role: LineageRole::Adapter,
                strength: Some(used.strength),
                te_strength: used.te_strength,
            });
            to.origins(found.into_iter().collect(), None).await?;
        }
        for (hash, role) in
            [(&recipe.spec.init_image, LineageRole::InitImage), (&recipe.spec.mask, LineageRole::Mask)]
        {
            if let Some(hash) = hash {
                let input = input(to, hash).await?;
                to.graph.link(&generation, &input, role);
            }
        }
        to.base_model(&generation, &recipe.model_hash);
    }
    Ok(image)
}

/// An init image or mask. Its own lineage is on its own page.
async fn input(to: &mut Gather<'_>, hash: &str) -> Result<String, StudioError> {
    let (rows, _) = to.store.images_of_content(hash, 1).await?;
    let node = match rows.into_iter().next() {
        Some(row) => nodes::generated(&row.record()?),
        None if to.store.has_upload(hash).await? => nodes::image(hash, "Uploaded image"),
        None => nodes::deleted_image(hash),
    };
    Ok(to.graph.add(node))
}

async fn of_evaluation(
    to: &mut Gather<'_>,
    hash: &str,
    id: &str,
    role: &str,
    text: &str,
) -> Result<String, StudioError> {
    let image = to.graph.add(nodes::image(hash, text));
    let Some(row) = to.store.evaluation_origin(id).await? else { return Ok(image) };
    let champion = row.champion.map(|version| format!("{}@v{version}", row.name));
    let version = match EvaluationRole::of(role) {
        Some(EvaluationRole::Base | EvaluationRole::BaseUntriggered | EvaluationRole::BaseCaption) => None,
        Some(EvaluationRole::Champion) => champion,
        _ => Some(format!("{}@v{}", row.name, row.version)),
    };
    let evaluation = to.graph.add(nodes::evaluation(&row, row.outcome()?));
    to.graph.link(&image, &evaluation, LineageRole::Evaluation);
    if let Some(version) = version {
        adapter(to, &image, &version).await?;
    }
    to.base_model(&image, &row.base);
    Ok(image)
}

/// The version that an image was made with, and its origins.
async fn adapter(to: &mut Gather<'_>, image: &str, version: &str) -> Result<(), StudioError> {
    let (id, found) = to.mention(version).await?;
    to.graph.link(image, &id, LineageRole::Adapter);
    to.origins(found.into_iter().collect(), None).await
}
