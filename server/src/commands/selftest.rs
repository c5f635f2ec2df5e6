//! `adire selftest` and `adire measure`: check and time a device without a compiler or test suite. Hidden from
//! the help.

use std::{ops::ControlFlow, path::PathBuf, sync::Arc, time::Instant};

use adire_engine::{
    Pipeline,
    adapter::{Adapter, AdapterPool, Strength},
    file_hash, selftest,
};
use adire_protocol::{GenerationRequest, GenerationSpec, Rng, SamplerName};
use adire_runtime::pixels;
use anyhow::{Context, bail};
use clap::Args;

use crate::commands::model_args::{DeviceArgs, FoundModel, ModelArgs};
use crate::commands::print;

/// Compare models, samplers, images and switches of adapters with golden files
#[derive(Debug, Args)]
pub(crate) struct SelftestArgs {
    /// The folder of golden files (crates/engine/tests/goldens)
    #[arg(long, value_name = "DIR")]
    goldens: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

impl SelftestArgs {
    /// Prints every comparison with its error and bound.
    ///
    /// # Errors
    /// A comparison is out of bounds or could not run.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let place = self.device.open()?;
        if let Some(note) = &place.note {
            eprintln!("adire: {note}");
        }
        let rows = selftest::run(&self.goldens, &place, &mut |row| {
            // A device is compared to the end; the last line says what cannot be written.
            let _ = print(row);
        })?;
        let wrong = rows.iter().filter(|row| !row.holds()).count();
        if wrong > 0 {
            bail!("{wrong} of {} comparisons are out of their bounds", rows.len());
        }
        let dtype = place.dtype.as_str();
        print(format_args!("All {} comparisons are within their bounds in {dtype}.", rows.len()))
    }
}

/// Measure images and switches of adapters; prints JSON
#[derive(Debug, Args)]
pub(crate) struct MeasureArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Adapter file to switch to; repeatable
    #[arg(long, value_name = "FILE")]
    lora: Vec<PathBuf>,
    /// Prompt
    #[arg(long, default_value = "red flower on blue")]
    prompt: String,
    /// Width and height in pixels
    #[arg(long, default_value_t = 512)]
    size: u32,
    /// Steps
    #[arg(long, default_value_t = 20)]
    steps: u32,
    /// Sampler
    #[arg(long, default_value = "ddim")]
    sampler: SamplerName,
    /// Images to time, after one warm-up image
    #[arg(long, alias = "pictures", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    images: u16,
    /// Switches of adapters, in turn to each and to none
    #[arg(long, default_value_t = 100)]
    switches: u32,
    /// Steps of an image with the first adapter in effect; 0: none is made
    #[arg(long, value_name = "N", default_value_t = 0)]
    adapter_steps: u32,
    /// Number of images that are also made in one batch; repeatable
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: Vec<u16>,
    /// Write the image to this PNG file
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
}

impl MeasureArgs {
    /// Times images and switches between adapters.
    ///
    /// # Errors
    /// The model or an adapter cannot be used, a computation fails, or weights differ after a switch from those of the
    /// first time.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let FoundModel { path, options, .. } = self.model.find()?.warn();
        let mut pipeline = Pipeline::load(&path, &options)?;
        let load_seconds = begun.elapsed().as_secs_f64();
        let info = pipeline.info().clone();
        let request = GenerationRequest {
            prompt: self.prompt.clone(),
            steps: Some(self.steps),
            width: Some(self.size),
            height: Some(self.size),
            sampler: Some(self.sampler),
            rng: Some(Rng::Cpu),
            guidance: Some(7.5),
            ..GenerationRequest::default()
        };
        let spec = request.validate(&info.limits, &info.defaults, 0)?;

        pipeline.set_adapters(&[])?;
        let first = render(&mut pipeline, &spec)?;
        let mut taken: Vec<TimedImage> = Vec::with_capacity(self.images.into());
        for _ in 0..self.images {
            taken.push(render(&mut pipeline, &spec)?);
        }
        let median = |of: &dyn Fn(&TimedImage) -> f64| {
            let mut values: Vec<f64> = taken.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let switched = self.switch(&mut pipeline)?;
        let last = render(&mut pipeline, &spec)?;
        let mut text: Vec<f64> = Vec::new();
        for _ in 0..=self.images {
            text.push(pipeline.time_prompts(&["", &self.prompt])?);
        }
        let with_adapter = self.with_adapter(&mut pipeline, &spec)?;
        let batches = self.batches(&mut pipeline, &spec)?;
        let mut report = serde_json::json!({
            "program": format!("Adire {}", env!("CARGO_PKG_VERSION")),
            "device": info.device,
            "dtype": info.dtype,
            "size": self.size,
            "steps": self.steps,
            "sampler": self.sampler,
            "load_seconds": load_seconds,
            "first_seconds": first.seconds,
            "seconds": median(&|image| image.seconds),
            "steps_per_second": median(&|image| image.steps_per_second),
            "step_seconds": median(&|image| 1.0 / image.steps_per_second),
            "decode_seconds": median(&|image| image.decode_seconds),
            // Without the first one, which may wait for memory.
            "text_seconds": middle(text.split_off(1)),
            "adapter_steps": self.adapter_steps,
            "adapter_image_seconds": with_adapter,
            "peak_gb": peak_gb(),
            "images": taken.len(),
            "equal_images": taken.iter().chain([&last]).filter(|image| image.rgb == first.rgb).count(),
            "switches": self.switches,
            "switch_seconds": switched.fresh,
            "switch_back_seconds": switched.back,
            "fingerprint_seconds": switched.hashing,
            "other_fingerprints": switched.different,
        });
        for (images, seconds) in batches {
            report[format!("seconds_of_{images}")] = seconds.into();
        }
        if let Some(out) = &self.out {
            let (width, height) = (self.size, self.size);
            image::save_buffer(out, &first.rgb, width, height, image::ColorType::Rgb8)
                .with_context(|| format!("cannot write {}", out.display()))?;
        }
        print(format_args!("{report:#}"))?;
        if switched.different > 0 {
            bail!(
                "{} of {} switches gave other weights than the first time",
                switched.different,
                self.switches
            );
        }
        Ok(())
    }

