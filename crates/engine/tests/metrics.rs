//! Metrics held to torchmetrics, torch-fidelity and NumPy in float64.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use adire_engine::metric::{Features, adherence, distance, diversity, floors, memorisation, style};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("goldens/metrics.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
}

fn features(golden: &Value, name: &str) -> Features {
    let rows: Vec<Vec<f32>> = golden["features"][name]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| numbers(row).into_iter().map(|n| n as f32).collect())
        .collect();
    Features::new(&rows).unwrap()
}

#[track_caller]
fn near(ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0), "{ours} is not {theirs}");
}

#[track_caller]
fn all_near(ours: &[f64], theirs: &Value) {
    let theirs = numbers(theirs);
    assert_eq!(ours.len(), theirs.len());
    // torchmetrics computes in f32's precision where it normalises.
    ours.iter().zip(theirs).for_each(|(ours, theirs)| near(*ours, theirs));
}

#[test]
fn every_metric_equals_its_original() {
    let golden = golden();
    let set = |name| features(&golden, name);
    all_near(&adherence::clip_score(&set("images"), &set("texts")), &golden["clip_score"]);
    near(distance::cmmd(&set("x"), &set("y")).unwrap(), golden["cmmd"].as_f64().unwrap());
    near(distance::kid(&set("x"), &set("y")).unwrap(), golden["kid"].as_f64().unwrap());
    let style = style::Style::new(&set("held_out"), &set("base")).unwrap();
    let (margins, base) = (style.margins(&set("styled"), false), style.margins(&set("base"), true));
    all_near(&margins, &golden["margins"]);
    all_near(&base, &golden["base_margins"]);
    near(style.goal().unwrap(), golden["goal"].as_f64().unwrap());
    near(style::auc(&margins, &base).unwrap(), golden["auc"].as_f64().unwrap());
    near(diversity::diversity(&set("x")).unwrap(), golden["diversity"].as_f64().unwrap());
    let training = set("training");
    let unseen = golden["features"]["unseen"].as_array().unwrap();
    let part = |range: std::ops::Range<usize>| {
        let rows: Vec<Vec<f32>> =
            unseen[range].iter().map(|row| numbers(row).into_iter().map(|n| n as f32).collect()).collect();
        Features::new(&rows).unwrap()
    };
    for (found, name) in [
        (memorisation::data_copying(&set("copies"), &set("unseen"), &training), "copies"),
        (memorisation::data_copying(&part(0..5), &part(5..10), &training), "unseen"),
    ] {
        let (found, theirs) = (found.unwrap(), &golden["data_copying"][name]);
        near(found.z, theirs["z"].as_f64().unwrap());
        near(found.auc, theirs["auc"].as_f64().unwrap());
    }
    let approaches =
        memorisation::approach(&set("copies"), &part(0..8), &[0, 1, 2, 3, 4, 5, 6, 7], &training);
    assert_eq!(approaches.len(), 8);
    for (found, theirs) in approaches.iter().zip(golden["approach"].as_array().unwrap()) {
        all_near(&[found.gain, found.way], theirs);
    }
    assert_eq!(
        memorisation::own_image_nearest(&set("copies"), &[0, 1, 2, 3, 4, 5, 6, 7], &training),
        [true; 8]
    );
}

#[test]
fn the_unbiased_distance_of_one_distribution_is_about_zero() {
    let golden = golden();
    let (x, y) = (features(&golden, "x"), features(&golden, "y"));
    let biased = golden["cmmd_biased"].as_f64().unwrap();
    let unbiased = distance::cmmd(&x, &y).unwrap();
    assert!(unbiased.abs() < 0.1 && biased > 0.3, "{unbiased} {biased}");
}

#[test]
fn too_little_is_no_number() {
    let one = Features::new(&[[1.0_f32, 2.0]]).unwrap();
    let none = Features::new::<[f32; 2]>(&[]).unwrap();
    assert_eq!(distance::cmmd(&one, &one), None);
    assert_eq!(distance::kid(&none, &one), None);
    assert_eq!(diversity::diversity(&one), None);
    assert!(style::Style::new(&none, &one).is_none());
    assert_eq!(style::auc(&[], &[1.0]), None);
    assert_eq!(memorisation::data_copying(&one, &none, &one), None);
    assert_eq!(memorisation::data_copying(&one, &one, &none), None);
    assert!(Features::new(&[[f32::NAN]]).is_err() && Features::new(&[vec![1.0], vec![1.0, 2.0]]).is_err());
    assert_eq!(adherence::clip_score(&Features::new(&[[0.0_f32, 0.0]]).unwrap(), &one), [0.0]);
}

#[test]
fn flat_images_are_noticed() {
    assert!(floors::is_flat(&[]) && floors::is_flat(&[7; 300]));
    assert!(!floors::is_flat(&(0..=255).flat_map(|v| [v, 0, 0]).collect::<Vec<u8>>()));
}
