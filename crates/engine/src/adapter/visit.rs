//! The parameters that adapters may change, in one order.

use super::format::Component;
use crate::{Parameter, Result, TextEncoder, UNet, Weight};

/// Shows every parameter of a model that adapters may change to a function.
pub type Visit<'a> =
    dyn FnMut(&mut dyn FnMut(Component, &str, Parameter, &mut Weight) -> Result<()>) -> Result<()> + 'a;

/// Shows every parameter of a model that adapters can change to `f`, always in the same order.
///
/// # Errors
/// Whatever `f` returns.
pub fn visit(
    unet: &mut UNet,
    text: &mut TextEncoder,
    f: &mut dyn FnMut(Component, &str, Parameter, &mut Weight) -> Result<()>,
) -> Result<()> {
    unet.visit_parameters(&mut |path, parameter, weight| f(Component::Unet, path, parameter, weight))?;
    text.visit_parameters(&mut |path, parameter, weight| f(Component::TextEncoder, path, parameter, weight))
}

/// As [`visit`], the weights of linear layers and convolutions alone.
///
/// # Errors
/// Whatever `f` returns.
pub fn visit_weights(
    unet: &mut UNet,
    text: &mut TextEncoder,
    f: &mut dyn FnMut(Component, &str, &mut Weight) -> Result<()>,
) -> Result<()> {
    unet.visit_weights(&mut |path, weight| f(Component::Unet, path, weight))?;
    text.visit_weights(&mut |path, weight| f(Component::TextEncoder, path, weight))
}
