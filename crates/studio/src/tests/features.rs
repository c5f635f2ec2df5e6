//! The judge as the studio's callers see it.

use super::*;
use crate::{FeatureRequest, Pixels};

fn plain(rgb: [u8; 3]) -> Pixels {
    Pixels { width: 16, height: 16, rgb: rgb.repeat(256) }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[tokio::test]
async fn features_come_in_the_order_of_the_request_whatever_its_size() {
    let (_folder, studio, backend) = fresh().await;
    assert_eq!(studio.judge().await.unwrap().name, "fake judge");
    let (red, white) = (plain([200, 0, 0]), plain([255; 3]));
    let mut images = vec![red.clone(); 9];
    images[7] = white;
    let texts = vec!["red cloth".to_owned(), "white cloth".to_owned()];
    let request = FeatureRequest { images, texts, maps: true };
    let found = studio.features(request).await.unwrap();
    assert_eq!((found.images.len(), found.maps.len(), found.texts.len()), (9, 9, 2));
    let score = |image: usize, text: usize| dot(&found.images[image], &found.texts[text]);
    assert_eq!((score(0, 0), score(0, 1), score(7, 0), score(7, 1)), (1.0, 0.0, 0.0, 1.0));
    assert!((dot(&found.maps[0], &found.maps[8]) - 1.0).abs() < 1e-6);
    assert_eq!(backend.call_log().iter().filter(|word| *word == "features").count(), 3);
    let without = FeatureRequest { images: vec![red], ..FeatureRequest::default() };
    let found = studio.features(without).await.unwrap();
    assert_eq!((found.images.len(), found.maps.len(), found.texts.len()), (1, 0, 0));
    assert_eq!(studio.features(FeatureRequest::default()).await.unwrap(), crate::FeatureSet::default());
}
