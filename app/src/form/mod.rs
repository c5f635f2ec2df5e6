//! The form as text, apart from any page: what a person typed, what a link or a plain form post carries, and
//! the way from there to a request and back. Pure; runs on both sides.

mod ids;
mod known;
mod query;
mod read;
mod shape;
mod values;
mod weight;

pub(crate) use ids::{id_of, post_name};
pub(crate) use known::{by_name, left_out, settle};
pub(crate) use query::{encode, pairs, parse};
pub(crate) use shape::{pixels, settle_size, shapes};
pub(crate) use values::{AdapterRow, FormValues};
pub(crate) use weight::{Edit, reweigh};
