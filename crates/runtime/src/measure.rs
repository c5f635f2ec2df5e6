//! Metrics of the engine for the studio's requests.

use adire_engine::metric::{
    Features, FeaturesError, METRICS,
    adherence::clip_score,
    distance::{cmmd, kid},
    diversity::relative_diversity,
    memorisation::{data_copying, nearest},
    style::{Style, auc},
};
use adire_studio::{BackendError, CopyingMeasurements, CopyingRequest, MeasureRequest, Measurements, Seen};

/// Names and revisions of all metrics.
pub(crate) fn revisions() -> Vec<(&'static str, u32)> {
    METRICS.iter().map(|metric| (metric.name, metric.revision)).collect()
}

/// See [`adire_studio::Backend::measure`].
pub(crate) fn measure(request: &MeasureRequest) -> Result<Measurements, BackendError> {
    let texts = features(&request.texts)?;
    let embeddings = |side: &Seen| features(&side.embeddings);
    let [challenger, base, champion] =
        [embeddings(&request.challenger)?, embeddings(&request.base)?, embeddings(&request.champion)?];
    let held_out = embeddings(&request.held_out)?;
    let clip_scores = [&challenger, &base, &champion].map(|images| clip_score(images, &texts));
    let mut metrics = Vec::new();
    let mut style_margins = [Vec::new(), Vec::new(), Vec::new()];
    let styles = |side: &Seen| features(&side.styles);
    let base_styles = styles(&request.base)?;
    if let Some(style) = Style::new(&styles(&request.held_out)?, &base_styles) {
        style_margins = [
            style.margins(&styles(&request.challenger)?, false),
            style.margins(&base_styles, true),
            style.margins(&styles(&request.champion)?, false),
        ];
        metrics.extend(auc(&style_margins[0], &style_margins[1]).map(|value| ("style_auc", value)));
        let leaks = style.margins(&styles(&request.untriggered)?, false);
        if !leaks.is_empty() {
            metrics.push(("leakage", leaks.iter().sum::<f64>() / leaks.len() as f64));
        }
    }
    metrics.extend(cmmd(&challenger, &held_out).map(|value| ("cmmd", value)));
    metrics.extend(kid(&challenger, &held_out).map(|value| ("kid", value)));
    let by_prompt = |side: &Seen| by_prompt(&request.prompts, &side.embeddings);
    let (ours, theirs) = (by_prompt(&request.challenger)?, by_prompt(&request.base)?);
    metrics.extend(relative_diversity(&ours, &theirs).map(|value| ("diversity", value)));
    let copying = request.copying.as_ref().map(copying).transpose()?;
    Ok(Measurements { clip_scores, style_margins, metrics, copying })
}

fn copying(request: &CopyingRequest) -> Result<CopyingMeasurements, BackendError> {
    let [captions, base_captions, training, held_out] = [
        features(&request.captions)?,
        features(&request.base_captions)?,
        features(&request.training)?,
        features(&request.held_out)?,
    ];
    let found = |rows: &Features| -> Vec<(usize, f64)> {
        rows.rows().filter_map(|row| nearest(row, &training)).collect()
    };
    let own =
        |found: &[(usize, f64)]| found.iter().zip(&request.own).map(|((at, _), own)| at == own).collect();
    let (ours, theirs) = (found(&captions), found(&base_captions));
    Ok(CopyingMeasurements {
        z: data_copying(&captions, &held_out, &training).map(|found| found.z),
        own_nearest: own(&ours),
        base_own_nearest: own(&theirs),
        nearest: ours,
    })
}

/// The rows of each prompt, in the order of their first appearance.
fn by_prompt(prompts: &[u32], rows: &[Vec<f32>]) -> Result<Vec<Features>, BackendError> {
    let mut groups: Vec<(u32, Vec<&[f32]>)> = Vec::new();
    for (prompt, row) in prompts.iter().zip(rows) {
        match groups.iter_mut().find(|(known, _)| known == prompt) {
            Some((_, group)) => group.push(row),
            None => groups.push((*prompt, vec![row])),
        }
    }
    groups.iter().map(|(_, group)| features(group)).collect()
}

fn features<Row: AsRef<[f32]>>(rows: &[Row]) -> Result<Features, BackendError> {
    Features::new(rows).map_err(|error: FeaturesError| {
        BackendError::Failed(format!("The judge's features cannot be compared: {error}."))
    })
}
