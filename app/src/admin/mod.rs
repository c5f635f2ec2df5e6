//! The admin pages: server-rendered documents and plain forms that post and redirect. One small script
//! (`public/admin.js`) enhances them and updates an active training run; everything works without it. Server only: none of
//! this is in the wasm.

mod access;
mod alerts;
mod chart;
mod columns;
mod compare;
mod comparisons;
mod dataset;
mod datasets;
mod evaluation;
mod evaluation_images;
mod evaluations;
mod fields;
mod flags;
mod frame;
mod gallery;
mod gate;
mod icons;
mod image;
mod imported;
mod lineage;
mod load;
mod monitoring;
mod outcome;
mod overview;
mod page;
mod push;
mod queue;
mod samples;
mod scale;
mod settings;
mod shadow;
mod shapes;
mod sheet;
mod sheet_form;
mod sheets;
mod sign_in;
mod state;
mod suite;
mod times;
mod tokens;
mod tonight;
mod training;
mod training_form;
mod trainings;
mod version;
mod versions;
mod versions_compare;

pub use access::AdminAccess;
pub use fields::FormInput;
pub use page::{AdminPage, admin_live, admin_shell, field_errors, training_request};
pub use sheet_form::sheet_request;
pub use sign_in::{SetUp, SignIn};
pub(crate) use times::ago;
pub use tokens::{NewToken, TokenRow};
