//! Putting adapters onto a model, and the receipt of what that did.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use candle_core::{DType, Tensor};
use serde::Serialize;

use super::{
    Adapter, Family, Module,
    keys::{Component, Format},
    layer::Kind,
    table::ModuleTable,
};
use crate::{EngineError, Result, TextEncoder, UNet, Weight};

/// Largest strength, either sign.
const MAX_STRENGTH: f64 = 2.0;

/// What one adapter did to a model.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// The file.
    pub path: PathBuf,
    /// sha256 of the file.
    pub hash: String,
    /// Whose names it uses.
    pub formats: Vec<Format>,
    /// The models it was made for.
    pub family: Family,
    /// The strength it was applied with in the UNet.
    pub strength: f64,
    /// The strength it was applied with in the text encoder.
    pub te_strength: f64,
    /// Layers of the model that it changes.
    pub applied: Vec<AppliedLayer>,
    /// Layers in the file that this model does not have.
    pub skipped: Vec<SkippedLayer>,
    /// Tensors in the file that belong to no known format.
    pub unknown: Vec<String>,
}

/// What an adapter's change is multiplied with, −2 to 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strength {
    /// In the UNet.
    pub unet: f64,
    /// In the text encoder.
    pub text_encoder: f64,
}

impl Strength {
    fn of(self, component: Component) -> f64 {
        match component {
            Component::Unet => self.unet,
            Component::TextEncoder => self.text_encoder,
        }
    }
}

impl From<f64> for Strength {
    /// The same in both.
    fn from(strength: f64) -> Self {
        Self { unet: strength, text_encoder: strength }
    }
}

/// One layer that an adapter changes.
#[derive(Clone, Debug, Serialize)]
pub struct AppliedLayer {
    /// Which model of the pipeline.
    pub component: Component,
    /// The model's own path of the module.
    pub module: String,
    /// How the change is stored.
    pub kind: Kind,
    /// Rank of the change.
    pub rank: usize,
    /// Alpha as stored, or the rank where none is.
    pub alpha: f64,
    /// What the product of the factors is multiplied with: alpha / rank × strength.
    pub scale: f64,
    /// ‖Δ‖ / ‖W‖ at that strength (Frobenius norms).
    pub ratio: f64,
}

/// One layer of the file that found no place.
#[derive(Clone, Debug, Serialize)]
pub struct SkippedLayer {
    /// As the file names it.
    pub module: String,
    /// Why: a clause.
    pub reason: String,
}

/// Shows every weight of a model to a function.
pub type Visit<'a> = dyn FnMut(&mut dyn FnMut(Component, &str, &mut Weight) -> Result<()>) -> Result<()> + 'a;

/// Makes the effective weights those of the base plus every adapter's change times its strength (−2 to 2); none
/// restores the base's own bits, as does a strength of 0 (in the model that it is for). What was applied before does
/// not matter.
///
/// # Errors
/// [`EngineError::Adapter`] when an adapter changes nothing in this model or has layers of another shape (the
/// model is then as before); [`EngineError::Request`] for a strength out of range; [`EngineError::Candle`] when
/// memory runs out (the model is then without adapters).
pub fn apply(
    adapters: &[(&Adapter, Strength)],
    unet: &mut UNet,
    text: &mut TextEncoder,
) -> Result<Vec<Receipt>> {
    apply_each(adapters, &mut |f| self::visit(unet, text, f))
}

/// Shows every weight of a model that adapters can change to `f`, always in the same order.
///
/// # Errors
/// Whatever `f` returns.
pub fn visit(
    unet: &mut UNet,
    text: &mut TextEncoder,
    f: &mut dyn FnMut(Component, &str, &mut Weight) -> Result<()>,
) -> Result<()> {
    unet.visit_weights(&mut |path, weight| f(Component::Unet, path, weight))?;
    text.visit_weights(&mut |path, weight| f(Component::TextEncoder, path, weight))
}

