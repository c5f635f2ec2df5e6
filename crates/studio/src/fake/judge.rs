//! The fake judge: colours as features.

use crate::{FeatureRequest, FeatureSet, JudgeInfo, Pixels};

/// The eight corners of the RGB cube, by the highest bits of red, green and blue.
const NAMES: [&str; 8] = ["black", "blue", "green", "turquoise", "red", "purple", "yellow", "white"];

pub(super) fn info() -> JudgeInfo {
    JudgeInfo { name: "fake judge".to_owned(), hash: "3e".repeat(32), revision: 1 }
}

pub(super) fn features(request: &FeatureRequest) -> FeatureSet {
    let maps = if request.maps { &request.images[..] } else { &[] };
    FeatureSet {
        images: request.images.iter().map(|image| unit(histogram(&image.rgb).to_vec())).collect(),
        maps: maps.iter().map(|image| unit(map(image))).collect(),
        texts: request.texts.iter().map(|text| unit(named(text).to_vec())).collect(),
    }
}

fn histogram(rgb: &[u8]) -> [f32; 8] {
    let mut counts = [0.0; 8];
    for pixel in rgb.chunks_exact(3) {
        let corner = pixel.iter().fold(0, |corner, channel| 2 * corner + usize::from(channel >> 7));
        counts[corner] += 1.0;
    }
    counts
}

/// The histograms of eight strips, from the top.
fn map(image: &Pixels) -> Vec<f32> {
    let row = 3 * image.width.max(1) as usize;
    let strip = row * (image.height as usize).div_ceil(8).max(1);
    let mut strips: Vec<f32> =
        image.rgb.chunks(strip).flat_map(|strip| unit(histogram(strip).to_vec())).collect();
    strips.resize(64, 0.0);
    strips
}

/// All colours where a text names none.
fn named(text: &str) -> [f32; 8] {
    let found = NAMES.map(|name| if text.contains(name) { 1.0 } else { 0.0 });
    if found == [0.0; 8] { [1.0; 8] } else { found }
}

fn unit(mut values: Vec<f32>) -> Vec<f32> {
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        values.iter_mut().for_each(|value| *value /= length);
    }
    values
}
