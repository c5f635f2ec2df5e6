//! How bright a pixel is, and from where on it counts as white.

/// From this brightness on, a pixel of a mask is white.
pub(crate) const WHITE: u32 = 128;

/// Brightness after ITU-R 601-2, as Pillow rounds it.
pub(crate) fn luma(pixel: &[u8]) -> u32 {
    let weights = [19_595, 38_470, 7_471];
    let sum: u32 = pixel.iter().zip(weights).map(|(value, weight)| u32::from(*value) * weight).sum();
    (sum + 0x8000) >> 16
}
