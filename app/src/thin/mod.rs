//! A thin layer over Leptos, for the one page that runs in the browser. It exists for the size of that page's download:
//! a first visit has a budget of 250 kB (`end2end/bench.mjs`), most of it wasm.
//!
//! | module | instead of | why (compressed, see `docs/performance.md`) |
//! | --- | --- | --- |
//! | [`erased`] | `AnyView`, `Children` | Leptos compiles asynchronous hydration and rebuilding in place for each view that it erases: 73 kB with the client router |
//! | [`reactive`] | closures in `view!` | each closure is a type, and Leptos' code is compiled once for each type: 53 kB |
//! | [`wire`] | serde in the browser | a derived reader checks every field twice and reports every kind of error: 30 kB with [`client`] |
//! | [`client`] | the client half of `#[server]` | its codecs and `gloo-net` for ten calls |
//!
//! What it costs: a component returns [`erased::ErasedView`] and ends in `.erase()`; a closure in `view!` has `dyn_text`,
//! `dyn_flag` or another around it; a record that the page reads is listed in `wire`, and a server function that it calls
//! has a line in `client`. A changed view is built anew, so that what must not flicker has elements that stay. On the
//! server, `ErasedView` is Leptos' own `AnyView` and the server functions are Leptos' own.
//!
//! To remove it, where Leptos' own has become small: `erased` becomes `type ErasedView = AnyView`, with `into_any` for
//! `erase`; `reactive`'s functions return their arguments; `wire` becomes serde's derives, which `protocol` has; and the
//! server functions lose their `#[cfg(feature = "ssr")]`. One at a time, with `cargo xtask bench web` before and after.
//!
//! It must not know pages or components. `studio.test.mjs` runs it in a browser: hydration, changed parts, every call.

pub(crate) mod client;
pub(crate) mod erased;
pub(crate) mod reactive;
pub(crate) mod wire;
