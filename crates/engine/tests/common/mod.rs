//! What the golden tests share.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};

/// `tests/goldens/<name>`.
pub fn golden(name: &str) -> PathBuf {
    Path::new("tests/goldens").join(name)
}

/// Every tensor of a golden file.
pub fn tensors(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(golden(name), &Device::Cpu).unwrap()
}

/// Largest difference, relative to the largest expected value.
pub fn relative_error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.dims(), expected.dims());
    let largest = |x: &Tensor| {
        let values = x.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
        values.into_iter().fold(0f64, |most, x| if x.is_nan() { f64::INFINITY } else { most.max(x.abs()) })
    };
    largest(&(found - expected).unwrap()) / largest(expected)
}

/// Fails with the error's size unless it is within what f32 models are held to.
pub fn assert_close(what: &str, found: &Tensor, expected: &Tensor) {
    let error = relative_error(found, expected);
    assert!(error <= 1e-4, "{what}: relative error {error:.2e}");
}
