//! Whether new jobs are accepted; kept over restarts.

use adire_protocol::Intake;

use crate::{StudioError, shared::Shared};

/// Under what name it is kept that new jobs are refused.
const INTAKE: &str = "intake";

/// Whether new jobs are refused, as it is kept.
pub(super) async fn read(shared: &Shared) -> Result<(), StudioError> {
    let intake: Intake = shared.store.setting(INTAKE).await?.unwrap_or_default();
    shared.work.set_intake(intake);
    Ok(())
}

/// Refuses new jobs, or accepts them again; kept over restarts.
pub(crate) async fn set_intake(shared: &Shared, intake: Intake) -> Result<Intake, StudioError> {
    shared.store.set_setting(INTAKE, &intake).await?;
    shared.work.set_intake(intake);
    Ok(intake)
}
