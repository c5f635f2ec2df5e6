//! One file per page.

mod not_found;
mod studio;

pub(crate) use not_found::NotFound;
pub(crate) use studio::StudioPage;
