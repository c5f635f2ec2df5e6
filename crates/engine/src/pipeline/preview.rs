//! A cheap image of a latent: one affine map from a latent's channels to RGB, fitted to the model's own VAE.
//!
//! At load, a few images of coloured patches are encoded; least squares over (latent pixel, mean colour of the
//! patch of image behind it) gives the map. What it shows is the image at a latent's resolution.

use candle_core::{DType, Device, Tensor};

use crate::{
    Result, Vae,
    rgb::{Rgb8, byte},
};

/// Latent pixels on each side of a calibration image.
const SIDE: usize = 12;
/// Calibration images; patches are 1, 2 and 4 latent pixels wide.
const PATCHES: [usize; 3] = [1, 2, 4];
/// Added to the diagonal, so that a channel that never moves does no harm.
const RIDGE: f64 = 1e-3;

/// The map: for each of R, G, B one factor per latent channel and a constant.
#[derive(Clone, Debug)]
pub(crate) struct Preview {
    rows: [Vec<f64>; 3],
}

impl Preview {
    /// Fits the map to `vae`.
    pub(crate) fn fit(vae: &Vae, device: &Device) -> Result<Self> {
        let size = SIDE * vae.factor();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut colours = Vec::new();
        let mut pixels = Vec::new();
        for patch in PATCHES {
            let cells: Vec<[f32; 3]> =
                (0..SIDE * SIDE).map(|_| std::array::from_fn(|_| uniform(&mut random))).collect();
            let colour = |y: usize, x: usize| cells[y / patch * SIDE + x / patch];
            colours.extend((0..SIDE * SIDE).map(|i| colour(i / SIDE, i % SIDE)));
            for channel in 0..3 {
                let plane = (0..size * size).map(|i| (i / size / vae.factor(), i % size / vae.factor()));
                pixels.extend(plane.map(|(y, x)| colour(y, x)[channel]));
            }
        }
        let images = Tensor::from_vec(pixels, (PATCHES.len(), 3, size, size), device)?;
        let latents = vae.scale(&vae.encode(&images)?.mean)?;
        let samples = rows(&latents)?;
        Ok(Self {
            rows: std::array::from_fn(|channel| {
                let targets: Vec<f64> = colours.iter().map(|c| f64::from(c[channel])).collect();
                least_squares(&samples, &targets)
            }),
        })
    }

    /// The image of one of `latents` [batch, channels, height, width], in their size.
    pub(crate) fn render(&self, latents: &Tensor, image: usize) -> Result<Rgb8> {
        let (_, _, height, width) = latents.dims4()?;
        let samples = rows(&latents.narrow(0, image, 1)?)?;
        let data = samples
            .iter()
            .flat_map(|sample| {
                self.rows.iter().map(move |row| {
                    byte(sample.iter().zip(row).map(|(value, factor)| value * factor).sum::<f64>() as f32)
                })
            })
            .collect();
        Ok(Rgb8 { width: width as u32, height: height as u32, data })
    }
}

/// Every pixel's channels, followed by a 1.
fn rows(latents: &Tensor) -> Result<Vec<Vec<f64>>> {
    let channels = latents.dim(1)?;
    let flat = latents.permute((0, 2, 3, 1))?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let row = |pixel: &[f32]| pixel.iter().map(|x| f64::from(*x)).chain([1.0]).collect();
    Ok(flat.chunks(channels).map(row).collect())
}

/// The factors x that minimise |Ax − b|² + ridge·|x|², by the normal equations and Gaussian elimination; they are
/// positive definite, so no pivot is zero.
fn least_squares(a: &[Vec<f64>], b: &[f64]) -> Vec<f64> {
    let n = a.first().map_or(0, Vec::len);
    let mut normal = vec![vec![0.0; n + 1]; n];
    for (row, target) in a.iter().zip(b) {
        for i in 0..n {
            for j in 0..n {
                normal[i][j] += row[i] * row[j];
            }
            normal[i][n] += row[i] * target;
        }
    }
    for (i, row) in normal.iter_mut().enumerate() {
        row[i] += RIDGE;
    }
    for pivot in 0..n {
        let lead = normal[pivot].clone();
        for (i, row) in normal.iter_mut().enumerate() {
            if i != pivot {
                let factor = row[pivot] / lead[pivot];
                row.iter_mut().zip(&lead).for_each(|(x, y)| *x -= factor * y);
            }
        }
    }
    normal.iter().enumerate().map(|(i, row)| row[n] / row[i]).collect()
}

/// xorshift64, −1 to 1: the calibration is the same at every start.
fn uniform(state: &mut u64) -> f32 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_squares_finds_the_plane() {
        let a: Vec<Vec<f64>> = (0..50).map(|i| vec![f64::from(i % 7), f64::from(i * i % 11), 1.0]).collect();
        let b: Vec<f64> = a.iter().map(|r| 2.0 * r[0] - 0.5 * r[1] + 3.0).collect();
        let found = least_squares(&a, &b);
        for (x, expected) in found.iter().zip([2.0, -0.5, 3.0]) {
            assert!((x - expected).abs() < 1e-3, "{found:?}");
        }
    }

    #[test]
    fn random_numbers_fill_the_range() {
        let mut state = 1;
        let values: Vec<f32> = (0..1000).map(|_| uniform(&mut state)).collect();
        assert!(values.iter().all(|x| (-1.0..1.0).contains(x)));
        assert!(values.iter().sum::<f32>().abs() < 60.0);
    }
}
