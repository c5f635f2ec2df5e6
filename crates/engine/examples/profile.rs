//! Where the time of an image goes: `cargo run --release -p adire-engine --example profile -- MODEL [STEPS] [SIZE] [LORA …]`.
//!
//! `ADIRE_DTYPE` is the precision. Prints seconds for loading, and for each of three images: all of it, the mean step, the decoding, and (on
//! Linux) the processor time of all threads together, which says more on a busy machine; then the most memory in use. With
//! adapters, it times switches between them, two at a time.

use std::{error::Error, ops::ControlFlow, path::Path, sync::Arc, time::Instant};

use adire_engine::{DeviceChoice, LoadOptions, Pipeline, Placement, Precision, adapter::Adapter};
use adire_protocol::GenerationRequest;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: profile MODEL [STEPS]")?;
    let steps = arguments.next().map(|steps| steps.parse()).transpose()?.unwrap_or(20);
    let size = arguments.next().map(|size| size.parse()).transpose()?;
    let started = Instant::now();
    let precision = std::env::var("ADIRE_DTYPE").map_or(Ok(Precision::Auto), |name| name.parse())?;
    let Placement { device, dtype, .. } = Placement::open(DeviceChoice::Cpu, precision)?;
    let options = LoadOptions { device, dtype, ..LoadOptions::default() };
    let mut pipeline = Pipeline::load(Path::new(&folder), &options)?;
    println!("load       {:.3} s", started.elapsed().as_secs_f64());
    for seed in 0..3 {
        let info = pipeline.info();
        let request = GenerationRequest {
            prompt: "white moons on indigo".to_owned(),
            seed: Some(seed),
            steps: Some(steps),
            guidance: Some(5.0),
            width: size,
            height: size,
            ..Default::default()
        };
        let spec = request.validate(&info.limits, &info.defaults, 0)?;
        let busy = processor_seconds();
        let mut marks = vec![Instant::now()];
        let output = pipeline.generate(&spec, &mut |_| {
            marks.push(Instant::now());
            ControlFlow::Continue(())
        })?;
        let (first, last) = (marks[1] - marks[0], marks[marks.len() - 1]);
        let step = (last - marks[1]).as_secs_f64() / f64::from(steps.max(2) - 1);
        println!(
            "image      {:.3} s ({:.2} s of processors): first step with text {:.3} s, each later step {:.4} s, \
             decoding {:.3} s",
            output.seconds,
            processor_seconds() - busy,
            first.as_secs_f64(),
            step,
            last.elapsed().as_secs_f64()
        );
    }
    println!("memory     {:.0} MB at most", peak_megabytes());
    let adapters =
        arguments.map(|path| Adapter::read(Path::new(&path)).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = adapters.first() else { return Ok(()) };
    // Three sets in turn are more than are held; two are not.
    for (sets, name) in [(3, "switch"), (2, "switch, held")] {
        for i in 0..8 {
            let (a, b) = (0.5 + 0.1 * f64::from(i % sets), 0.4);
            let last = adapters.last().unwrap_or(first);
            let busy = processor_seconds();
            let started = Instant::now();
            pipeline.set_adapters(&[(Arc::clone(first), a.into()), (Arc::clone(last), b.into())])?;
            let seconds = started.elapsed().as_secs_f64();
            println!(
                "{name:<12} {:.1} ms ({:.2} s of processors)",
                1e3 * seconds,
                processor_seconds() - busy
            );
        }
    }
    let started = Instant::now();
    let fingerprint = pipeline.fingerprint()?.unwrap_or_default().len();
    println!("print      {:.1} ms, {fingerprint} digits", 1e3 * started.elapsed().as_secs_f64());
    let started = Instant::now();
    pipeline.set_adapters(&[])?;
    println!("switch off {:.1} ms", 1e3 * started.elapsed().as_secs_f64());
    println!("memory     {:.0} MB at most", peak_megabytes());
    Ok(())
}

/// The most memory that this process had, in 10⁶ bytes; 0 where there is no Linux to say.
fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kilobytes| kilobytes.parse::<f64>().ok()).unwrap_or(0.0)
        * 1.024e-3
}

/// User and system time of this process, in seconds; 0 where there is no Linux to say.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, in hundredths; the second field may hold blanks, but ends with the last bracket.
    let after = stat.rsplit(')').next().unwrap_or_default();
    after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
        / 100.0
}
