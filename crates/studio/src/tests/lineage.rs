//! Where versions and images came from.

use adire_protocol::{
    AdapterUse, EvaluationRequest, EvaluationRole, Lineage, LineageKind, LineageNode, LineageRole,
    LineageTotal, PromotionRequest, PushRequest,
};

use super::{
    adapters::{file, new},
    datasets::dataset,
    evaluation::{ended, suite},
    training::trained_from,
    uploads::upload,
    *,
};
use crate::Mover;

fn of_kind(lineage: &Lineage, kind: LineageKind) -> Vec<&LineageNode> {
    lineage.nodes.iter().filter(|node| node.kind == kind).collect()
}

/// Roles and targets of a node's edges.
fn edges(lineage: &Lineage, from: &str) -> Vec<(LineageRole, String)> {
    let of = lineage.edges.iter().filter(|edge| edge.from == from);
    of.map(|edge| (edge.role, edge.to.clone())).collect()
}

/// No edge leads nowhere.
fn assert_whole(lineage: &Lineage) {
    assert!(lineage.node(&lineage.root).is_some());
    for edge in &lineage.edges {
        assert!(lineage.node(&edge.from).is_some() && lineage.node(&edge.to).is_some(), "{edge:?}");
    }
}

fn with(prompt: &str, version: &str, strength: f64) -> GenerationRequest {
    GenerationRequest { adapters: vec![AdapterUse::new(version, strength)], ..request(prompt) }
}

async fn image(studio: &Studio, wanted: GenerationRequest) -> String {
    let id = studio.submit(wanted, &who("visitor")).await.unwrap().id;
    finished(studio, &id).await.images[0].hash.clone()
}

async fn promote(studio: &Studio, version: &str, reason: &str) {
    let request = PromotionRequest { reason: reason.to_owned(), force: true };
    studio.promote(version, request, Mover::Admin).await.unwrap();
}

#[tokio::test]
async fn a_version_leads_to_its_run_dataset_and_base_and_to_who_decided() {
    let (_folder, studio, _) = fresh().await;
    let cloth = dataset(&studio, "cloth", 10).await.id;
    let run = trained_from(&studio, "cloth", cloth.clone(), None).await;
    let wanted = EvaluationRequest {
        version: "cloth@v1".to_owned(),
        suite: Some(suite(6)),
        ..EvaluationRequest::default()
    };
    let evaluation = ended(&studio, &studio.evaluate(wanted).await.unwrap().id).await.evaluation;
    promote(&studio, "cloth@v1", "the first one").await;
    let mut made = Vec::new();
    for prompt in ["a", "b", "c", "d", "e"] {
        made.push(image(&studio, with(prompt, "cloth@v1", 0.5)).await);
    }
    image(&studio, request("without an adapter")).await;

    let lineage = studio.version_lineage("cloth@v1").await.unwrap();
    assert_whole(&lineage);
    assert_eq!(lineage.root, "version:cloth@v1");
    let version = lineage.node(&lineage.root).unwrap();
    assert_eq!((version.state.as_deref(), version.deleted), (Some("production"), false));
    // The newest images, and how many there are.
    let images = of_kind(&lineage, LineageKind::Image);
    assert_eq!(images.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["e", "d", "c", "b"]);
    assert_eq!(images[0].page, Some(format!("/admin/images/{}", made[4])));
    assert_eq!(lineage.totals, [LineageTotal { kind: LineageKind::Image, total: 5 }]);
    assert_eq!(edges(&lineage, &images[0].id), [(LineageRole::Adapter, lineage.root.clone())]);

    let run_node = format!("training_run:{}", run.id);
    let evaluation_node = format!("evaluation:{}", evaluation.id);
    assert_eq!(
        edges(&lineage, &lineage.root),
        [
            (LineageRole::Evaluation, evaluation_node.clone()),
            (LineageRole::Move, "move:cloth:1".to_owned()),
            (LineageRole::TrainingRun, run_node.clone()),
        ]
    );
    let base_node = format!("base_model:{}", studio.model().hash);
    assert_eq!(
        edges(&lineage, &run_node),
        [(LineageRole::Dataset, format!("dataset:{cloth}")), (LineageRole::BaseModel, base_node.clone())]
    );
    let set = lineage.node(&format!("dataset:{cloth}")).unwrap();
    assert_eq!((set.name.as_str(), set.images), ("cloth", Some(10)));
    assert_eq!(set.hash.as_deref(), Some(run.dataset_hash.as_str()));
    assert_eq!(lineage.node(&base_node).unwrap().name, studio.model().name);
    let verdict = evaluation.verdict.unwrap().outcome.word();
    assert_eq!(lineage.node(&evaluation_node).unwrap().state.as_deref(), Some(verdict));
    // The promotion names the verdict that it overruled.
    let promoted = lineage.node("move:cloth:1").unwrap();
    assert_eq!(promoted.name, "v1 promoted, after nothing");
    assert_eq!(promoted.detail, format!("by admin: the first one · verdict {verdict}"));
    assert_eq!(edges(&lineage, "move:cloth:1"), [(LineageRole::Verdict, evaluation_node)]);
}

