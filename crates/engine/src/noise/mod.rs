//! Noise equal to PyTorch's, so that a seed means the same image here and there.
//!
//! `torch.Generator(device).manual_seed(s)` followed by `torch.randn(shape)` is reproduced for any sequence of
//! shapes, for the CPU's generator (`torch_cpu`) and for a CUDA device's (`philox`), always computed on the CPU.

mod brownian;
mod philox;
mod seed_sequence;
mod slerp;
mod torch_cpu;

use adire_protocol::Rng;
use candle_core::{Device, Tensor};

pub use brownian::BrownianNoise;
pub(crate) use slerp::slerp;

use self::{brownian::BrownianTree, philox::TorchCuda, torch_cpu::TorchCpu};
use crate::Result;

/// A seeded source of standard normal numbers.
#[derive(Clone, Debug)]
pub struct NoiseSource {
    rng: Rng,
    /// One for the whole batch, or one per image.
    images: Vec<(u64, Generator)>,
}

impl NoiseSource {
    /// One generator that fills whole tensors, as diffusers does with a single `generator`.
    ///
    /// torch's CPU generator uses the low 32 bits of `seed`, the CUDA one all 64.
    pub fn new(rng: Rng, seed: u64) -> Self {
        Self::per_image(rng, &[seed])
    }

    /// One generator per image: row `i` of every tensor comes from `seeds[i]` alone, so an image does not
    /// depend on its neighbours in the batch (diffusers with a list of generators).
    pub fn per_image(rng: Rng, seeds: &[u64]) -> Self {
        Self { rng, images: seeds.iter().map(|seed| (*seed, Generator::new(rng, *seed))).collect() }
    }

    /// The generator of one CUDA device in particular: `threads` is its number of multiprocessors times the
    /// threads that each can hold (an RTX 3060: 28 · 1536).
    ///
    /// torch gives each thread of the device a stream of its own, so a tensor of more numbers than that depends
    /// on the device. [`NoiseSource::new`] with [`Rng::Cuda`] takes one that is large enough for every tensor, as
    /// A1111's reimplementation does; up to `threads` numbers per call the two are the same.
    pub fn on_cuda_device(seeds: &[u64], threads: usize) -> Self {
        let device = |seed| Generator::Cuda(TorchCuda::new(seed, Some(threads)));
        Self { rng: Rng::Cuda, images: seeds.iter().map(|seed| (*seed, device(*seed))).collect() }
    }

    /// Standard normal numbers of `shape`, f32, on `device`.
    ///
    /// # Errors
    /// With several generators, the first dimension is not their number; or the device has no memory left.
    pub fn randn(&mut self, shape: &[usize], device: &Device) -> Result<Tensor> {
        let numbers_per_image = self.numbers_per_image(shape)?;
        let numbers: Vec<f32> =
            self.images.iter_mut().flat_map(|(_, g)| g.normals(numbers_per_image)).collect();
        Ok(Tensor::from_vec(numbers, shape, device)?)
    }

    /// Brownian motion over `[low, high]` for tensors of `shape`, from the seeds alone: nothing is drawn from
    /// this source (diffusers' `noise_sampler_seed`, A1111's list of seeds).
    ///
    /// # Errors
    /// With several generators, the first dimension of `shape` is not their number.
    pub fn brownian(&self, low: f32, high: f32, shape: &[usize]) -> Result<BrownianNoise> {
        let numbers_per_image = self.numbers_per_image(shape)?;
        let tree = |seed| BrownianTree::new(self.rng, seed, low, high, numbers_per_image);
        Ok(BrownianNoise::new(self.images.iter().map(|(seed, _)| tree(*seed)).collect(), shape))
    }

    fn numbers_per_image(&self, shape: &[usize]) -> Result<usize> {
        let images = self.images.len();
        match shape {
            _ if images == 1 => Ok(shape.iter().product()),
            [first, rest @ ..] if *first == images => Ok(rest.iter().product()),
            _ => {
                let message = format!("noise of shape {shape:?} from {images} generators");
                Err(candle_core::Error::Msg(message).into())
            }
        }
    }
}

/// One of torch's generators.
#[derive(Clone, Debug)]
enum Generator {
    Cpu(TorchCpu),
    Cuda(TorchCuda),
}

impl Generator {
    fn new(rng: Rng, seed: u64) -> Self {
        match rng {
            Rng::Cpu => Self::Cpu(TorchCpu::new(seed)),
            Rng::Cuda => Self::Cuda(TorchCuda::new(seed, None)),
        }
    }

    /// What `torch.randn(count)` returns.
    fn normals(&mut self, count: usize) -> Vec<f32> {
        match self {
            Self::Cpu(generator) => generator.normals(count),
            Self::Cuda(generator) => generator.normals(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_does_not_depend_on_its_neighbours() {
        for (rng, _) in Rng::ALL.into_iter().flat_map(|rng| [(rng, 0), (rng, 1)]) {
            let mut batch = NoiseSource::per_image(rng, &[3, 4]);
            let mut alone = NoiseSource::new(rng, 4);
            let both = batch.randn(&[2, 4, 3, 3], &Device::Cpu).unwrap();
            let one = alone.randn(&[1, 4, 3, 3], &Device::Cpu).unwrap();
            let (both, one) = (both.flatten_all().unwrap(), one.flatten_all().unwrap());
            assert_eq!(both.to_vec1::<f32>().unwrap()[36..], one.to_vec1::<f32>().unwrap());
        }
    }

    #[test]
    fn noise_for_another_number_of_images_is_an_error() {
        let mut batch = NoiseSource::per_image(Rng::Cpu, &[3, 4]);
        assert!(batch.randn(&[3, 4], &Device::Cpu).is_err());
        assert!(batch.randn(&[], &Device::Cpu).is_err());
    }
}
