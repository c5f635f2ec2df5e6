//! Sheets: checks what is requested, and puts one cell after the other into the queue, a few at a time, so that visitors
//! find room in it.

use std::{sync::Arc, time::Duration};

use adire_protocol::{
    FieldError, Generation, GenerationRequest, SheetDetail, SheetRecord, SheetRequest, SheetSetting,
    SheetState, TrainingState, ValidationError,
};
use uuid::Uuid;

use crate::{
    StudioError,
    adapters::resolve,
    client::Who,
    error::ErrorKind,
    requests::{self, Reach},
    shared::Shared,
    tasks::detached,
    time::now,
    training,
    unused_blobs::remove_unused,
};

/// Cells of a sheet that are in the queue at once.
const AT_ONCE: i64 = 2;
/// Steps of a run that are taken where a sheet names none.
const STEPS: usize = 20;
/// How often sheets are looked at while one has cells to generate.
const BEAT: Duration = Duration::from_millis(250);

/// Checks every cell and keeps the sheet.
pub(crate) async fn create(
    shared: &Arc<Shared>,
    mut request: SheetRequest,
) -> Result<SheetRecord, StudioError> {
    request.title = request.title.trim().to_owned();
    for axis in &mut request.axes {
        for value in &mut axis.values {
            *value = value.trim().to_owned();
        }
    }
    if let Some(run) = request.run_id().map(str::to_owned) {
        name_run(shared, &mut request, &run).await?;
    }
    request.check().map_err(|errors| StudioError::Invalid(ValidationError(errors)))?;
    if request.base.seed.is_none() {
        let (_, random) = Uuid::new_v4().as_u64_pair();
        request.base.seed = Some(random & u64::from(u32::MAX));
    }
    // A name such as `adire` means another version tomorrow.
    let known = shared.store.adapters().await?;
    for axis in request.axes.iter_mut().filter(|axis| axis.setting == SheetSetting::Version) {
        for value in axis.values.iter_mut().filter(|value| *value != "none") {
            *value = resolve(&known, value)?.id();
        }
    }
    for used in &mut request.base.adapters {
        used.name = resolve(&known, &used.name)?.id();
    }
    request.check().map_err(|errors| StudioError::Invalid(ValidationError(errors)))?;
    for cell in 0..request.cells() {
        let wanted = request.request(cell).map_err(|message| StudioError::invalid("axes", message))?;
        requests::check(shared, wanted).await.map_err(|error| match error {
            StudioError::Invalid(ValidationError(errors)) => {
                let values = request.values(cell).join(", ");
                let named = |error: FieldError| FieldError {
                    message: format!("{} (cell {values})", error.message),
                    ..error
                };
                StudioError::Invalid(ValidationError(errors.into_iter().map(named).collect()))
            }
            other => other,
        })?;
    }
    let id = Uuid::now_v7().to_string();
    shared.store.insert_sheet(&id, &request, now()).await?;
    shared.sheets.notify_one();
    record(shared, &id).await
}

/// Names the adapter of the training run, and its steps where the request names none. Steps at which the run saves nothing are
/// refused: their cells would wait for ever.
async fn name_run(shared: &Shared, request: &mut SheetRequest, run: &str) -> Result<(), StudioError> {
    let unknown = || {
        StudioError::invalid(
            "run",
            format!("Training run {} not found.", run.chars().take(80).collect::<String>()),
        )
    };
    let row = shared.store.run(run).await?.ok_or_else(unknown)?;
    let wanted = row.request()?;
    let saves = wanted.config.saved_steps(usize::MAX);
    for axis in request.axes.iter_mut().filter(|axis| axis.setting == SheetSetting::Checkpoint) {
        if axis.values.is_empty() {
            axis.values = wanted.config.saved_steps(STEPS).iter().map(ToString::to_string).collect();
        }
        let is_saved = |value: &&String| value.parse().is_ok_and(|step: u32| saves.contains(&step));
        if let Some(value) = axis.values.iter().find(|value| !is_saved(value)) {
            let every = wanted.config.checkpoint_every;
            let message =
                format!("The run saves no step {value}; it saves every {every} steps and at its end.");
            return Err(StudioError::invalid("axes", message));
        }
    }
    request.run = Some(format!("{}@{run}", wanted.name));
    Ok(())
}

pub(crate) async fn record(shared: &Shared, id: &str) -> Result<SheetRecord, StudioError> {
    shared.store.sheet(id).await?.ok_or_else(|| StudioError::not_found("sheet", id))
}

