//! Everything under `/admin`. [`guard`] stands before every address there, unknown ones included; [`auth`] knows
//! passwords and sessions, [`session`] the cookies of a request, [`pages`] the documents and their forms, [`one_file`] forms with a file, [`api`] the JSON.

pub(crate) mod api;
pub(crate) mod auth;
pub(crate) mod guard;
pub(crate) mod one_file;
pub(crate) mod pages;
pub(crate) mod session;
