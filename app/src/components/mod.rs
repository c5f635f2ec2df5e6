//! Parts that pages are made of.

mod adapter_row;
mod adapters;
mod batch;
mod canvas;
mod composer;
mod delete;
mod drop;
mod empty;
mod error;
mod field;
mod file;
mod header;
mod hires;
mod history;
mod icons;
mod image;
mod init_image;
mod keys;
mod link;
mod live;
mod logo;
mod notice;
mod number;
mod parameters;
mod prompt;
mod purpose;
mod rate;
mod seed;
mod settings;
mod size;
mod submit;
mod tile;
mod variation;

pub(crate) use canvas::Canvas;
pub(crate) use composer::Composer;
pub(crate) use drop::DropOverlay;
#[cfg(feature = "ssr")]
pub(crate) use field::escaped;
pub(crate) use header::Header;
pub(crate) use history::History;
#[cfg(feature = "ssr")]
pub(crate) use icons::{Drawing, Icon};
pub(crate) use keys::Keys;
#[cfg(feature = "ssr")]
pub(crate) use logo::logo;
pub(crate) use purpose::Purpose;
#[cfg(feature = "ssr")]
pub(crate) use rate::Rate;
