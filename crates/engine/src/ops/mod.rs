//! The arithmetic that the models share. Every function here is differentiable. Its plain form is composed of
//! candle's own operations; candle's fused softmax and layer norm are not used in it, because they silently cut the
//! graph. A faster form, with a gradient of its own for what flows through frozen weights, is taken for f32 on the
//! CPU.

mod activation;
mod attention;
mod conv;
mod cpu;
#[cfg(feature = "flash-attn")]
mod flash;
mod gradient;
mod linear;
mod norm;
mod operand;
mod packed;
mod variants;

pub(crate) use activation::geglu;
pub(crate) use attention::attention;
pub(crate) use conv::{conv2d, upsample_nearest};
pub(crate) use cpu::{
    floats, geglu_rows_backward, group_norm_rows_backward, layer_norm_rows_backward, outer, softmax_in_place,
    softmax_in_place_backward,
};
pub(crate) use gradient::{attach, backward_from};
pub(crate) use linear::{linear, linear_low_rank};
pub(crate) use norm::{group_norm, layer_norm};
pub(crate) use operand::{Operand, Packed};
pub(crate) use packed::{Lend, PackedMatrix};
pub(crate) use variants::{Activation, AttentionMask};

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor, Var};

    use super::*;
    use crate::NoiseSource;

    /// Normal numbers that depend on `seed` alone.
    pub(super) fn random(shape: &[usize], seed: usize) -> Tensor {
        NoiseSource::new(adire_protocol::Rng::Cpu, seed as u64).randn(shape, &Device::Cpu).unwrap()
    }

    pub(super) fn assert_equal(found: &Tensor, expected: &Tensor) {
        assert_eq!(found.dims(), expected.dims());
        let largest = |x: &Tensor| x.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        let error = largest(&(found - expected).unwrap()) / largest(expected);
        assert!(error < 5e-6, "relative error {error:.1e}");
    }

    /// Every operation, once over.
    fn chain(x: &Tensor, weights: &[Tensor]) -> Tensor {
        let [kernel, bias, gain, matrix] = weights else { unreachable!() };
        let h = group_norm(x, 2, gain, bias, 1e-5, Some(Activation::Silu)).unwrap();
        let h = conv2d(&h, &kernel.clone().into(), bias, Some(x), 1, 1).unwrap();
        let h = upsample_nearest(&h, 5, 5).unwrap().flatten_from(2).unwrap().transpose(1, 2).unwrap();
        let h = layer_norm(&h.contiguous().unwrap(), gain, bias, 1e-5).unwrap();
        let h = attention(&h, &h, &h, 2, AttentionMask::Causal).unwrap();
        let h = geglu(&linear(&h, &matrix.clone().into(), None).unwrap()).unwrap();
        Activation::QuickGelu.apply(&h).unwrap()
    }

    /// The directional derivative by two evaluations of the fast forms against the gradient of the composed ones:
    /// an operation that cuts the graph, or a fast form that differs, shows.
    #[test]
    fn gradients_flow_through_every_operation() {
        let weights = [random(&[4, 4, 3, 3], 1), random(&[4], 2), random(&[4], 3), random(&[16, 4], 4)];
        let x = random(&[1, 4, 3, 3], 5);
        let inputs: Vec<&Tensor> = std::iter::once(&x).chain(&weights).collect();
        for (i, input) in inputs.iter().enumerate() {
            let var = Var::from_tensor(input).unwrap();
            let mut with: Vec<Tensor> = inputs.iter().map(|t| (*t).clone()).collect();
            with[i] = var.as_tensor().clone();
            let out = chain(&with[0], &with[1..]);
            let probe = random(out.dims(), 6);
            let loss = (&out * &probe).unwrap().sum_all().unwrap();
            let gradients = loss.backward().unwrap();
            let direction = random(input.dims(), 7);
            let slope = (gradients.get(&var).unwrap() * &direction).unwrap().sum_all().unwrap();
            let slope = slope.to_scalar::<f32>().unwrap();

            let step = 1e-3;
            let at = |t: f64| {
                let mut moved: Vec<Tensor> = inputs.iter().map(|t| (*t).clone()).collect();
                moved[i] = (*input + (&direction * t).unwrap()).unwrap();
                let out = chain(&moved[0], &moved[1..]);
                (out * &probe).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()
            };
            let difference = (at(step) - at(-step)) / (2.0 * step as f32);
            let error = (slope - difference).abs() / slope.abs().max(1.0);
            assert!(error < 2e-2, "input {i}: {slope} by gradient, {difference} by difference");
        }
    }
}
