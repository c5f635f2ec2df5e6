//! What the studio page remembers while it is open, as signals. The rules are pure functions beside them.

mod form;
mod job;
mod page;
mod stage;

pub(crate) use form::{FormState, RowState};
pub(crate) use job::fraction;
pub(crate) use page::{Address, Begin, Page, ROWS, address_of};
pub(crate) use stage::{Notice, Stage};