#[tokio::test]
async fn an_image_leads_to_everything_that_it_was_made_from() {
    let (folder, studio, _) = fresh().await;
    let set = dataset(&studio, "cloth", 2).await.id;
    trained_from(&studio, "cloth", set.clone(), None).await;
    let run = trained_from(&studio, "cloth", set.clone(), Some("cloth@v1".to_owned())).await;
    let version = run.version.clone().unwrap();
    studio.add_adapter(new("indigo", None, file(folder.path(), "indigo", "two"))).await.unwrap();
    let start = upload(&studio, 9).await;
    let mut wanted = with("two adapters", &version, 0.8);
    wanted.adapters.push(AdapterUse { te_strength: Some(0.25), ..AdapterUse::new("indigo@v1", -0.5) });
    wanted.init_image = Some(start.clone());
    let hash = image(&studio, wanted).await;

    let lineage = studio.image_lineage(&hash).await.unwrap();
    assert_whole(&lineage);
    assert_eq!(lineage.root, format!("image:{hash}"));
    let generation = of_kind(&lineage, LineageKind::Generation)[0];
    assert!(generation.name.starts_with("Seed 7, "), "{}", generation.name);
    assert_eq!(edges(&lineage, &lineage.root), [(LineageRole::Generation, generation.id.clone())]);
    let base = format!("base_model:{}", studio.model().hash);
    assert_eq!(
        edges(&lineage, &generation.id),
        [
            (LineageRole::Adapter, format!("version:{version}")),
            (LineageRole::Adapter, "version:indigo@v1".to_owned()),
            (LineageRole::InitImage, format!("image:{start}")),
            (LineageRole::BaseModel, base.clone()),
        ]
    );
    let strengths: Vec<_> =
        lineage.edges.iter().filter_map(|edge| Some((edge.strength?, edge.te_strength))).collect();
    assert_eq!(strengths, [(0.8, None), (-0.5, Some(0.25))]);
    // Up to the version that the run started from, and its run.
    let run_node = format!("training_run:{}", run.id);
    assert_eq!(
        edges(&lineage, &format!("version:{version}")),
        [(LineageRole::TrainingRun, run_node.clone())]
    );
    assert_eq!(
        edges(&lineage, &run_node),
        [
            (LineageRole::Dataset, format!("dataset:{set}")),
            (LineageRole::BaseModel, base),
            (LineageRole::Parent, "version:cloth@v1".to_owned()),
        ]
    );
    assert_eq!(of_kind(&lineage, LineageKind::TrainingRun).len(), 2);
    let imported = lineage.node("version:indigo@v1").unwrap();
    assert_eq!(imported.detail, "Added from a file · Dots.");
    assert_eq!(edges(&lineage, "version:indigo@v1"), []);
}

