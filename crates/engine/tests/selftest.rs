//! The comparisons that `adire selftest` makes on a device, made on the CPU.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, unreachable_pub, reason = "each test file uses a part")]
mod common;

use adire_engine::{
    Placement,
    selftest::{self, Row},
};
use adire_protocol::Sampling;
use candle_core::{DType, Device};
use common::golden;

fn on_cpu(dtype: DType) -> Placement {
    Placement { device: Device::Cpu, gpu: None, dtype, note: None }
}

fn rows(dtype: DType) -> Vec<Row> {
    let rows = selftest::run(&golden(""), &on_cpu(dtype), &mut |row| println!("{row}")).unwrap();
    let wrong: Vec<String> = rows.iter().filter(|row| !row.holds()).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    rows
}

#[test]
fn every_comparison_holds_in_f32() {
    let rows = rows(DType::F32);
    for sampling in Sampling::ALL {
        for what in ["trajectory", "latents", "image"] {
            let name = format!("{what} {sampling}");
            assert_eq!(rows.iter().filter(|row| row.name == name).count(), 1, "{name}");
        }
    }
    assert!(rows.iter().filter(|row| row.name.starts_with("adapter ")).count() >= 15);
}

#[test]
fn every_comparison_holds_in_half_precision() {
    for dtype in [DType::F16, DType::BF16] {
        println!("{}", dtype.as_str());
        let model = rows(dtype).into_iter().find(|row| row.name == "unet-sd15").unwrap();
        assert!(model.error > 1e-4, "nothing was rounded: {model}");
    }
}

#[test]
fn a_folder_without_goldens_is_told_by_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = selftest::run(folder.path(), &on_cpu(DType::F32), &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("modules.safetensors"), "{error}");
}
