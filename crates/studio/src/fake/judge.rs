//! The fake judge: colours as features.

use adire_protocol::{MetricDirection, MetricInfo};

use crate::{
    CopyingMeasurements, FeatureRequest, FeatureSet, JudgeInfo, MeasureRequest, Measurements, Pixels,
};

/// The eight corners of the RGB cube, by the highest bits of red, green and blue.
const NAMES: [&str; 8] = ["black", "blue", "green", "turquoise", "red", "purple", "yellow", "white"];

pub(super) fn info() -> JudgeInfo {
    JudgeInfo { name: "fake judge".to_owned(), hash: "3e".repeat(32), revision: 1 }
}

pub(super) fn metrics() -> Vec<MetricInfo> {
    let metric = |name: &str, about: &str, high| MetricInfo {
        name: name.to_owned(),
        about: about.to_owned(),
        unit: String::new(),
        low: Some(0.0),
        high,
        direction: MetricDirection::Higher,
        revision: 1,
    };
    vec![
        metric("clip_score", "How well colours follow prompts.", Some(2.5)),
        metric("style_margin", "How near colours are to held-out images.", None),
        metric("prompts", "How many images were measured.", None),
    ]
}

pub(super) fn features(request: &FeatureRequest) -> FeatureSet {
    let maps = if request.maps { &request.images[..] } else { &[] };
    FeatureSet {
        images: request.images.iter().map(|image| unit(histogram(&image.rgb).to_vec())).collect(),
        styles: request.images.iter().map(|image| unit(histogram(&image.rgb).to_vec())).collect(),
        maps: maps.iter().map(|image| unit(map(image))).collect(),
        flat: request.images.iter().map(|image| is_flat(&image.rgb)).collect(),
        texts: request.texts.iter().map(|text| unit(named(text).to_vec())).collect(),
    }
}

fn is_flat(rgb: &[u8]) -> bool {
    rgb.chunks_exact(3).all(|pixel| pixel == &rgb[..3])
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

/// Cosines in place of the engine's metrics, with the same meaning and signs.
pub(super) fn measure(request: &MeasureRequest) -> Measurements {
    let roles = [&request.challenger, &request.base, &request.champion];
    let score = |(image, text): (&Vec<f32>, &Vec<f32>)| 2.5 * cosine(image, text).max(0.0);
    let margin =
        |image: &Vec<f32>| nearness(image, &request.held_out.styles) - nearness(image, &request.base.styles);
    let copying = request.copying.as_ref().map(|maps| {
        let nearest = |images: &[Vec<f32>]| -> Vec<(usize, f64)> {
            images.iter().filter_map(|image| nearest(image, &maps.training)).collect()
        };
        let own = |images: &[Vec<f32>]| {
            nearest(images).iter().zip(&maps.own).map(|((found, _), own)| found == own).collect()
        };
        CopyingMeasurements {
            z: (!maps.held_out.is_empty()).then_some(0.0),
            own_nearest: own(&maps.captions),
            base_own_nearest: own(&maps.base_captions),
            approach: vec![(0.0, 1.0); maps.captions.len()],
            nearest: nearest(&maps.captions),
        }
    });
    Measurements {
        clip_scores: roles.map(|images| images.embeddings.iter().zip(&request.texts).map(score).collect()),
        style_margins: roles.map(|images| {
            if request.held_out.styles.is_empty() {
                Vec::new()
            } else {
                images.styles.iter().map(margin).collect()
            }
        }),
        style_goal: None,
        metrics: [("prompts".to_owned(), request.prompts.len() as f64)].into(),
        copying,
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    f64::from(a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>())
}

fn nearness(image: &[f32], others: &[Vec<f32>]) -> f64 {
    others.iter().map(|other| cosine(image, other)).sum::<f64>() / others.len().max(1) as f64
}

fn nearest(image: &[f32], others: &[Vec<f32>]) -> Option<(usize, f64)> {
    let cosines = others.iter().map(|other| cosine(image, other)).enumerate();
    cosines.max_by(|(_, a), (_, b)| a.total_cmp(b))
}
