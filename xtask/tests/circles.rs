//! No module of a crate imports, directly or by a detour, from one that imports from it.
//!
//! Within each folder the modules in it are compared, each with everything below it. Imports through a re-export count
//! for the module that holds the item. A folder whose own file declares modules and nothing else is only a place: its
//! modules count as if they were in the folder above. A module and those inside it form no circle: they are
//! one. Test code may import what it likes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::{
    Attribute, Item, ItemMod, UseTree, Visibility,
    visit::{self, Visit},
};

/// Segments of a module's path from the crate's root, which has none.
type Module = Vec<String>;

#[test]
fn no_modules_import_each_other() {
    let root = Path::new("..");
    let mut circles = Vec::new();
    for name in [
        "app",
        "server",
        "xtask",
        "crates/cuda",
        "crates/engine",
        "crates/kernels",
        "crates/runtime",
        "crates/protocol",
        "crates/studio",
    ] {
        let source = Source::read(&root.join(name).join("src"));
        assert!(!source.modules.is_empty(), "{name} has no sources");
        circles.extend(source.circles().into_iter().map(|circle| format!("{name}: {circle}")));
    }
    assert!(circles.is_empty(), "modules import each other in a circle:\n{}", circles.join("\n"));
}

/// What a module's file holds.
#[derive(Default)]
struct Contents {
    /// Names that its `use` items bring into scope.
    names: BTreeMap<String, Vec<String>>,
    /// Paths that it names, `use` items included; absolute from the crate's root or from this module.
    paths: Vec<Vec<String>>,
    /// It holds items or re-exports of its own.
    has_items: bool,
}

/// The modules of a crate.
#[derive(Default)]
struct Source {
    modules: BTreeMap<Module, Contents>,
}

impl Source {
    fn read(folder: &Path) -> Self {
        let mut source = Self::default();
        let root =
            ["lib.rs", "main.rs"].map(|name| folder.join(name)).into_iter().find(|file| file.is_file());
        source.read_file(&root.unwrap(), folder, Module::new());
        source
    }

    fn read_file(&mut self, file: &Path, folder: &Path, module: Module) {
        let text = fs::read_to_string(file).unwrap();
        let items =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())).items;
        self.read_items(items, folder, module);
    }

    fn read_items(&mut self, items: Vec<Item>, folder: &Path, module: Module) {
        let mut contents = Contents::default();
        for item in items {
            match item {
                Item::Mod(inner) if !is_test(&inner.attrs) => self.read_module(inner, folder, &module),
                Item::Mod(_) => {}
                Item::Use(item) if !is_test(&item.attrs) => {
                    contents.has_items |= !matches!(item.vis, Visibility::Inherited);
                    leaves(&item.tree, &mut Vec::new(), &mut |name, path| {
                        contents.paths.push(path.clone());
                        contents.names.insert(name, path);
                    });
                }
                Item::Use(_) => {}
                item => {
                    let mut found = Paths(Vec::new());
                    found.visit_item(&item);
                    contents.has_items |= !found.0.is_empty() || !matches!(item, Item::Macro(_));
                    contents.paths.extend(found.0);
                }
            }
        }
        self.modules.insert(module, contents);
    }

    fn read_module(&mut self, inner: ItemMod, folder: &Path, outer: &Module) {
        let name = inner.ident.to_string();
        let module = [&outer[..], std::slice::from_ref(&name)].concat();
        let below = folder.join(&name);
        if let Some((_, items)) = inner.content {
            return self.read_items(items, &below, module);
        }
        let files = [folder.join(format!("{name}.rs")), below.join("mod.rs")];
        let file = files.into_iter().find(|file| file.is_file());
        self.read_file(&file.unwrap_or_else(|| panic!("no file of the module {module:?}")), &below, module);
    }

    /// The module that holds what `path` names, seen from `at`; `None` for other crates and the language's own.
    fn holder(&self, at: &Module, path: &[String], depth: usize) -> Option<Module> {
        let (mut here, rest) = match path.first()?.as_str() {
            "crate" => (Module::new(), &path[1..]),
            "self" => (at.clone(), &path[1..]),
            "super" => {
                let ups = path.iter().take_while(|segment| *segment == "super").count();
                (at[..at.len().checked_sub(ups)?].to_vec(), &path[ups..])
            }
            first => {
                let contents = self.modules.get(at)?;
                let child = [&at[..], &[first.to_owned()]].concat();
                // Enough for what `use` brings in; a name of the prelude or of this file leads nowhere.
                (self.modules.contains_key(&child) || contents.names.contains_key(first)).then_some(())?;
                (at.clone(), path)
            }
        };
        for (place, segment) in rest.iter().enumerate() {
            let child = [&here[..], std::slice::from_ref(segment)].concat();
            if self.modules.contains_key(&child) {
                here = child;
            } else if let Some(import) = self.modules[&here].names.get(segment)
                && depth < 8
            {
                let whole = [&import[..], &rest[place + 1..]].concat();
                // Not by the same name again: `use candle_core::Tensor` leads out of the crate.
                return (whole != path).then(|| self.holder(&here, &whole, depth + 1)).flatten();
            } else {
                break;
            }
        }
        Some(here)
    }

    /// Whether a module only declares others.
    fn is_place(&self, module: &Module) -> bool {
        let has_modules =
            self.modules.keys().any(|other| other.len() > module.len() && other.starts_with(module));
        has_modules && !self.modules[module].has_items
    }

    /// The module directly in the part of the tree below `parent`, of those that are not only places, that holds `module`.
    fn unit(&self, parent: &Module, module: &Module) -> Option<Module> {
        let mut length = parent.len() + 1;
        module.starts_with(parent).then_some(())?;
        while length < module.len() && self.is_place(&module[..length].to_vec()) {
            length += 1;
        }
        (length <= module.len()).then(|| module[..length].to_vec())
    }

    fn circles(&self) -> Vec<String> {
        let mut found = Vec::new();
        for parent in self.modules.keys().filter(|module| module.is_empty() || !self.is_place(module)) {
            let mut arrows = BTreeMap::<Module, BTreeMap<Module, Module>>::new();
            for (module, contents) in &self.modules {
                let Some(from) = self.unit(parent, module) else { continue };
                for path in &contents.paths {
                    let holder = self.holder(module, path, 0);
                    let Some(to) = holder.and_then(|holder| self.unit(parent, &holder)) else { continue };
                    if to != from {
                        arrows.entry(from.clone()).or_default().entry(to).or_insert_with(|| module.clone());
                    }
                }
            }
            found.extend(circle(&arrows));
        }
        found
    }
}

