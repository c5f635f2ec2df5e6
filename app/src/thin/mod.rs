//! A thin layer over Leptos, for the one page that runs in the browser. It exists for the size of that page's download:
//! a first visit has a budget of 250 kB (`end2end/bench.mjs`), most of it wasm.
//!
//! | module | instead of | why (compressed, see `docs/performance.md`) | switched off by |
//! | --- | --- | --- | --- |
//! | [`erased`] | `AnyView`, `Children` | Leptos compiles asynchronous hydration and rebuilding in place for each view that it erases: 77 kB | `leptos-erased` |
//! | [`reactive`] | closures in `view!` | each closure is a type, and Leptos' code is compiled once for each type: 9 kB | `leptos-reactive` |
//! | [`wire`] | serde in the browser | a derived reader checks every field twice and reports every kind of error: 34 kB | `serde-wire` |
//! | [`client`] | the client half of `#[server]` | its codecs and `gloo-net` for seven calls: 12 kB | `leptos-client` |
//!
//! What it costs: a component returns [`erased::ErasedView`] and ends in `.erase()`; a closure in `view!` has `dyn_text`,
//! `dyn_flag` or another around it; a record that the page reads is listed in `wire`, and a server function that it calls
//! has a line in `client`. A changed view is built anew, so that what must not flicker has elements that stay. On the
//! server, `ErasedView` is Leptos' own `AnyView` and the server functions are Leptos' own.
//!
//! Each part is a switch: the feature in the last column, one at a time and in the browser's build only, puts Leptos' own
//! in its place, from `stock` where that needs code. `cargo xtask test thin` builds the page with each of them and fails
//! when a part no longer saves anything. Then it is removed: its feature becomes the code, `erased`'s names and
//! `reactive`'s functions go from the components, `wire`'s records from `api`, and for `client` the server functions lose
//! their `#[cfg(feature = "ssr")]`.
//!
//! It must not know pages or components. `thin.test.mjs` runs it in a browser: hydration, changes in place, every server
//! function, broken answers.

pub(crate) mod client;
pub(crate) mod erased;
#[cfg(not(feature = "leptos-reactive"))]
pub(crate) mod reactive;
#[cfg(feature = "leptos-reactive")]
#[path = "stock/reactive.rs"]
pub(crate) mod reactive;
#[cfg(not(feature = "serde-wire"))]
pub(crate) mod wire;
#[cfg(feature = "serde-wire")]
#[path = "stock/wire.rs"]
pub(crate) mod wire;