    /// Seconds of an image with the first adapter in effect.
    fn with_adapter(&self, pipeline: &mut Pipeline, spec: &GenerationSpec) -> anyhow::Result<Option<f64>> {
        let Some(file) = self.lora.first().filter(|_| self.adapter_steps > 0) else { return Ok(None) };
        pipeline.set_adapters(&[(Arc::new(Adapter::read(file)?), Strength::from(1.0))])?;
        let image = render(pipeline, &GenerationSpec { steps: self.adapter_steps, ..spec.clone() })?;
        pipeline.set_adapters(&[])?;
        Ok(Some(image.seconds))
    }

    /// Sizes of batches, each with the seconds of one of its images.
    fn batches(&self, pipeline: &mut Pipeline, spec: &GenerationSpec) -> anyhow::Result<Vec<(u16, f64)>> {
        let mut measured = Vec::with_capacity(self.batch.len());
        for images in &self.batch {
            let mut seconds = f64::INFINITY;
            // The faster of two, after a short one that prepares the size.
            for steps in [spec.steps.min(3), spec.steps, spec.steps] {
                let of_seed = |seed| GenerationSpec { seed, steps, ..spec.clone() };
                let specs: Vec<_> = (0..u64::from(*images)).map(of_seed).collect();
                let begun = Instant::now();
                pipeline.generate_all(&specs.iter().collect::<Vec<_>>())?;
                if steps == spec.steps {
                    seconds = seconds.min(begun.elapsed().as_secs_f64() / f64::from(*images));
                }
            }
            measured.push((*images, seconds));
        }
        Ok(measured)
    }

    /// First in turn to each adapter and to none, which may be held from the second round on; then to strengths that are new.
    fn switch(&self, pipeline: &mut Pipeline) -> anyhow::Result<Switched> {
        let mut pool = AdapterPool::new(usize::MAX);
        let read = |file: &PathBuf| Ok(pool.get(&file_hash(file)?, file)?);
        let adapters = self.lora.iter().map(read).collect::<anyhow::Result<Vec<Arc<Adapter>>>>()?;
        let (mut fresh, mut back, mut hashing) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen: Vec<Option<String>> = vec![None; adapters.len() + 1];
        let mut different = 0;
        for i in 1..=self.switches as usize {
            let which = i % seen.len();
            let one = which.checked_sub(1).map(|one| (adapters[one].clone(), Strength::from(1.0)));
            let begun = Instant::now();
            pipeline.set_adapters(one.as_slice())?;
            let seconds = begun.elapsed().as_secs_f64();
            let begun = Instant::now();
            let print = pipeline.hash_weights()?;
            hashing.push(begun.elapsed().as_secs_f64());
            match &seen[which] {
                Some(before) => {
                    different += u32::from(*before != print);
                    back.push(seconds);
                }
                None => seen[which] = Some(print),
            }
        }
        for i in 0..self.switches as usize {
            let Some(adapter) = adapters.get(i % adapters.len().max(1)) else { break };
            let strength = Strength::from(0.5 + 0.4 * i as f64 / f64::from(self.switches));
            let begun = Instant::now();
            pipeline.set_adapters(&[(adapter.clone(), strength)])?;
            fresh.push(begun.elapsed().as_secs_f64());
        }
        pipeline.set_adapters(&[])?;
        let [fresh, back, hashing] = [fresh, back, hashing].map(middle);
        Ok(Switched { fresh, back, hashing, different })
    }
}

/// Medians in seconds.
struct Switched {
    /// To adapters at strengths that were not in effect before.
    fresh: Option<f64>,
    /// To what was in effect before.
    back: Option<f64>,
    /// Hashing what has changed.
    hashing: Option<f64>,
    /// Switches whose fingerprint differs from that of the first switch to the same adapter.
    different: u32,
}

/// The median; `None` of nothing.
fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

struct TimedImage {
    seconds: f64,
    steps_per_second: f64,
    /// From the end of the last step to the pixels.
    decode_seconds: f64,
    rgb: Vec<u8>,
}

/// Most memory that this process has had, in 10⁹ bytes; 0 where the system does not say.
fn peak_gb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.unwrap_or_default() * 1024.0 / 1e9
}

fn render(pipeline: &mut Pipeline, spec: &GenerationSpec) -> anyhow::Result<TimedImage> {
    let mut ends = Vec::with_capacity(spec.steps as usize);
    let begun = Instant::now();
    let output = pipeline.generate(spec, &mut |_| {
        ends.push(begun.elapsed().as_secs_f64());
        ControlFlow::Continue(())
    })?;
    // From the end of the first step, which also reads the text, to that of the last.
    let between = ends.last().zip(ends.first()).map_or(0.0, |(last, first)| last - first);
    let steps_per_second = match between {
        0.0 => ends.len() as f64 / output.seconds,
        between => (ends.len() - 1) as f64 / between,
    };
    let decode_seconds = ends.last().map_or(0.0, |last| begun.elapsed().as_secs_f64() - last);
    Ok(TimedImage {
        seconds: output.seconds,
        steps_per_second,
        decode_seconds,
        rgb: pixels(output.image).rgb,
    })
}
