//! Applying adapters to a model, with receipts.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::{
    Adapter, Module,
    receipt::{AppliedLayer, Receipt, Strength},
    targets::Targets,
    visit::{self, Visit},
};
use crate::{
    EngineError, Result, TextEncoder, UNet,
    weight::{LowRank, norm as frobenius},
};

/// Largest strength that can be applied, either sign; requests are limited further
/// ([`adire_protocol::Limits::strength`]).
const MAX_STRENGTH: f64 = adire_protocol::Limits::MAX_STRENGTH;

/// Makes the effective weights those of the base plus every adapter's change times its strength; none restores the
/// base's own bits, as does a strength of 0 (in the model that it is for). What was applied before does not matter.
/// Biases and normalisations likewise.
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
    apply_each(adapters, &mut |f| visit::visit(unet, text, f))
}

/// As [`apply`], for any set of weights.
///
/// # Errors
/// As [`apply`].
pub fn apply_each(adapters: &[(&Adapter, Strength)], visit: &mut Visit<'_>) -> Result<Vec<Receipt>> {
    apply_at(&mut None, adapters, visit)
}

/// As [`apply_each`]; `targets` are looked for the first time.
///
/// # Errors
/// As [`apply`].
pub(crate) fn apply_at(
    targets: &mut Option<Targets>,
    adapters: &[(&Adapter, Strength)],
    visit: &mut Visit<'_>,
) -> Result<Vec<Receipt>> {
    let strengths = adapters.iter().flat_map(|(_, strength)| [strength.unet, strength.text_encoder]);
    if let Some(strength) = strengths.into_iter().find(|s| !(s.is_finite() && s.abs() <= MAX_STRENGTH)) {
        return Err(EngineError::Request(format!(
            "adapter strength must be −{MAX_STRENGTH} to {MAX_STRENGTH}; got {strength}"
        )));
    }
    let targets = match targets {
        Some(targets) => targets,
        None => targets.insert(Targets::of(visit)?),
    };
    let mut receipts = Vec::with_capacity(adapters.len());
    let mut plan: HashMap<usize, Vec<(usize, &Module)>> = HashMap::new();
    for (index, (adapter, strength)) in adapters.iter().enumerate() {
        let placed = targets.place(adapter, |target, module| {
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
            left_out: placed.left_out(adapter),
            skipped: placed.skipped,
            unknown: adapter.unknown.clone(),
            tensors: adapter.tensors,
        });
    }

    let mut changed = Vec::new();
    let mut position = 0..;
    visit(&mut |_, _, _, weight| {
        let target = position.next().and_then(|position: usize| targets.places.get(position));
        if weight.is_stored() && target.is_some_and(|target| plan.contains_key(target)) {
            changed.push(weight.clone());
        }
        Ok(())
    })?;
    // The first time, norms are computed, by all threads; afterwards they are known.
    changed.par_iter().try_for_each(|weight| weight.norm().map(drop))?;
    drop(changed);

    let mut position = 0;
    let result = visit(&mut |component, path, parameter, weight| {
        let target = targets.places.get(position).copied().unwrap_or(usize::MAX);
        position += 1;
        let changes = plan.get(&target).map(Vec::as_slice).unwrap_or_default();
        let is_bias = parameter.is_bias();
        if changes.is_empty() {
            return weight.set_delta(None);
        }
        // Packed weights take factors as they are: no matrix is made of the base or of the change.
        let takes_factors = weight.is_stored()
            && !is_bias
            && changes.iter().all(|(_, module)| module.layer.factors().is_some());
        let base = if takes_factors { None } else { Some(weight.base()?) };
        let norm = weight.norm()?;
        let (mut sum, mut factors): (Option<Tensor>, Vec<LowRank>) = (None, Vec::new());
        let mut name = DefaultHasher::new();
        for (index, module) in changes {
            let (layer, strength) = (&module.layer, adapters[*index].1.of(component));
            let change = match (&base, layer.factors()) {
                // Skipped rather than multiplied by 0, which would turn −0 into 0 and NaN into NaN.
                _ if strength == 0.0 => 0.0,
                (None, Some((down, up))) => {
                    let scale = layer.scale * strength;
                    (adapters[*index].0.hash.as_str(), scale.to_bits()).hash(&mut name);
                    let host = |factor: &Tensor| factor.to_device(&Device::Cpu);
                    factors.push(LowRank { down: host(down)?, up: host(up)?, scale });
                    layer.product_norm(down, up)? * scale.abs()
                }
                (None, None) => 0.0,
                (Some(base), _) => {
                    let delta = match is_bias {
                        false => layer.delta(base, strength)?,
                        true => layer.bias_delta(base, strength)?,
                    };
                    let change = delta.as_ref().map(frobenius).transpose()?.unwrap_or(0.0);
                    sum = match (sum, delta) {
                        (Some(sum), Some(delta)) => Some((sum + delta)?),
                        (sum, delta) => sum.or(delta),
                    };
                    change
                }
            };
            // A layer is listed once: by its weight, or by its bias where that alone changes.
            if is_bias != layer.has_weight() {
                receipts[*index].applied.push(AppliedLayer {
                    component,
                    module: path.to_owned(),
                    kind: layer.kind(),
                    rank: layer.rank,
                    alpha: layer.alpha,
                    scale: layer.scale * strength,
                    ratio: if change == 0.0 { 0.0 } else { change / norm },
                });
            }
        }
        if factors.is_empty() {
            weight.set_delta(sum.as_ref())
        } else {
            weight.set_changes(factors, name.finish());
            Ok(())
        }
    });
    if let Err(error) = result {
        visit(&mut |_, _, _, weight| weight.set_delta(None))?;
        return Err(error);
    }
    Ok(receipts)
}
