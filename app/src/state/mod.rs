//! State of the studio page as signals. The rules are pure functions beside them.

mod follow;
mod form;
mod generation;
mod page;
mod workspace;

pub(crate) use follow::{follow, rest_out_of_sight, stop_following};
pub(crate) use form::{FormState, RowState};
pub(crate) use generation::fraction;
pub(crate) use page::{Address, Page, ROWS, UploadRole, address_of};
pub(crate) use workspace::{Notice, Workspace};
