//! The server seen from outside, on the studio's deterministic fake backend. One binary, one file per subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails best where it stands")]

mod adapters;
mod admin;
mod admin_pages;
mod alerts;
mod attacks;
mod bad_input;
mod bodies;
mod browser;
mod compat;
mod control;
mod datasets;
mod embed;
mod evaluations;
mod events;
mod generations;
mod grafana;
mod history;
mod host;
mod hub_api;
mod images;
mod inpainting;
mod jobs;
mod lifecycle;
mod lineage;
mod make;
mod monitoring;
mod openapi;
mod origin;
mod pages;
mod prompts;
mod recipe;
mod registry;
mod secrets;
mod shadows;
mod shares;
mod sheets;
mod support;
mod templates;
mod tokens;
mod tonight;
mod training;
mod uploads;
mod visitor;
mod votes;