#[tokio::test]
async fn a_run_that_ends_with_the_file_of_another_is_a_repetition() {
    let (_folder, studio, _) = fresh().await;
    let set = dataset(&studio, "cloth", 2).await.id;
    let first = trained_from(&studio, "cloth", set.clone(), None).await;
    let again = trained_from(&studio, "cloth", set, None).await;
    assert_eq!(first.version, again.version);
    let lineage = studio.version_lineage("cloth@v1").await.unwrap();
    assert_whole(&lineage);
    let run = |id: &str| format!("training_run:{id}");
    assert_eq!(
        edges(&lineage, &lineage.root),
        [(LineageRole::TrainingRun, run(&first.id)), (LineageRole::Repetition, run(&again.id))]
    );
}

#[tokio::test]
async fn what_was_deleted_stays_as_a_node() {
    let (_folder, studio, _) = fresh().await;
    let set = dataset(&studio, "cloth", 2).await.id;
    let run = trained_from(&studio, "cloth", set.clone(), None).await;
    let start = upload(&studio, 9).await;
    let hash = image(
        &studio,
        GenerationRequest { init_image: Some(start.clone()), ..with("moons", "cloth@v1", 1.0) },
    )
    .await;
    studio.delete_version("cloth@v1").await.unwrap();
    studio.delete_dataset(&set).await.unwrap();
    studio.delete_content(&start).await.unwrap();
    for lineage in
        [studio.version_lineage("cloth@v1").await.unwrap(), studio.image_lineage(&hash).await.unwrap()]
    {
        assert_whole(&lineage);
        let version = lineage.node("version:cloth@v1").unwrap();
        assert!(version.deleted && version.page.is_some(), "its page says when it was deleted");
        let set = lineage.node(&format!("dataset:{set}")).unwrap();
        assert_eq!(set.name, format!("Dataset {}", &run.dataset_hash[..8]));
        assert!(set.deleted && set.page.is_none() && set.images.is_none());
    }
    let lineage = studio.image_lineage(&hash).await.unwrap();
    let start = lineage.node(&format!("image:{start}")).unwrap();
    assert!(start.deleted && start.image.is_none());

    // A deleted image does not count as made with the version.
    studio.delete_content(&hash).await.unwrap();
    let lineage = studio.version_lineage("cloth@v1").await.unwrap();
    assert_eq!(of_kind(&lineage, LineageKind::Image).len(), 0);
    assert!(matches!(studio.image_lineage(&hash).await, Err(StudioError::NotFound { .. })));
}

#[tokio::test]
async fn samples_evaluation_and_smoke_images_and_uploads_have_a_lineage_too() {
    let (_folder, studio, _) = fresh().await;
    let set = dataset(&studio, "cloth", 2).await.id;
    let run = trained_from(&studio, "cloth", set, None).await;
    let samples = studio.training(&run.id).await.unwrap().samples;
    let sample = samples.iter().find(|sample| sample.with_adapter).unwrap();
    let lineage = studio.image_lineage(&sample.hash).await.unwrap();
    assert_whole(&lineage);
    let run_node = format!("training_run:{}", run.id);
    assert_eq!(edges(&lineage, &lineage.root), [(LineageRole::TrainingRun, run_node)]);
    assert_eq!(lineage.node(&lineage.root).unwrap().detail, "Sample at step 8");

    let wanted = EvaluationRequest {
        version: "cloth@v1".to_owned(),
        suite: Some(suite(6)),
        ..EvaluationRequest::default()
    };
    let detail = ended(&studio, &studio.evaluate(wanted).await.unwrap().id).await;
    let evaluation = format!("evaluation:{}", detail.evaluation.id);
    let base = format!("base_model:{}", studio.model().hash);
    for (role, adapter) in [(EvaluationRole::Challenger, true), (EvaluationRole::Base, false)] {
        let image = detail.images.iter().find(|image| image.role == role).unwrap();
        let lineage = studio.image_lineage(&image.hash).await.unwrap();
        assert_whole(&lineage);
        let mut expected = vec![(LineageRole::Evaluation, evaluation.clone())];
        if adapter {
            expected.push((LineageRole::Adapter, "version:cloth@v1".to_owned()));
        }
        expected.push((LineageRole::BaseModel, base.clone()));
        assert_eq!(edges(&lineage, &lineage.root), expected, "{role:?}");
    }

    promote(&studio, "cloth@v1", "looks right").await;
    let smoke = studio.ledger("cloth").await.unwrap().entries[0].smoke.clone().unwrap().url.unwrap();
    let hash = smoke.trim_start_matches("/api/v1/images/").trim_end_matches(".png");
    let lineage = studio.image_lineage(hash).await.unwrap();
    assert_whole(&lineage);
    let of_smoke: Vec<_> = edges(&lineage, &lineage.root).into_iter().map(|(role, _)| role).collect();
    assert_eq!(of_smoke, [LineageRole::Adapter, LineageRole::Move, LineageRole::BaseModel]);

    let hash = upload(&studio, 9).await;
    let lineage = studio.image_lineage(&hash).await.unwrap();
    assert_eq!((lineage.nodes.len(), lineage.nodes[0].name.as_str()), (1, "Uploaded image"));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let (folder, studio, _) = fresh().await;
    studio.add_adapter(new("indigo", None, file(folder.path(), "indigo", "two"))).await.unwrap();
    let missing = "0".repeat(64);
    for id in ["indigo@v2", "kente@v1"] {
        assert!(matches!(studio.version_lineage(id).await, Err(StudioError::NotFound { .. })), "{id}");
    }
    for hash in [missing.as_str(), "no hash", "a\0b", ""] {
        assert!(matches!(studio.image_lineage(hash).await, Err(StudioError::NotFound { .. })), "{hash:?}");
    }
    let unnumbered = studio.version_lineage("indigo").await.unwrap_err().to_string();
    assert_eq!(unnumbered, "Name the version, for example indigo@v1.");
}

