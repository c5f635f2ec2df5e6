//! Where the layers of a file belong in a model, and what of the file finds no place.

use std::collections::{BTreeMap, HashMap};

use adire_protocol::LeftOut;

use super::{Adapter, Family, Module, receipt::SkippedLayer, table::ModuleTable, visit::Visit};
use crate::{EngineError, Result};

/// The modules of a model, found by their flattened paths.
#[derive(Debug)]
pub(crate) struct Targets {
    table: ModuleTable,
    modules: Vec<Shapes>,
    /// For each parameter, in the order in which the model shows them, its module.
    pub(super) places: Vec<usize>,
}

/// The dimensions of a module's parameters.
#[derive(Debug, Default)]
struct Shapes {
    path: String,
    weight: Vec<usize>,
    bias: Option<Vec<usize>>,
}

/// What of a file has found a place.
#[derive(Default)]
pub(super) struct Placed {
    /// Layers that this model does not have.
    pub(super) skipped: Vec<SkippedLayer>,
    /// How many tensors these layers have.
    skipped_tensors: usize,
    /// Layers of which only the bias has no place.
    biases: Vec<String>,
}

impl Placed {
    /// What has no effect, by sort. Bundled embeddings are not among it: prompts name them.
    pub(super) fn left_out(&self, adapter: &Adapter) -> Vec<LeftOut> {
        let names =
            |names: &mut dyn Iterator<Item = &String>| names.take(LeftOut::EXAMPLES).cloned().collect();
        let sort = |sort: &str, tensors: usize, examples: Vec<String>| {
            (tensors > 0).then(|| LeftOut { sort: sort.to_owned(), tensors: tensors as u32, examples })
        };
        let (skipped, unknown) = (&mut self.skipped.iter().map(|layer| &layer.module), &adapter.unknown);
        [
            sort("of layers that this model does not have", self.skipped_tensors, names(skipped)),
            sort("biases of layers that have none", self.biases.len(), names(&mut self.biases.iter())),
            sort("with unknown names", unknown.len(), names(&mut unknown.iter())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Targets {
    pub(super) fn of(visit: &mut Visit<'_>) -> Result<Self> {
        let (mut paths, mut modules, mut places) = (Vec::new(), Vec::<Shapes>::new(), Vec::new());
        let mut known = HashMap::new();
        visit(&mut |component, path, parameter, weight| {
            let at = *known.entry((component, path.to_owned())).or_insert_with(|| {
                paths.push((component, path.to_owned()));
                modules.push(Shapes { path: path.to_owned(), ..Shapes::default() });
                modules.len() - 1
            });
            places.push(at);
            let dims = weight.dims().to_vec();
            if parameter.is_bias() {
                modules[at].bias = Some(dims);
            } else {
                modules[at].weight = dims;
            }
            Ok(())
        })?;
        Ok(Self { table: ModuleTable::new(paths), modules, places })
    }

    /// Finds a place for every layer of `adapter`.
    pub(super) fn place<'a>(
        &self,
        adapter: &'a Adapter,
        mut put: impl FnMut(usize, &'a Module),
    ) -> Result<Placed> {
        let (mut found, mut placed, mut taken) = (Placed::default(), 0, BTreeMap::new());
        let mut misfit = None;
        for module in &adapter.modules {
            let Some(target) = self.table.find(module) else {
                let reason = "this model has no such module".to_owned();
                found.skipped.push(SkippedLayer { module: module.name.clone(), reason });
                found.skipped_tensors += module.tensors;
                continue;
            };
            let Shapes { path, weight, bias } = &self.modules[target];
            let layer = &module.layer;
            let mut say = |dims: &[usize], what: &str, shape: String| {
                misfit.get_or_insert_with(|| {
                    let name = &module.name;
                    format!("{path}{what} is {dims:?} in this model, but {shape} in the file (as {name})")
                });
            };
            if let Some(shape) = layer.misfit(weight) {
                say(weight, "", shape);
                continue;
            }
            match bias {
                Some(bias) => {
                    if let Some(shape) = layer.bias_misfit(bias) {
                        say(bias, "'s bias", shape);
                        continue;
                    }
                }
                None if layer.stores_bias() && !layer.has_weight() => {
                    let reason = "this module has no bias".to_owned();
                    found.skipped.push(SkippedLayer { module: module.name.clone(), reason });
                    found.biases.push(module.name.clone());
                    continue;
                }
                None if layer.stores_bias() => found.biases.push(module.name.clone()),
                None => {}
            }
            if let Some(first) = taken.insert(target, &module.name) {
                let message = format!("changes {path} twice, as {first} and as {}.", module.name);
                return Err(EngineError::adapter(&adapter.path, message));
            }
            placed += 1;
            put(target, module);
        }
        if let Some(misfit) = misfit {
            let message = format!("does not fit this model: {misfit}.{}", self.advice(adapter));
            return Err(EngineError::adapter(&adapter.path, message));
        }
        if placed == 0 {
            let example = found.skipped.first().map_or("", |layer| layer.module.as_str());
            let message = format!(
                "changes nothing in this model: none of its {} layers (for example {example}) exists here.{}",
                adapter.modules.len(),
                self.advice(adapter)
            );
            return Err(EngineError::adapter(&adapter.path, message));
        }
        Ok(found)
    }

    /// Which model the file was made for, where that is really another.
    fn advice(&self, adapter: &Adapter) -> String {
        let width = self.width();
        match adapter.family {
            Family::Unknown => String::new(),
            family if family.width().is_some() && family.width() == width => String::new(),
            family => format!(" It was made for {family}. Use an adapter made for this model."),
        }
    }

    /// The width of the text that this model reads.
    fn width(&self) -> Option<usize> {
        let of = |end: &str, dim: usize| {
            let module = self.modules.iter().find(|module| module.path.ends_with(end))?;
            module.weight.get(dim).copied()
        };
        of(".attn2.to_k", 1).or_else(|| of(".self_attn.q_proj", 1))
    }
}
