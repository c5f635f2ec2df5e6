//! Holds the thin layer over Leptos (`app/src/thin`) to its reason: with Leptos' own in place of one of its parts, the page
//! must be larger.

use std::{fs, path::Path};

use anyhow::{Result, ensure};

use crate::{
    shell::{run, target},
    site::{self, PAGE},
    tools::WasmToolchain,
};

/// Parts of the layer, each with what there is instead and the feature of `adire-app` that takes it.
const PARTS: [(&str, &str, &str); 4] = [
    ("erased", "Leptos' own any view", "leptos-erased"),
    ("reactive", "Leptos' own handling of closures", "leptos-reactive"),
    ("wire", "serde's own reader", "serde-wire"),
    ("client", "Leptos' own client of server functions", "leptos-client"),
];

/// What a part must save at least, in bytes of the download; less is not worth its code.
const LEAST: u64 = 2_000;

/// What the page's code may have of the 250 kB that a first visit may transfer, in bytes: its document, style sheet and icon take
/// the rest.
const MOST: u64 = 230_000;

/// Builds the page with each part replaced, and as it is; fails when a part saves next to nothing, or the page is too large.
pub(crate) fn test() -> Result<()> {
    let toolchain = WasmToolchain::ensure()?;
    let mut without = Vec::new();
    for (part, own, feature) in PARTS {
        forget(&toolchain)?;
        let wasm = site::compile(&toolchain, &["--features", &format!("adire-app/{feature}")])?;
        let folder = target().join("thin").join(feature);
        fs::create_dir_all(&folder)?;
        site::bindgen(&wasm, &folder)?;
        without.push((part, own, download(&folder)?));
    }
    // Last, so that what is left behind is the page.
    forget(&toolchain)?;
    let present = download(&site::build_with(&toolchain)?.join("pkg"))?;
    eprintln!("{present:>9} bytes of wasm and JS, compressed, as the page is");
    for (part, own, size) in &without {
        let more = size.saturating_sub(present);
        eprintln!("{size:>9} with {own}, without thin/{part}: {more} more");
    }
    let needless: Vec<_> =
        without.iter().filter_map(|(part, own, size)| needless(part, own, *size, present)).collect();
    ensure!(needless.is_empty(), "{}", needless.join("\n"));
    ensure!(
        present <= MOST,
        "wasm and JS of the page have {present} bytes compressed, {MOST} is the limit; `twiggy top` on the wasm in \
         target/wasm32-unknown-unknown/wasm-release shows what is large"
    );
    Ok(())
}

/// Why a part has to go, if it has to. `size`: the page without it.
fn needless(part: &str, own: &str, size: u64, present: u64) -> Option<String> {
    (size < present + LEAST).then(|| {
        format!(
            "{own} is as small as the thin layer's (the page has {size} bytes with it, {present} now): remove app/src/thin/{part}"
        )
    })
}

/// Forgets the page that was built: whatever its features, cargo writes it to one file, and takes a newer file of other
/// features for its own.
fn forget(toolchain: &WasmToolchain) -> Result<()> {
    run(toolchain.cargo("clean").arg("--quiet").args(PAGE))
}

/// What a browser loads of the page's code.
fn download(folder: &Path) -> Result<u64> {
    let size = |file| Ok::<_, anyhow::Error>(fs::metadata(folder.join(file))?.len());
    Ok(size("adire_bg.wasm.br")? + size("adire.js.br")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_saves_next_to_nothing_is_named() {
        assert_eq!(needless("wire", "serde's own reader", 202_000, 200_000), None);
        for size in [201_999, 200_000, 190_000] {
            let why = needless("wire", "serde's own reader", size, 200_000).unwrap_or_default();
            assert!(why.ends_with("remove app/src/thin/wire"), "{why}");
        }
    }
}
