//! Attention at 512×512 and above never holds all its scores: no single allocation comes near them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, unreachable_pub, reason = "each test file uses a part")]
mod common;
#[path = "common/counting.rs"]
mod counting;

use adire_engine::{NoiseSource, UNet, Vae};
use adire_protocol::Rng;
use candle_core::{DType, Device};
use common::golden;
use counting::largest;

/// 2²² scores are held at once; the models' other tensors are smaller here.
const MAX_BYTES: usize = 24 << 20;

#[test]
fn scores_are_never_held_at_once() {
    let mut noise = NoiseSource::new(Rng::Cpu, 1);
    // As many positions as Stable Diffusion has at 512×512.
    let latents = noise.randn(&[1, 4, 64, 64], &Device::Cpu).unwrap();
    let unet = UNet::load(&golden("pipeline/unet"), DType::F32, &Device::Cpu).unwrap();
    let context = noise.randn(&[1, 77, 32], &Device::Cpu).unwrap();
    let (out, most) = largest(|| unet.forward(&latents, 500.0, &context).unwrap());
    assert_eq!(out.dims(), latents.dims());
    // All of them would be 4 heads × 4096² × 4 bytes: a quarter of a gigabyte.
    assert!(most <= MAX_BYTES, "the UNet allocated {most} bytes");

    let vae = Vae::load(&golden("pipeline/vae"), DType::F32, &Device::Cpu).unwrap();
    // One head: 64 MiB.
    let (_, most) = largest(|| vae.decode(&latents).unwrap());
    assert!(most <= MAX_BYTES, "decoding allocated {most} bytes");
    let images = noise.randn(&[1, 3, 256, 256], &Device::Cpu).unwrap();
    let (_, most) = largest(|| vae.encode(&images).unwrap());
    assert!(most <= MAX_BYTES, "encoding allocated {most} bytes");
}
