//! Sheets: checks what is requested, and puts one cell after the other into the queue, a few at a time, so that visitors
//! find room in it.

use std::{sync::Arc, time::Duration};

use adire_protocol::{
    FieldError, SheetDetail, SheetRecord, SheetRequest, SheetSetting, SheetState, ValidationError,
};
use uuid::Uuid;

use crate::{
    StudioError, adapters::resolve, client::Who, error::ErrorKind, requests, shared::Shared, tasks::detached,
    time::now,
};

/// Cells of a sheet that are in the queue at once.
const AT_ONCE: i64 = 2;
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
        let wanted = request.request(cell).map_err(|message| invalid("axes", message))?;
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

fn invalid(field: &str, message: String) -> StudioError {
    StudioError::Invalid(ValidationError(vec![FieldError { field: field.to_owned(), message }]))
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
    cancel(shared, id).await?;
    shared.store.delete_sheet(id).await
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
        let sheet = record(shared, id).await?;
        let cell = (id.as_str(), *position);
        let wanted = sheet.request.request(usize::try_from(*position).unwrap_or_default());
        let submitted = match wanted {
            Ok(wanted) => requests::submit(shared.clone(), wanted, Who::default()).await,
            Err(message) => Err(invalid("axes", message)),
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
