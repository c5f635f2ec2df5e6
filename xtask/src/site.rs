//! The page: wasm, its JS, the style sheet and the public files, in one folder that the server serves.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use brotli::enc::{BrotliEncoderParams, backward_references::BrotliEncoderMode};

use crate::{
    shell::{root, run, target},
    tools::WasmToolchain,
    wasm_order::arrange,
};

/// The page, to cargo.
pub(crate) const PAGE: [&str; 4] = ["--package", "adire-frontend", "--profile", "wasm-release"];

/// Builds the page into `<target>/site` and returns that folder.
pub(crate) fn build() -> Result<PathBuf> {
    build_with(&WasmToolchain::ensure()?)
}

/// The same with a toolchain that has been found.
pub(crate) fn build_with(toolchain: &WasmToolchain) -> Result<PathBuf> {
    let wasm = compile(toolchain, &[])?;
    let site = target().join("site");
    let pkg = site.join("pkg");
    fs::create_dir_all(&pkg)?;
    if newer(&wasm, &pkg.join("adire_bg.wasm")) {
        bindgen(&wasm, &pkg)?;
    }
    write_with_brotli(&pkg.join("adire.css"), &style_sheet()?)?;
    copy_public(&root().join("public"), &site)?;
    Ok(site)
}

/// Compiles the page and returns its wasm.
pub(crate) fn compile(toolchain: &WasmToolchain, arguments: &[&str]) -> Result<PathBuf> {
    run(toolchain.cargo("build").arg("--quiet").args(PAGE).args(arguments))?;
    Ok(target().join("wasm32-unknown-unknown/wasm-release/adire_frontend.wasm"))
}

/// Copies what a program carries of the page into `<target>/embed`: of files with a brotli form only that.
pub(crate) fn pack(site: &Path) -> Result<PathBuf> {
    let packed = target().join("embed");
    if packed.exists() {
        fs::remove_dir_all(&packed)?;
    }
    pack_folder(site, &packed)?;
    Ok(packed)
}

fn pack_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let mut twin = path.clone().into_os_string();
        twin.push(".br");
        if path.is_dir() {
            pack_folder(&path, &to)?;
        } else if !Path::new(&twin).exists() {
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}

fn newer(source: &Path, made: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    time(made).is_none_or(|made| time(source).is_some_and(|source| source > made))
}

/// Makes what the browser loads of the wasm, each with its brotli twin.
pub(crate) fn bindgen(wasm: &Path, pkg: &Path) -> Result<()> {
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    let mut output = bindgen
        .input_path(wasm)
        .out_name("adire")
        .web(true)
        .and_then(|bindgen| {
            bindgen
                .typescript(false)
                .remove_name_section(true)
                .remove_producers_section(true)
                .omit_default_module_path(false)
                .generate_output()
        })
        .context("wasm-bindgen could not process the page's wasm")?;
    let bytes = arrange(&output.wasm_mut().emit_wasm())?;
    output.emit(pkg).context("wasm-bindgen could not write its output")?;
    write_with_brotli(&pkg.join("adire_bg.wasm"), &bytes)?;
    let script = fs::read(pkg.join("adire.js"))?;
    write_with_brotli(&pkg.join("adire.js"), &script)
}

/// `style/main.css` with its `@import "file";` lines replaced by the files: one request instead of many.
fn style_sheet() -> Result<Vec<u8>> {
    let folder = root().join("style");
    let main = fs::read_to_string(folder.join("main.css")).context("style/main.css cannot be read")?;
    let mut sheet = String::new();
    for line in main.lines() {
        let imported = line.trim().strip_prefix("@import \"").and_then(|rest| rest.strip_suffix("\";"));
        match imported {
            Some(name) => {
                let path = folder.join(name);
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("{} cannot be read", path.display()))?;
                sheet.push_str(&text);
            }
            None => sheet.push_str(line),
        }
        sheet.push('\n');
    }
    Ok(sheet.into_bytes())
}

/// Writes a file and its brotli twin, which the server hands to browsers that take it.
fn write_with_brotli(path: &Path, bytes: &[u8]) -> Result<()> {
    let twin = PathBuf::from(format!("{}.br", path.display()));
    fs::write(path, bytes)?;
    // The mode for fonts is the smaller one for wasm.
    let modes = [BrotliEncoderMode::BROTLI_MODE_GENERIC, BrotliEncoderMode::BROTLI_MODE_FONT];
    let mut packed = Vec::new();
    for mode in modes {
        let params = BrotliEncoderParams { mode, quality: 11, lgwin: 22, ..Default::default() };
        let mut writer = brotli::CompressorWriter::with_params(Vec::new(), 1 << 16, &params);
        writer.write_all(bytes)?;
        packed.push(writer.into_inner());
    }
    let smallest = packed.into_iter().min_by_key(Vec::len).unwrap_or_default();
    fs::write(twin, smallest)?;
    Ok(())
}

fn copy_public(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, goal) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy_public(&path, &goal)?;
        } else {
            fs::copy(&path, &goal)?;
        }
    }
    Ok(())
}
