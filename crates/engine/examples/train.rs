//! What a training step costs: `cargo run --release -p adire-engine --example train -- MODEL [STEPS] [SIDE]`.
//!
//! `ADIRE_DTYPE` is the precision. Rank 4 on the attention of a UNet, batch 1, as diffusers' DreamBooth script; prints seconds a step and (on Linux) the
//! process' peak memory. `tools/bench/train.py` does the same with diffusers and PEFT.

use std::{error::Error, ops::ControlFlow, path::Path, time::Instant};

use adire_engine::{DeviceChoice, LoadOptions, Pipeline, Placement, Precision, train::Source};
use adire_protocol::TrainingConfig;
use image::RgbImage;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: train MODEL [STEPS] [SIDE]")?;
    let steps = arguments.next().map(|steps| steps.parse()).transpose()?.unwrap_or(5);
    let resolution = arguments.next().map(|side| side.parse()).transpose()?.unwrap_or(256);
    let precision = std::env::var("ADIRE_DTYPE").map_or(Ok(Precision::Auto), |name| name.parse())?;
    let Placement { device, dtype, .. } = Placement::open(DeviceChoice::Cpu, precision)?;
    let options = LoadOptions { device, dtype, ..LoadOptions::default() };
    let mut pipeline = Pipeline::load(Path::new(&folder), &options)?;
    let config = TrainingConfig {
        steps,
        resolution,
        accumulation: 1,
        held_out: 0.0,
        checkpoint_every: 1000,
        ..TrainingConfig::default()
    };
    let image = RgbImage::from_fn(resolution, resolution, |x, y| image::Rgb([x as u8, y as u8, 90]));
    let sources = [Source { image, caption: "a photo in nigerian_adire_style".to_owned() }];
    let data = pipeline.prepare(&sources, &[], &config, &mut |_, _| ControlFlow::Continue(()))?;
    let mut trainer = pipeline.trainer(config, data)?;
    drop(pipeline);
    let mut seconds = Vec::new();
    while !trainer.finished() {
        let started = Instant::now();
        let micro = trainer.micro_step()?;
        seconds.push(started.elapsed().as_secs_f64());
        println!("step {:.3} s, loss {:.4}", seconds[seconds.len() - 1], micro.loss);
    }
    // The first one touches the weights for the first time.
    let mut rest = seconds.split_off(1.min(seconds.len().saturating_sub(1)));
    rest.sort_by(f64::total_cmp);
    println!("median of the others {:.3} s, peak {:.2} GB", rest[rest.len() / 2], peak());
    Ok(())
}

/// The process' largest resident memory in GB; 0 where it cannot be known.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e9
}
