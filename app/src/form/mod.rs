//! The form as text, apart from any page: typed values, links and form posts, and the conversion to a request and back.
//! Pure; runs in the browser and on the server.

mod choose;
mod ids;
mod known;
mod query;
mod read;
mod shape;
mod values;
mod weight;

pub(crate) use choose::{called, choose, default_of, holds};
pub(crate) use ids::{id_of, post_name};
pub(crate) use known::{by_name, left_out, settle};
#[cfg(feature = "ssr")]
pub use query::percent_encoded;
#[cfg(feature = "ssr")]
pub(crate) use query::set_posted;
pub(crate) use query::{add, encode, encode_fields, pairs, parse, post_body};
pub(crate) use shape::{pixels, settle_size, shapes, size_of_image};
pub(crate) use values::{AUTOMATIC, AdapterRow, COUNT, FormValues, NAMES, is_key_of};
pub(crate) use weight::{Edit, reweigh};

/// The file field for an init image, where no script uploads it.
pub const INIT_IMAGE_FILE: &str = "init_image_file";
/// The file field for a mask.
pub const MASK_FILE: &str = "mask_file";