/// The arrows between modules from which a way leads back.
fn circle(arrows: &BTreeMap<Module, BTreeMap<Module, Module>>) -> Vec<String> {
    let reach = |start: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start.clone()]);
        while let Some(module) = next.pop() {
            for to in arrows.get(&module).into_iter().flat_map(|to| to.keys()) {
                if seen.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        arrows.keys().map(|module| (module, reach(module))).collect();
    let mut found = Vec::new();
    for (from, targets) in arrows {
        for (to, by) in targets {
            if reached.get(to).is_some_and(|back| back.contains(from)) {
                found.push(format!("{} → {} (in {})", from.join("::"), to.join("::"), by.join("::")));
            }
        }
    }
    found
}

/// Whether something is compiled for tests, or for the doubles that tests use.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let list = attribute.meta.require_list().map(|list| list.tokens.to_string());
        attribute.path().is_ident("cfg")
            && list.is_ok_and(|list| list.starts_with("test") || list.starts_with("any (test"))
    })
}

/// Every name that a `use` tree brings in, with its path.
fn leaves(tree: &UseTree, before: &mut Vec<String>, found: &mut impl FnMut(String, Vec<String>)) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            leaves(&path.tree, before, found);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, before, found)),
        UseTree::Name(name) if name.ident == "self" => {
            found(before.last().cloned().unwrap_or_default(), before.clone());
        }
        UseTree::Name(name) => found(name.ident.to_string(), with(before, name.ident.to_string())),
        UseTree::Rename(rename) if rename.ident == "self" => found(rename.rename.to_string(), before.clone()),
        UseTree::Rename(rename) => found(rename.rename.to_string(), with(before, rename.ident.to_string())),
        UseTree::Glob(_) => found("*".to_owned(), before.clone()),
    }
}

fn with(before: &[String], last: String) -> Vec<String> {
    [before, &[last]].concat()
}

/// Paths in code, `use` items inside functions included.
struct Paths(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        leaves(&item.tree, &mut Vec::new(), &mut |_, path| self.0.push(path));
    }

    fn visit_macro(&mut self, makro: &'ast syn::Macro) {
        // Tokens are not parsed: paths that start at the crate or above are found by their words.
        let words: Vec<String> = makro.tokens.to_string().split_whitespace().map(str::to_owned).collect();
        for start in 0..words.len() {
            if !matches!(words[start].as_str(), "crate" | "super") {
                continue;
            }
            let mut path = vec![words[start].clone()];
            let mut rest = words[start + 1..].iter();
            while rest.next().is_some_and(|word| word == "::") {
                path.extend(rest.next().cloned());
            }
            self.0.push(path);
        }
        visit::visit_macro(self, makro);
    }
}

fn circles_of(source: &str) -> Vec<String> {
    let mut read = Source::default();
    read.read_items(syn::parse_file(source).unwrap().items, Path::new(""), Module::new());
    read.circles()
}

#[test]
fn circles_are_found_through_re_exports_paths_and_detours() {
    let direct = "mod a { use crate::B; pub struct A; } mod b { pub struct B(crate::a::A); } pub use b::B;";
    assert_eq!(circles_of(direct), ["a → b (in a)", "b → a (in b)"]);
    let detour = "mod a { use super::b; } mod b { fn f() { super::c::g() } } mod c { fn g() { println!(\"{}\", crate::a::X) } }";
    assert_eq!(circles_of(detour).len(), 3);
    let inside = "mod a { pub struct A; mod b { use super::c; } mod c { use super::b; } }";
    assert_eq!(circles_of(inside), ["a::b → a::c (in a::b)", "a::c → a::b (in a::c)"]);
}

#[test]
fn what_is_no_circle_passes() {
    // A module and what is inside it, tests, another crate's names, and a folder that only declares modules.
    let inside = "mod a { pub struct A; use self::b::B; mod b { use super::A; pub struct B; } }";
    let tests = "mod a { #[cfg(test)] mod tests { use crate::b; } } mod b { use crate::a; }";
    let foreign = "mod a { use b::c; } mod d { use crate::a; use ::a::d; }";
    let place = "mod p { pub mod a { use crate::c; } pub mod b {} } mod c { use crate::p::b; }";
    for source in [inside, tests, foreign, place] {
        assert_eq!(circles_of(source), Vec::<String>::new(), "{source}");
    }
}
