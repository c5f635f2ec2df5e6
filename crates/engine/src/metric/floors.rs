//! Floors: images that are none, whatever the other metrics say.

/// Standard deviation, in levels of 0 to 255, below which an image is flat: black, or of one colour.
const FLAT: f64 = 2.0;

/// Whether an image is of one colour: no channel of its RGB bytes varies by more than a sensor's noise.
pub fn is_flat(rgb: &[u8]) -> bool {
    let pixels = rgb.len() / 3;
    let deviation = |channel: usize| {
        let values = || rgb.iter().skip(channel).step_by(3).map(|value| f64::from(*value));
        let mean = values().sum::<f64>() / pixels as f64;
        (values().map(|value| (value - mean).powi(2)).sum::<f64>() / pixels as f64).sqrt()
    };
    pixels == 0 || (0..3).all(|channel| deviation(channel) < FLAT)
}
