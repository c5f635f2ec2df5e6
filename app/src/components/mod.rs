//! Parts that pages are made of.

mod adapter_row;
mod adapters;
mod batch;
mod begin;
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
mod keys;
mod kinds;
mod link;
mod live;
mod notice;
mod number;
mod parameters;
mod picture;
mod piece;
mod prompt;
mod purpose;
mod seed;
mod send;
mod settings;
mod size;
mod tile;

pub(crate) use canvas::Canvas;
pub(crate) use composer::Composer;
pub(crate) use drop::DropOverlay;
#[cfg(feature = "ssr")]
pub(crate) use field::escaped;
pub(crate) use header::Header;
pub(crate) use history::History;
pub(crate) use keys::Keys;
pub(crate) use piece::{IntoPiece, Piece};
pub(crate) use purpose::Purpose;
