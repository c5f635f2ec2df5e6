//! Position embeddings for images of another size than those of the training.

use candle_core::Tensor;

use crate::Result;

/// Of torch's bicubic interpolation.
const A: f64 = -0.75;

/// `embedding` [1, 1 + from², width] with its square of patches resized to `to` × `to`, as torch's
/// `interpolate(mode="bicubic", align_corners=False)` does it; the class token's stays.
pub(super) fn resized(embedding: &Tensor, from: usize, to: usize) -> Result<Tensor> {
    if from == to {
        return Ok(embedding.clone());
    }
    let width = embedding.dim(2)?;
    let class = embedding.narrow(1, 0, 1)?;
    let square = embedding.narrow(1, 1, from * from)?.reshape((from, from, width))?;
    // Rows, then columns: the weights are a product.
    let weights = Tensor::from_vec(weights(from, to), (to, from), embedding.device())?;
    let rows = weights.matmul(&square.reshape((from, from * width))?)?.reshape((to, from, width))?;
    let columns = rows.transpose(0, 1)?.contiguous()?.reshape((from, to * width))?;
    let both = weights.matmul(&columns)?.reshape((to, to, width))?.transpose(0, 1)?.contiguous()?;
    Ok(Tensor::cat(&[&class, &both.reshape((1, to * to, width))?], 1)?)
}

/// `to` × `from`: how much each old place gives to each new one.
fn weights(from: usize, to: usize) -> Vec<f32> {
    let mut weights = vec![0.0; to * from];
    for (new, row) in weights.chunks_exact_mut(from).enumerate() {
        let at = (new as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let first = at.floor();
        for tap in -1..=2 {
            let distance = (at - first - f64::from(tap)).abs();
            let weight = if distance <= 1.0 {
                ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0
            } else {
                ((distance - 5.0) * distance + 8.0) * distance * A - 4.0 * A
            };
            // Beyond the edge the edge is repeated.
            let old = (first + f64::from(tap)).clamp(0.0, (from - 1) as f64) as usize;
            row[old] += weight as f32;
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_of_each_place_add_up_to_one() {
        for (from, to) in [(37, 16), (3, 2), (2, 5), (1, 4)] {
            for row in weights(from, to).chunks_exact(from) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{from} {to}");
            }
        }
    }
}
