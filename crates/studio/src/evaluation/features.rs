//! Features of many images, in units small enough that generations need not wait.

use crate::{FeatureRequest, FeatureSet, JudgeInfo, StudioError, worker::Worker};

/// Images or texts that the worker computes at once: a second or two of CLIP ViT-L/14 on a CPU.
pub(crate) const UNIT: usize = 4;

/// The judge of the loaded model.
pub(crate) async fn judge(worker: &Worker) -> Result<JudgeInfo, StudioError> {
    Ok(worker.judge().await??)
}

/// As [`crate::Backend::features`], unit by unit.
pub(crate) async fn features(worker: &Worker, request: FeatureRequest) -> Result<FeatureSet, StudioError> {
    let FeatureRequest { images, texts, maps } = request;
    let count = images.len();
    let wanted = (count, count, count, if maps { count } else { 0 }, texts.len());
    let mut all = FeatureSet::default();
    let (mut images, mut texts) = (images.into_iter().peekable(), texts.into_iter().peekable());
    while images.peek().is_some() || texts.peek().is_some() {
        let images = images.by_ref().take(UNIT).collect();
        let unit = FeatureRequest { images, texts: texts.by_ref().take(UNIT).collect(), maps };
        let found = worker.features(unit).await??;
        all.images.extend(found.images);
        all.styles.extend(found.styles);
        all.flat.extend(found.flat);
        all.maps.extend(found.maps);
        all.texts.extend(found.texts);
    }
    let found = (all.images.len(), all.styles.len(), all.flat.len(), all.maps.len(), all.texts.len());
    let finite = |rows: &[Vec<f32>]| rows.iter().flatten().all(|value| value.is_finite());
    if found != wanted
        || ![&all.images, &all.styles, &all.maps, &all.texts].into_iter().all(|rows| finite(rows))
    {
        return Err(StudioError::Backend(
            "The judge returned unusable features (NaN, or too few).".to_owned(),
        ));
    }
    Ok(all)
}
