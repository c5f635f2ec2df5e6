//! Sheets: every combination once, one seed for all, and nothing lost over a restart.

use std::collections::BTreeSet;

use adire_protocol::{
    AdapterUse, SheetAxis, SheetCellState, SheetDetail, SheetRequest, SheetSetting, SheetState,
    TrainingConfig, TrainingRequest, TrainingState,
};

use super::{adapters::three_versions, datasets::dataset, *};
use adire_protocol::LineageKind;

use crate::{ErrorKind, STEPS_FOLDER, sheets::fill};

fn sheet(axes: &[(SheetSetting, &[&str])]) -> SheetRequest {
    let axis = |(setting, values): &(SheetSetting, &[&str])| SheetAxis {
        setting: *setting,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    SheetRequest { base: request("moons"), axes: axes.iter().map(axis).collect(), ..SheetRequest::default() }
}

async fn ended(studio: &Studio, id: &str) -> SheetDetail {
    let waiting = async {
        loop {
            let detail = studio.sheet(id).await.unwrap();
            if detail.sheet.state != SheetState::Running {
                return detail;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

#[tokio::test]
async fn every_cell_is_a_generation_with_its_settings_and_the_same_seed() {
    let (folder, studio, _) = fresh().await;
    three_versions(&studio, folder.path()).await;
    let axes: &[(SheetSetting, &[&str])] = &[
        (SheetSetting::Version, &["none", "adire", "adire@v1"]),
        (SheetSetting::Strength, &["0.5", "1"]),
        (SheetSetting::Prompt, &["red", "blue"]),
    ];
    let record = studio.create_sheet(sheet(axes)).await.unwrap();
    assert_eq!((record.cells, record.state), (12, SheetState::Running));
    // Tomorrow, `adire` may be another version.
    assert_eq!(record.request.axes[0].values, ["none", "adire@v2", "adire@v1"]);
    let SheetDetail { sheet, cells } = ended(&studio, &record.id).await;
    assert_eq!((sheet.state, sheet.done, sheet.failed), (SheetState::Done, 12, 0));
    let seed = sheet.request.base.seed.unwrap();
    let mut seen = BTreeSet::new();
    for cell in &cells {
        let spec = cell.spec.as_ref().unwrap();
        assert_eq!((spec.seed, spec.count), (seed, 1));
        assert_eq!(spec.prompt, cell.values[2]);
        match cell.values[0].as_str() {
            "none" => assert_eq!(spec.adapters, []),
            version => {
                assert_eq!(spec.adapters[0].name, version);
                assert_eq!(spec.adapters[0].strength.to_string(), cell.values[1]);
            }
        }
        // Its recipe is that of any image.
        let generation = studio.generation(cell.generation.as_ref().unwrap()).await.unwrap();
        assert_eq!(Some(&generation.images[0].hash), cell.image.as_ref());
        assert_eq!(generation.images[0].recipe.spec, *spec);
        seen.insert(cell.values.clone());
    }
    assert_eq!(seen.len(), 12);
    assert_eq!(studio.sheets().await.unwrap()[0].id, record.id);
    assert_eq!(studio.queue().ahead, 0);

    // Deleted images are missing, and not made again.
    studio.delete_generation(cells[3].generation.as_ref().unwrap(), By::Admin).await.unwrap();
    let left = studio.sheet(&record.id).await.unwrap();
    assert_eq!(left.cells[3].state, SheetCellState::Deleted);
    assert_eq!((left.sheet.done, left.sheet.failed, left.sheet.state), (11, 1, SheetState::Done));
    studio.delete_sheet(&record.id).await.unwrap();
    assert_eq!(studio.sheet(&record.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(studio.generation(cells[0].generation.as_ref().unwrap()).await.is_ok(), "images stay");
}

#[tokio::test]
async fn samplers_steps_and_guidance_scales_are_axes() {
    let (_folder, studio, _) = fresh().await;
    let axes: &[(SheetSetting, &[&str])] = &[
        (SheetSetting::Sampler, &["ddim", "euler", "pndm"]),
        (SheetSetting::Guidance, &["1", "4.5"]),
        (SheetSetting::Steps, &["2", "3"]),
    ];
    let record = studio.create_sheet(sheet(axes)).await.unwrap();
    let SheetDetail { sheet, cells } = ended(&studio, &record.id).await;
    assert_eq!((sheet.done, sheet.failed), (12, 0));
    for cell in &cells {
        let spec = cell.spec.as_ref().unwrap();
        let own =
            [spec.sampling.sampler.name().to_owned(), spec.guidance.to_string(), spec.steps.to_string()];
        assert_eq!(own[..], cell.values[..]);
    }
    let seen: BTreeSet<_> = cells.iter().map(|cell| cell.values.clone()).collect();
    assert_eq!(seen.len(), 12);
}

#[tokio::test]
async fn a_sheet_leaves_room_in_the_queue_survives_a_restart_and_can_be_cancelled() {
    let (folder, studio, _, latch) = latched().await;
    let seeds: Vec<String> = (0..20).map(|seed| seed.to_string()).collect();
    let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
    let record = studio.create_sheet(sheet(&[(SheetSetting::Seed, &seeds)])).await.unwrap();
    let busy = async {
        while studio.queue().ahead == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, busy).await.unwrap();
    for _ in 0..5 {
        crate::sheets::fill(studio.shared()).await.unwrap();
    }
    // Where the studio and this test fill the same cell at once, one of the two generations is stopped.
    let settled = async {
        while studio.queue().ahead != 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("a few at a time");
    let filled = studio.sheet(&record.id).await.unwrap();
    assert_eq!(filled.cells.iter().filter(|cell| cell.generation.is_some()).count(), 2);
    drop(latch);
    studio.shutdown().await;

    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    let whole = ended(&studio, &record.id).await;
    assert_eq!((whole.sheet.done, whole.sheet.failed), (20, 0));
    let generations: BTreeSet<_> = whole.cells.iter().map(|cell| cell.generation.clone()).collect();
    assert_eq!(generations.len(), 20);
    let all: Vec<(i64,)> = studio.shared().store.rows("SELECT COUNT(*) FROM images").await;
    assert_eq!(all[0].0, 20, "none is made twice");
    studio.shutdown().await;

    let (_folder, studio, _, latch) = latched().await;
    let record = studio.create_sheet(sheet(&[(SheetSetting::Seed, &seeds)])).await.unwrap();
    let cancelled = studio.cancel_sheet(&record.id).await.unwrap();
    assert_ne!(cancelled.state, SheetState::Running);
    drop(latch);
    let left = ended(&studio, &record.id).await;
    assert_eq!(left.sheet.state, SheetState::Cancelled);
    assert!(left.cells.iter().any(|cell| cell.state == SheetCellState::Waiting));
    assert!(!crate::sheets::fill(studio.shared()).await.unwrap(), "nothing is left to fill");
}

#[tokio::test]
async fn what_cannot_be_generated_is_refused_at_once() {
    let (folder, studio, _) = fresh().await;
    three_versions(&studio, folder.path()).await;
    for (axes, words) in [
        (&[(SheetSetting::Version, &["nothing"][..])][..], "nothing not found"),
        (&[(SheetSetting::Steps, &["4", "9999"][..])], "(cell 9999)"),
        (&[(SheetSetting::Strength, &["1"][..])], "needs an adapter"),
        (&[(SheetSetting::Version, &["adire", "adire@v2"][..])], "twice"),
    ] {
        let error = studio.create_sheet(sheet(axes)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    assert_eq!(studio.sheets().await.unwrap(), []);
}

#[tokio::test]
async fn a_checkpoint_becomes_a_version_while_training_goes_on() {
    let (_folder, studio, _) = fresh().await;
    let dataset = dataset(&studio, "cloth", 2).await.id;
    let config =
        TrainingConfig { steps: 12, checkpoint_every: 4, sample_every: Some(0), ..Default::default() };
    let asked = TrainingRequest {
        name: "cloth".to_owned(),
        dataset,
        config,
        class_dataset: None,
        class_prompt: None,
        continue_from: None,
        note: String::new(),
    };
    let used = asked.dataset.clone();
    let id = studio.train(asked).await.unwrap().id;
    let waiting = async {
        while studio.training_steps(&id).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    let first = studio.keep_training_step(&id, 4).await.unwrap();
    assert_eq!(first.description, "Step 4 of 12 of a training run.");
    assert_eq!(studio.keep_training_step(&id, 4).await.unwrap().id(), first.id(), "once");
    // Its dataset is the run's, and its lineage names the run.
    let run = studio.shared().store.run_of_version(&first.id()).await.unwrap().unwrap();
    assert_eq!(run.request().unwrap().dataset, used);
    let lineage = studio.version_lineage(&first.id()).await.unwrap();
    assert!(lineage.nodes.iter().any(|node| node.kind == LineageKind::TrainingRun), "{lineage:?}");
    let done = async {
        while studio.training(&id).await.unwrap().run.state != TrainingState::Done {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, done).await.unwrap();
    assert_eq!(studio.training_steps(&id).await.unwrap(), [4, 8, 12]);
    let last = studio.keep_training_step(&id, 12).await.unwrap();
    let made = studio.training(&id).await.unwrap().run.version.unwrap();
    assert_eq!(last.id(), made, "the last checkpoint is what the run made");
    let missing = studio.keep_training_step(&id, 5).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let axes: &[(SheetSetting, &[&str])] =
        &[(SheetSetting::Version, &[&first.id(), &last.id()]), (SheetSetting::Strength, &["0.5", "1"])];
    let record = studio.create_sheet(sheet(axes)).await.unwrap();
    assert_eq!(ended(&studio, &record.id).await.sheet.done, 4);
}

/// A run of 40 steps that saves every fourth.
async fn run(studio: &Studio) -> String {
    let dataset = dataset(studio, "cloth", 2).await.id;
    let config =
        TrainingConfig { steps: 40, checkpoint_every: 4, sample_every: Some(0), ..Default::default() };
    let asked = TrainingRequest {
        name: "cloth".to_owned(),
        dataset,
        config,
        class_dataset: None,
        class_prompt: None,
        continue_from: None,
        note: String::new(),
    };
    studio.train(asked).await.unwrap().id
}

fn of_run(run: &str, steps: &[&str]) -> SheetRequest {
    let axes: &[(SheetSetting, &[&str])] =
        &[(SheetSetting::Checkpoint, steps), (SheetSetting::Strength, &["0.5", "1"])];
    SheetRequest { run: Some(run.to_owned()), ..sheet(axes) }
}

#[tokio::test]
async fn a_sheet_of_checkpoints_fills_in_while_the_run_trains() {
    let folder = tempfile::tempdir().unwrap();
    let (backend, latch) = FakeBackend::training_latched();
    let studio = open(folder.path(), backend).await.unwrap();
    let run = run(&studio).await;
    let record = studio.create_sheet(of_run(&run, &["4", "40"])).await.unwrap();
    assert_eq!((record.cells, record.request.run.clone()), (4, Some(format!("cloth@{run}"))));
    crate::sheets::fill(studio.shared()).await.unwrap();
    let before = studio.sheet(&record.id).await.unwrap();
    assert!(before.cells.iter().all(|cell| cell.state == SheetCellState::Waiting), "nothing is saved yet");

    // Two images, ready, forecast, a measurement, four steps, and the fourth is saved.
    latch.allow(2 + 1 + 1 + 1 + 4 + 1);
    let queued = async {
        while studio.queue().ahead < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, queued).await.expect("the cells of step 4 wait");
    // Images come between two units of the run.
    latch.allow(1);
    let filled = async {
        loop {
            let detail = studio.sheet(&record.id).await.unwrap();
            if detail.sheet.done == 2 {
                return detail;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let detail = tokio::time::timeout(PATIENCE, filled).await.expect("they are made beside the run");
    let training = studio.training(&run).await.unwrap().run;
    assert_eq!((training.state, training.version), (TrainingState::Running, None));
    assert!(training.step < 40 && studio.versions().await.unwrap().is_empty(), "no version is made");
    let hash = studio.shared().store.checkpoint(&run, 4).await.unwrap().unwrap();
    for cell in &detail.cells {
        if cell.values[0] == "40" {
            assert_eq!((cell.state, &cell.generation), (SheetCellState::Waiting, &None));
            continue;
        }
        let generation = studio.generation(cell.generation.as_ref().unwrap()).await.unwrap();
        let recipe = &generation.images[0].recipe;
        assert_eq!(recipe.adapter_hashes, std::slice::from_ref(&hash));
        assert_eq!(recipe.spec.adapters[0].name, format!("cloth@{run}/4"));
        assert_eq!(recipe.spec.adapters[0].strength.to_string(), cell.values[1]);
    }
    // A visitor cannot use it.
    let name = format!("cloth@{run}/4");
    let asked =
        adire_protocol::GenerationRequest { adapters: vec![AdapterUse::new(&name, 1.0)], ..request("moons") };
    let refused = studio.submit(asked, &who("visitor")).await.unwrap_err();
    assert!(refused.to_string().contains("not found"), "{refused}");

    // Later checkpoints join by themselves.
    drop(latch);
    let whole = ended(&studio, &record.id).await;
    assert_eq!((whole.sheet.state, whole.sheet.done), (SheetState::Done, 4));
    assert_eq!(studio.versions().await.unwrap().len(), 1, "what the run made");
    // One click makes a checkpoint a version, even when the run no longer keeps it.
    let steps = folder.path().join("training").join(&run).join(crate::STEPS_FOLDER);
    std::fs::remove_file(steps.join(crate::step_file(4))).unwrap();
    let kept = studio.keep_training_step(&run, 4).await.unwrap();
    assert_eq!((kept.id().as_str(), &kept.hash), ("cloth@v2", &hash));
    assert_eq!(studio.shared().store.owners().await, studio.shared().store.expected_owners().await);
    let last = studio.shared().store.checkpoint(&run, 40).await.unwrap().unwrap();
    assert_ne!(last, hash);
    // Its checkpoints go with the last sheet.
    studio.delete_sheet(&record.id).await.unwrap();
    assert_eq!(studio.shared().store.checkpoint(&run, 4).await.unwrap(), None);
    assert_eq!(studio.shared().store.owners().await, studio.shared().store.expected_owners().await);
    assert!(studio.shared().blobs.get(&hash).await.unwrap().is_some(), "the version has it");
}

#[tokio::test]
async fn cells_of_steps_that_a_run_never_saves_end_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (backend, latch) = FakeBackend::training_latched();
    let studio = open(folder.path(), backend).await.unwrap();
    let run = run(&studio).await;
    for (wanted, words) in [
        (of_run(&run, &["5"]), "saves no step 5; it saves every 4 steps and at its end"),
        (of_run("nothing", &["4"]), "Training run nothing not found"),
        (SheetRequest { run: None, ..of_run(&run, &["4"]) }, "belong together"),
        (
            SheetRequest { run: Some(run.clone()), ..sheet(&[(SheetSetting::Seed, &["1"])]) },
            "belong together",
        ),
    ] {
        let error = studio.create_sheet(wanted).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(words), "{error}");
    }
    // Without values the axis has the steps that the run saves.
    let record = studio.create_sheet(of_run(&run, &[])).await.unwrap();
    assert_eq!(record.request.axes[0].values.len(), 10);
    studio.cancel_training(&run).await.unwrap();
    drop(latch);
    let left = ended(&studio, &record.id).await;
    assert_eq!((left.sheet.state, left.sheet.failed), (SheetState::Done, 20));
    assert!(left.cells[0].error.as_ref().unwrap().contains("Step 4 was not saved"), "{:?}", left.cells[0]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_ends_no_cell() {
    let folder = tempfile::tempdir().unwrap();
    let (backend, latch) = FakeBackend::training_latched();
    let studio = open(folder.path(), backend).await.unwrap();
    let run = run(&studio).await;
    let steps = folder.path().join("training").join(&run).join(STEPS_FOLDER);
    std::fs::create_dir_all(steps.parent().unwrap()).unwrap();
    std::fs::write(&steps, "in the folder's place").unwrap();
    let record = studio.create_sheet(of_run(&run, &["4"])).await.unwrap();
    studio.cancel_training(&run).await.unwrap();
    drop(latch);
    let cancelled = async {
        while studio.training(&run).await.unwrap().run.state != TrainingState::Cancelled {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, cancelled).await.unwrap();
    let error = fill(studio.shared()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert_eq!(studio.sheet(&record.id).await.unwrap().sheet.failed, 0);
    std::fs::remove_file(&steps).unwrap();
    assert_eq!(ended(&studio, &record.id).await.sheet.failed, 2);
}
