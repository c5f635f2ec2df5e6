//! Sheets: every combination once, one seed for all, and nothing lost over a restart.

use std::collections::BTreeSet;

use adire_protocol::{
    SheetAxis, SheetCellState, SheetDetail, SheetRequest, SheetSetting, SheetState, TrainingConfig,
    TrainingRequest, TrainingState,
};

use super::{adapters::three_versions, datasets::dataset, *};
use crate::ErrorKind;

fn sheet(axes: &[(SheetSetting, &[&str])]) -> SheetRequest {
    let axis = |(setting, values): &(SheetSetting, &[&str])| SheetAxis {
        setting: *setting,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    SheetRequest { title: String::new(), base: request("moons"), axes: axes.iter().map(axis).collect() }
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
    assert_eq!(studio.queue().ahead, 2, "a few at a time");
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
