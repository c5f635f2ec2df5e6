//! Files of cloneofsimo/lora, whose tensors have no names but numbers: `unet:0:up` is the first module of the
//! kinds that its trainer replaces, in the order in which PyTorch registered the modules of diffusers' model.
//!
//! Two things about that order are not in the numbers. Until 2023 diffusers registered a transformer block's
//! feed-forward before its cross-attention, later after it; and the extended variant counts residual blocks too.
//! Both show in the shapes: the feed-forward's first layer (GEGLU) alone has eight times as many outputs as
//! inputs, and only residual blocks have 3×3 convolutions. In the text encoder the order is k, v, q, out.

use std::collections::HashMap;

use super::{
    Module,
    format::{Component, Format},
};

/// Layers of a transformer block: four of each attention, one GEGLU.
const ATTENTION: [&str; 4] = ["to_q", "to_k", "to_v", "to_out.0"];

/// Where GEGLU is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Geglu {
    Absent,
    BeforeCrossAttention,
    AfterCrossAttention,
}

/// What a UNet's numbers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    geglu: Geglu,
    resnets: bool,
}

impl Order {
    const ALL: [Self; 6] = {
        use Geglu::{Absent, AfterCrossAttention, BeforeCrossAttention};
        [
            Self { geglu: Absent, resnets: false },
            Self { geglu: Absent, resnets: true },
            Self { geglu: BeforeCrossAttention, resnets: false },
            Self { geglu: BeforeCrossAttention, resnets: true },
            Self { geglu: AfterCrossAttention, resnets: false },
            Self { geglu: AfterCrossAttention, resnets: true },
        ]
    };

    /// The name under which the table has module `number`; no real path has colons.
    fn name(self, number: usize) -> String {
        format!("{:?}:{}:{number}", self.geglu, self.resnets)
    }

    /// Where a block's cross-attention begins.
    fn cross_attention(self) -> usize {
        ATTENTION.len() + usize::from(self.geglu == Geglu::BeforeCrossAttention)
    }
}

fn text_name(number: usize) -> String {
    format!("clip:{number}")
}

/// `unet:12` → 12.
fn number(module: &Module) -> Option<usize> {
    module.name.rsplit(':').next()?.parse().ok()
}

/// Gives every numbered module of a file the name that [`names`] gives to a model's; returns the width of the
/// text that the file was made for, if it shows.
pub(super) fn resolve(modules: &mut [Module]) -> Option<usize> {
    let shape = |component: Component, wanted: usize| {
        modules
            .iter()
            .find(|module| {
                module.format == Format::Cloneofsimo
                    && module.component == Some(component)
                    && number(module) == Some(wanted)
            })
            .and_then(|module| module.layer.shape().ok())
    };
    let is_geglu =
        |n| shape(Component::Unet, n).is_some_and(|(rows, columns)| columns.checked_mul(8) == Some(rows));
    let geglu = if is_geglu(ATTENTION.len()) {
        Geglu::BeforeCrossAttention
    } else if is_geglu(2 * ATTENTION.len()) {
        Geglu::AfterCrossAttention
    } else {
        Geglu::Absent
    };
    let resnets =
        modules.iter().any(|module| module.format == Format::Cloneofsimo && module.layer.is_spatial());
    let order = Order { geglu, resnets };
    let width = shape(Component::Unet, order.cross_attention() + 1)
        .or_else(|| shape(Component::TextEncoder, 0))
        .map(|(_, columns)| columns);
    for module in modules.iter_mut().filter(|module| module.format == Format::Cloneofsimo) {
        if let Some(number) = number(module) {
            module.flat = match module.component {
                Some(Component::TextEncoder) => text_name(number),
                _ => order.name(number),
            };
        }
    }
    width
}

/// The numbered names of a model's modules.
pub(super) fn names(paths: &[(Component, String)]) -> HashMap<(Component, String), usize> {
    let mut by_name = HashMap::new();
    let mut layers: Vec<(&str, HashMap<&str, usize>)> = Vec::new();
    for (index, (component, path)) in paths.iter().enumerate() {
        if *component == Component::TextEncoder
            && let Some((layer, name)) = path.split_once(".self_attn.")
        {
            if layers.last().is_none_or(|(last, _)| *last != layer) {
                layers.push((layer, HashMap::new()));
            }
            if let Some((_, projections)) = layers.last_mut() {
                projections.insert(name, index);
            }
        }
    }
    let order = ["k_proj", "v_proj", "q_proj", "out_proj"];
    let projections = layers.iter().flat_map(|(_, projections)| order.map(|name| projections.get(name)));
    for (number, index) in projections.flatten().enumerate() {
        by_name.insert((Component::TextEncoder, text_name(number)), *index);
    }
    // A list of (sort key, index) for each way of counting; indices keep the order within a residual block.
    for order in Order::ALL {
        let mut counted: Vec<([usize; 6], usize)> = paths
            .iter()
            .enumerate()
            .filter(|(_, (component, _))| *component == Component::Unet)
            .filter_map(|(index, (_, path))| Some((place(path, order, index)?, index)))
            .collect();
        counted.sort_unstable();
        for (number, (_, index)) in counted.into_iter().enumerate() {
            by_name.insert((Component::Unet, order.name(number)), index);
        }
    }
    by_name
}

/// Whether the module normalises; such modules alone are named so.
pub(super) fn is_norm(path: &str) -> bool {
    path.rsplit('.').next().is_some_and(|name| name.contains("norm"))
}

/// Where PyTorch registered the module: way down, way up, middle; level; transformers before residual blocks;
/// which of them; transformer layer; place in it. `None` for modules that are not counted.
fn place(path: &str, order: Order, index: usize) -> Option<[usize; 6]> {
    if is_norm(path) {
        return None;
    }
    let mut parts = path.split('.');
    let next_number = |parts: &mut std::str::Split<'_, char>| parts.next()?.parse::<usize>().ok();
    let (side, level) = match parts.next()? {
        "down_blocks" => (0, next_number(&mut parts)?),
        "up_blocks" => (1, next_number(&mut parts)?),
        "mid_block" => (2, 0),
        _ => return None,
    };
    match parts.next()? {
        "resnets" if order.resnets => Some([side, level, 1, next_number(&mut parts)?, 0, index]),
        "attentions" => {
            let which = next_number(&mut parts)?;
            if parts.next()? != "transformer_blocks" {
                return None;
            }
            let layer = next_number(&mut parts)?;
            let rest: Vec<&str> = parts.collect();
            let rest = rest.join(".");
            let inside = |first: usize, name: &str| Some(first + ATTENTION.iter().position(|n| *n == name)?);
            let position = if let Some(name) = rest.strip_prefix("attn1.") {
                inside(0, name)?
            } else if let Some(name) = rest.strip_prefix("attn2.") {
                inside(order.cross_attention(), name)?
            } else if rest == "ff.net.0.proj" {
                match order.geglu {
                    Geglu::Absent => return None,
                    Geglu::BeforeCrossAttention => ATTENTION.len(),
                    Geglu::AfterCrossAttention => 2 * ATTENTION.len(),
                }
            } else {
                return None;
            };
            Some([side, level, 0, which, layer, position])
        }
        _ => None,
    }
}
