//! State of the studio page as signals. The rules are pure functions beside them.

mod form;
mod generation;
mod page;
mod workspace;

pub(crate) use form::{FormState, RowState};
pub(crate) use generation::fraction;
pub(crate) use page::{Address, Page, ROWS, UploadRole, address_of};
pub(crate) use workspace::{Notice, Workspace};
