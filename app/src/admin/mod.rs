//! The admin pages: documents that the server renders whole, and plain forms that post and redirect. One small script
//! (`public/admin.js`) makes them quicker and keeps a running training up to date; everything works without it. Server
//! only: none of this is in the browser's program.

mod chart;
mod fields;
mod frame;
mod icons;
mod overview;
mod page;
mod scale;
mod sign_in;
mod times;

pub use page::{AdminPage, admin_fragment, admin_shell};
pub use sign_in::{SetUp, SignIn};