/// A sheet with its cells.
pub(crate) async fn detail(shared: &Shared, id: &str) -> Result<SheetDetail, StudioError> {
    let sheet = record(shared, id).await?;
    let cells = shared.store.sheet_cells(id, &sheet.request).await?;
    Ok(SheetDetail { sheet, cells })
}

/// Cancels what is not generated yet.
pub(crate) async fn cancel(shared: &Arc<Shared>, id: &str) -> Result<SheetRecord, StudioError> {
    if record(shared, id).await?.state == SheetState::Running {
        for generation in shared.store.close_sheet(id, now()).await? {
            requests::stop(shared, &generation).await?;
        }
    }
    record(shared, id).await
}

/// Cancels a sheet and forgets it; its images stay.
pub(crate) async fn delete(shared: &Arc<Shared>, id: &str) -> Result<(), StudioError> {
    let sheet = cancel(shared, id).await?;
    shared.store.delete_sheet(id).await?;
    if let Some(run) = sheet.request.run_id() {
        shared.store.forget_checkpoints(run).await?;
        remove_unused(&shared.store, &shared.blobs).await?;
    }
    Ok(())
}

/// Fills sheets until the studio closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        // A task of its own: the end of this one must not come between a generation and its cell.
        let own = shared.clone();
        let is_open = match detached(async move { fill(&own).await }).await {
            Ok(is_open) => is_open,
            Err(error) => {
                tracing::warn!(%error, "a sheet waits");
                true
            }
        };
        if is_open {
            tokio::time::sleep(BEAT).await;
        } else {
            shared.sheets.notified().await;
        }
    }
}

/// Puts cells into the queue while there is room; whether there are more.
pub(crate) async fn fill(shared: &Arc<Shared>) -> Result<bool, StudioError> {
    let open = shared.store.open_sheets().await?;
    for (id, position, busy) in &open {
        if *busy >= AT_ONCE {
            continue;
        }
        let request = record(shared, id).await?.request;
        let position = match request.run_id() {
            None => Some(*position),
            Some(run) => next_saved(shared, id, &request, run).await?,
        };
        let Some(position) = position else { continue };
        let cell = (id.as_str(), position);
        let number = usize::try_from(position).unwrap_or_default();
        let submitted = match request.request(number) {
            Ok(wanted) => submit(shared, wanted, request.run_id().zip(request.step(number))).await,
            Err(message) => Err(StudioError::invalid("axes", message)),
        };
        match submitted {
            Ok(generation) => {
                if !shared.store.fill_cell(cell, Ok(&generation.id)).await? {
                    // Another node was faster, or it was cancelled meanwhile.
                    requests::stop(shared, &generation.id).await?;
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::QueueFull | ErrorKind::IntakePaused => return Ok(true),
                ErrorKind::ShuttingDown | ErrorKind::Internal => return Err(error),
                // Such as a version that was deleted since.
                _ => drop(shared.store.fill_cell(cell, Err(&error.to_string())).await?),
            },
        }
    }
    Ok(!open.is_empty())
}

/// The first open cell whose step has been saved. Once the run has ended, cells of steps that it has not saved end too.
async fn next_saved(
    shared: &Shared,
    sheet: &str,
    request: &SheetRequest,
    run: &str,
) -> Result<Option<i64>, StudioError> {
    // First: what ends in between has saved its steps.
    let has_ended = match shared.store.run(run).await? {
        Some(row) => row.state().is_resting() && row.state() != TrainingState::Paused,
        None => true,
    };
    let saved = match training::steps(shared, run).await {
        Ok(saved) => saved,
        // The run was deleted.
        Err(StudioError::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    for position in shared.store.open_cells(sheet).await? {
        let step = request.step(usize::try_from(position).unwrap_or_default()).unwrap_or_default();
        if saved.contains(&step) || shared.store.checkpoint(run, step).await?.is_some() {
            return Ok(Some(position));
        }
        if has_ended {
            let message = format!("Step {step} was not saved, or is no longer kept.");
            shared.store.fill_cell((sheet, position), Err(&message)).await?;
        }
    }
    Ok(None)
}

async fn submit(
    shared: &Arc<Shared>,
    wanted: GenerationRequest,
    checkpoint: Option<(&str, u32)>,
) -> Result<Generation, StudioError> {
    if let Some((run, step)) = checkpoint {
        training::put_aside(shared, run, step).await?;
    }
    requests::submit(shared.clone(), wanted, Who::default(), Reach::Checkpoints).await
}
