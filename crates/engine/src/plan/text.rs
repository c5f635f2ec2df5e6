//! The plan of a text encoder's layers.

use adire_kernels::Dtype;

use super::{
    build::Builder,
    op::{Op, Plan},
};
use crate::clip::LayerSizes;

/// The plan of the first `layers` layers, for `prompts` of `tokens`, whose products and attention read `operands`. Token
/// embeddings go in, hidden states come out.
pub(super) fn plan(
    sizes: &LayerSizes,
    operands: Dtype,
    layers: usize,
    prompts: usize,
    tokens: usize,
) -> Plan {
    let LayerSizes { width, inner, heads, eps, activation } = *sizes;
    let mut builder = Builder::new(operands, prompts, prompts);
    let b = &mut builder;
    let size = (1, tokens);
    let state = b.kept(prompts, size, width, 0);
    // First, so that plans of fewer layers name the same parameters by the same numbers.
    let last = b.norm("text_model.final_layer_norm");
    for i in 0..layers {
        let name = |part: &str| format!("text_model.encoder.layers.{i}.{part}");
        let normed = b.operand(size, width, 0);
        let norm = b.norm(&name("layer_norm1"));
        b.push(Op::LayerNorm { x: state, norm, eps, y: normed });
        let names = ["q_proj", "k_proj", "v_proj"].map(|part| name(&format!("self_attn.{part}")));
        let qkv = b.operand(size, 3 * width, 0);
        let (matrix, bias) = (b.linear(&names, width, 3 * width), Some(b.biases(&names)));
        b.push(Op::Linear { x: normed, matrix, bias, activation: None, residual: None, y: qkv });
        let [q, k, v] = [0, 1, 2].map(|i| qkv.part(i * width, width));
        let attended = b.operand(size, width, 0);
        b.push(Op::Attention { q, k, v, heads, causal: true, y: attended });
        b.layer(&name("self_attn.out_proj"), attended, Some(state), state);
        let normed = b.operand(size, width, 0);
        let norm = b.norm(&name("layer_norm2"));
        b.push(Op::LayerNorm { x: state, norm, eps, y: normed });
        let hidden = b.operand(size, inner, 0);
        let (matrix, bias) = (b.linear(&[name("mlp.fc1")], width, inner), Some(b.bias(&name("mlp.fc1"))));
        let activation = Some(activation);
        b.push(Op::Linear { x: normed, matrix, bias, activation, residual: None, y: hidden });
        b.layer(&name("mlp.fc2"), hidden, Some(state), state);
    }
    let output = b.kept(prompts, size, width, 0);
    b.push(Op::LayerNorm { x: state, norm: last, eps, y: output });
    builder.finish(state, output)
}
