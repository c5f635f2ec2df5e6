//! How far off something is.

use candle_core::{DType, Tensor};

use crate::Result;

/// Largest difference, relative to the largest expected value; infinite for NaN or another shape.
pub(crate) fn relative_error(found: &Tensor, expected: &Tensor) -> Result<f64> {
    if found.dims() != expected.dims() {
        return Ok(f64::INFINITY);
    }
    let largest = |x: &Tensor| -> Result<f64> {
        let values = x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        Ok(values
            .into_iter()
            .fold(0f64, |most, x| if x.is_nan() { f64::INFINITY } else { most.max(x.abs()) }))
    };
    let (found, expected) = (found.to_dtype(DType::F64)?, expected.to_dtype(DType::F64)?);
    Ok(largest(&(found - &expected)?)? / largest(&expected)?)
}

/// Largest difference of any byte.
pub(crate) fn pixel_error(found: &[u8], expected: &[u8]) -> Result<f64> {
    if found.len() != expected.len() {
        return Ok(f64::INFINITY);
    }
    Ok(found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0).into())
}
