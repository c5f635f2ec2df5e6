//! The server seen from outside, on the studio's deterministic fake backend. One binary, one file per subject.

mod adapters;
mod bad_input;
mod events;
mod generations;
mod images;
mod lifecycle;
mod openapi;
mod origin;
mod pages;
mod recipe;
mod support;
mod visitor;