/// Decisions beside the version itself are all those that fit; beside others there is one.
#[tokio::test]
async fn decisions_are_the_newest_and_counted() {
    let (folder, studio, _) = fresh().await;
    for content in ["one", "two"] {
        studio.add_adapter(new("indigo", None, file(folder.path(), content, content))).await.unwrap();
    }
    for turn in 0..3 {
        for version in ["indigo@v1", "indigo@v2"] {
            promote(&studio, version, &format!("turn {turn}")).await;
        }
    }
    let lineage = studio.version_lineage("indigo@v1").await.unwrap();
    let moves: Vec<_> = of_kind(&lineage, LineageKind::Move).into_iter().map(|node| &node.id).collect();
    assert_eq!(moves, ["move:indigo:6", "move:indigo:5", "move:indigo:4", "move:indigo:3"]);
    assert_eq!(lineage.totals, [LineageTotal { kind: LineageKind::Move, total: 6 }]);
    studio.set_alias("indigo@v2", "stable", "", Mover::Admin).await.unwrap();
    let hash = image(&studio, with("moons", "indigo@v2", 1.0)).await;
    let lineage = studio.image_lineage(&hash).await.unwrap();
    let moves: Vec<_> = of_kind(&lineage, LineageKind::Move).into_iter().map(|node| &node.id).collect();
    assert_eq!(moves, ["move:indigo:6"], "the last change of its stage, not the alias");
    assert!(lineage.totals.is_empty());
}

#[tokio::test]
async fn a_versions_pushes_stand_beside_it() {
    let (folder, studio, _) = fresh().await;
    studio.add_adapter(new("adire", Some(1), file(folder.path(), "a", "one"))).await.unwrap();
    let request =
        PushRequest { repository: "ada/adire".to_owned(), private: true, license: None, base_model: None };
    let record = studio.push("adire@v1", request).await.unwrap();
    let lineage = studio.version_lineage("adire@v1").await.unwrap();
    assert_whole(&lineage);
    let [publication] = of_kind(&lineage, LineageKind::Publication)[..] else { panic!("{lineage:?}") };
    assert_eq!(publication.id, format!("publication:{}", record.id));
    assert_eq!((publication.name.as_str(), publication.detail.as_str()), ("ada/adire", "private"));
    assert_eq!(publication.page.as_deref(), Some("/admin/versions/adire@v1#push"));
    let edge = (LineageRole::Publication, publication.id.clone());
    assert!(edges(&lineage, &lineage.root).contains(&edge));
    assert!(LineageRole::Publication.is_decision());
}
