//! An adapter's factors, for a training that begins with them.

use adire_protocol::LeftOut;
use candle_core::{DType, Tensor};

use super::{Adapter, Component, ModuleTable, kind::Kind, role::TensorRole};
use crate::{EngineError, Result};

/// One module's change as two factors.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) component: Component,
    /// The model's own path of the module.
    pub(crate) path: String,
    /// A, f32.
    pub(crate) down: Tensor,
    /// B, f32.
    pub(crate) up: Tensor,
    /// What B·A is multiplied with.
    pub(crate) scale: f64,
}

impl Adapter {
    /// The factors of every module, named as in `table`.
    ///
    /// # Errors
    /// A module is not in `table`, or its change is not a plain product of two factors.
    pub(crate) fn pairs_of(&self, table: &ModuleTable) -> Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        for placed in self.placed(table)? {
            let (layer, name) = (&placed.module.layer, &placed.module.name);
            let refuse = |what: &str| {
                EngineError::adapter(&self.path, format!("cannot be trained on: {name} {what}."))
            };
            if layer.kind() != Kind::Lora || layer.is_dora() {
                return Err(refuse("is not a plain LoRA"));
            }
            let (mut down, mut up) = (None, None);
            for (role, tensor) in layer.tensors() {
                match role {
                    TensorRole::Down => down = Some(tensor),
                    TensorRole::Up => up = Some(tensor),
                    TensorRole::Mid => return Err(refuse("has a third factor between the two (Tucker)")),
                    _ => return Err(refuse("changes the weight or the bias beside its factors")),
                }
            }
            let (Some(down), Some(up)) = (down, up) else { return Err(refuse("lacks a factor")) };
            pairs.push(Pair {
                component: placed.component,
                path: placed.path.to_owned(),
                down: down.to_dtype(DType::F32)?,
                up: up.to_dtype(DType::F32)?,
                scale: layer.scale,
            });
        }
        Ok(pairs)
    }

    /// What of the file has no part in a training that begins with its factors: a sentence, if there is anything.
    pub(crate) fn warning_beside_factors(&self) -> Option<String> {
        let sort = |sort: &str, tensors: usize, names: &mut dyn Iterator<Item = &String>| {
            let examples = names.take(LeftOut::EXAMPLES).cloned().collect();
            (tensors > 0).then(|| LeftOut { sort: sort.to_owned(), tensors: tensors as u32, examples })
        };
        let left_out = [
            sort("of embeddings", self.embeddings.len(), &mut self.embeddings.keys()),
            sort("with unknown names", self.unknown.len(), &mut self.unknown.iter()),
        ];
        LeftOut::sentence(&left_out.into_iter().flatten().collect::<Vec<_>>(), self.tensors)
    }
}