/// As [`apply`], for any set of weights.
///
/// # Errors
/// As [`apply`].
pub fn apply_each(adapters: &[(&Adapter, Strength)], visit: &mut Visit<'_>) -> Result<Vec<Receipt>> {
    let strengths = adapters.iter().flat_map(|(_, strength)| [strength.unet, strength.text_encoder]);
    if let Some(strength) = strengths.into_iter().find(|s| !(s.is_finite() && s.abs() <= MAX_STRENGTH)) {
        return Err(EngineError::Request(format!(
            "the strength of an adapter is {strength}; it can be −{MAX_STRENGTH} to {MAX_STRENGTH}"
        )));
    }
    let targets = Targets::of(visit)?;
    let mut receipts = Vec::with_capacity(adapters.len());
    let mut plan: HashMap<usize, Vec<(usize, &Module)>> = HashMap::new();
    for (index, (adapter, strength)) in adapters.iter().enumerate() {
        let skipped = targets.place(adapter, |target, module| {
            plan.entry(target).or_default().push((index, module));
        })?;
        receipts.push(Receipt {
            path: adapter.path.clone(),
            hash: adapter.hash.clone(),
            formats: adapter.formats(),
            family: adapter.family,
            strength: strength.unet,
            te_strength: strength.text_encoder,
            applied: Vec::new(),
            skipped,
            unknown: adapter.unknown.clone(),
        });
    }

    let mut position = 0;
    let result = visit(&mut |component, path, weight| {
        let changes = plan.get(&position).map(Vec::as_slice).unwrap_or_default();
        position += 1;
        let mut sum: Option<Tensor> = None;
        let norm = if changes.is_empty() { 0.0 } else { norm(weight.base())? };
        for (index, module) in changes {
            let strength = adapters[*index].1.of(component);
            // Skipped rather than multiplied by 0, which would turn −0 into 0 and NaN into NaN.
            let delta =
                if strength == 0.0 { None } else { Some((module.layer.delta(weight.base())? * strength)?) };
            let ratio = delta.as_ref().map(self::norm).transpose()?.map_or(0.0, |delta| delta / norm);
            receipts[*index].applied.push(AppliedLayer {
                component,
                module: path.to_owned(),
                kind: module.layer.kind(),
                rank: module.layer.rank,
                alpha: module.layer.alpha,
                scale: module.layer.scale * strength,
                ratio,
            });
            sum = match (sum, delta) {
                (Some(sum), Some(delta)) => Some((sum + delta)?),
                (sum, delta) => sum.or(delta),
            };
        }
        weight.set_delta(sum.as_ref())
    });
    if let Err(error) = result {
        visit(&mut |_, _, weight| weight.set_delta(None))?;
        return Err(error);
    }
    Ok(receipts)
}

/// Frobenius norm.
fn norm(tensor: &Tensor) -> Result<f64> {
    Ok(f64::from(tensor.to_dtype(DType::F32)?.sqr()?.sum_all()?.to_scalar::<f32>()?).sqrt())
}

/// The modules of a model, found by their flattened paths.
struct Targets {
    table: ModuleTable,
    shapes: Vec<(String, Vec<usize>)>,
}

impl Targets {
    fn of(visit: &mut Visit<'_>) -> Result<Self> {
        let (mut paths, mut shapes) = (Vec::new(), Vec::new());
        visit(&mut |component, path, weight| {
            paths.push((component, path.to_owned()));
            shapes.push((path.to_owned(), weight.base().dims().to_vec()));
            Ok(())
        })?;
        Ok(Self { table: ModuleTable::new(paths), shapes })
    }

    fn find(&self, module: &Module) -> Option<usize> {
        self.table.find(module)
    }

    /// Finds a place for every layer of `adapter`; returns those that have none.
    fn place<'a>(
        &self,
        adapter: &'a Adapter,
        mut put: impl FnMut(usize, &'a Module),
    ) -> Result<Vec<SkippedLayer>> {
        let (mut skipped, mut placed, mut taken) = (Vec::new(), 0, BTreeMap::new());
        let mut misfit = None;
        for module in &adapter.modules {
            let Some(target) = self.find(module) else {
                let reason = "this model has no such module".to_owned();
                skipped.push(SkippedLayer { module: module.name.clone(), reason });
                continue;
            };
            let (path, dims) = &self.shapes[target];
            if !module.layer.fits(dims) {
                misfit.get_or_insert_with(|| {
                    let (rows, columns) = module.layer.shape().unwrap_or_default();
                    format!("{path} is {dims:?} in this model, but [{rows}, {columns}] in the file")
                });
                continue;
            }
            if let Some(first) = taken.insert(target, &module.name) {
                let message = format!("changes {path} twice, as {first} and as {}.", module.name);
                return Err(EngineError::adapter(&adapter.path, message));
            }
            placed += 1;
            put(target, module);
        }
        let made_for = match adapter.family {
            Family::Unknown => String::new(),
            family => format!(" It was made for {family}."),
        };
        if let Some(misfit) = misfit {
            return Err(EngineError::adapter(
                &adapter.path,
                format!("does not fit this model: {misfit}.{made_for} Use an adapter made for this model."),
            ));
        }
        if placed == 0 {
            let example = skipped.first().map_or("", |layer| layer.module.as_str());
            return Err(EngineError::adapter(
                &adapter.path,
                format!(
                    "changes nothing in this model: none of its {} layers (for example {example}) exists here.\
                     {made_for} Use an adapter made for this model.",
                    adapter.modules.len()
                ),
            ));
        }
        Ok(skipped)
    }
}
