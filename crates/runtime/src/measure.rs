//! Metrics of the engine for the studio's requests.

use std::collections::BTreeMap;

use adire_engine::metric::{
    Direction, Features, FeaturesError, METRICS, Metric,
    adherence::clip_score,
    distance::{cmmd, kid},
    diversity::relative_diversity,
    memorisation::{approach, data_copying, nearest, own_image_nearest},
    style::{Style, auc},
};
use adire_protocol::{MetricDirection, MetricInfo};
use adire_studio::{BackendError, CopyingMeasurements, CopyingRequest, MeasureRequest, Measurements, Seen};

/// What all metrics mean.
pub(crate) fn metrics() -> Vec<MetricInfo> {
    let info = |metric: &Metric| MetricInfo {
        name: metric.name.to_owned(),
        about: metric.about.to_owned(),
        unit: metric.unit.to_owned(),
        low: Some(metric.range.0).filter(|low| low.is_finite()),
        high: Some(metric.range.1).filter(|high| high.is_finite()),
        direction: match metric.direction {
            Direction::Higher => MetricDirection::Higher,
            Direction::Lower => MetricDirection::Lower,
            Direction::Reference => MetricDirection::Reference,
        },
        revision: metric.revision,
    };
    METRICS.iter().map(info).collect()
}

/// Every metric of an evaluation from features that were computed before.
pub(crate) fn measure(request: &MeasureRequest) -> Result<Measurements, BackendError> {
    let texts = features(&request.texts)?;
    let embeddings = |side: &Seen| features(&side.embeddings);
    let [challenger, base, champion] =
        [embeddings(&request.challenger)?, embeddings(&request.base)?, embeddings(&request.champion)?];
    let held_out = embeddings(&request.held_out)?;
    let clip_scores = [&challenger, &base, &champion].map(|images| clip_score(images, &texts));
    let mut metrics = BTreeMap::new();
    let mut insert = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            metrics.insert(name.to_owned(), value);
        }
    };
    let mut style_goal = None;
    let mut style_margins = [Vec::new(), Vec::new(), Vec::new()];
    let styles = |side: &Seen| features(&side.styles);
    let base_styles = styles(&request.base)?;
    if let Some(style) = Style::new(&styles(&request.held_out)?, &base_styles) {
        style_margins = [
            style.margins(&styles(&request.challenger)?, false),
            style.margins(&base_styles, true),
            style.margins(&styles(&request.champion)?, false),
        ];
        insert("style_auc", auc(&style_margins[0], &style_margins[1]));
        style_goal = style.goal();
        let leaks = style.margins(&styles(&request.untriggered)?, false);
        let mean = leaks.iter().sum::<f64>() / leaks.len() as f64;
        insert("leakage", Some(mean).filter(|_| !leaks.is_empty()));
    }
    insert("cmmd", cmmd(&challenger, &held_out));
    insert("kid", kid(&challenger, &held_out));
    let by_prompt = |side: &Seen| by_prompt(&request.prompts, &side.embeddings);
    let (ours, theirs) = (by_prompt(&request.challenger)?, by_prompt(&request.base)?);
    insert("diversity", relative_diversity(&ours, &theirs));
    let copying = request.copying.as_ref().map(copying).transpose()?;
    Ok(Measurements { clip_scores, style_margins, style_goal, metrics, copying })
}

fn copying(request: &CopyingRequest) -> Result<CopyingMeasurements, BackendError> {
    let [captions, base_captions, training, held_out] = [
        features(&request.captions)?,
        features(&request.base_captions)?,
        features(&request.training)?,
        features(&request.held_out)?,
    ];
    Ok(CopyingMeasurements {
        z: data_copying(&captions, &held_out, &training).map(|found| found.z),
        own_nearest: own_image_nearest(&captions, &request.own, &training),
        base_own_nearest: own_image_nearest(&base_captions, &request.own, &training),
        approach: approach(&captions, &base_captions, &request.own, &training)
            .into_iter()
            .map(|found| (found.gain, found.way))
            .collect(),
        nearest: captions.rows().filter_map(|row| nearest(row, &training)).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit vectors in a fixed pattern.
    fn rows(count: usize, step: f32) -> Vec<Vec<f32>> {
        (0..count)
            .map(|row| {
                let row = row as f32;
                let values = [1.0, (step * row).sin(), (0.7 * step * row).cos(), 0.1 * step];
                let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
                values.map(|value| value / length).to_vec()
            })
            .collect()
    }

    fn seen(count: usize, step: f32) -> Seen {
        Seen { embeddings: rows(count, step), styles: rows(count, 1.1 * step) }
    }

    /// Where a value changes, the metric's revision must grow: stored scores of older programs are found by it.
    #[test]
    fn a_changed_metric_has_another_revision() {
        let request = MeasureRequest {
            prompts: vec![0, 0, 1, 1, 2, 2],
            texts: rows(6, 0.5),
            challenger: seen(6, 0.9),
            base: seen(6, 0.4),
            champion: seen(6, 0.6),
            untriggered: seen(3, 0.5),
            held_out: seen(4, 1.0),
            copying: Some(CopyingRequest {
                captions: rows(4, 0.8),
                base_captions: rows(4, 0.3),
                own: vec![0, 1, 2, 3],
                training: rows(4, 0.85),
                held_out: rows(3, 2.0),
            }),
        };
        let found = measure(&request).unwrap();
        let mut values: Vec<(String, f64)> = found.metrics.into_iter().collect();
        values.push(("clip_score".to_owned(), found.clip_scores[0].iter().sum()));
        values.push(("style_margin".to_owned(), found.style_margins[0].iter().sum()));
        values.push(("style_goal".to_owned(), found.style_goal.unwrap()));
        let copying = found.copying.unwrap();
        values.push(("data_copying".to_owned(), copying.z.unwrap()));
        values.push(("copied_share".to_owned(), copying.approach.iter().map(|(gain, _)| gain).sum()));
        let own = copying.own_nearest.iter().filter(|own| **own).count();
        values.push(("own_image_nearest".to_owned(), own as f64));
        // Name, revision and value.
        let known = [
            ("cmmd", 1, -0.883_689_424_207_911_9),
            ("diversity", 1, 5.306_275_072_230_098),
            ("kid", 1, -0.099_667_606_475_107_64),
            ("leakage", 1, -0.156_922_679_251_011_8),
            ("style_auc", 1, 0.555_555_555_555_555_6),
            ("clip_score", 1, 10.540_594_838_875_728),
            ("style_margin", 1, 0.983_148_138_049_704_5),
            ("style_goal", 1, -0.209_853_912_139_368_44),
            ("data_copying", 1, -1.767_766_952_966_368_7),
            ("copied_share", 1, 0.596_009_701_263_522_9),
            ("own_image_nearest", 1, 4.0),
        ];
        assert_eq!(values.len(), known.len());
        let described = metrics();
        let revisions: Vec<(&str, u32)> =
            described.iter().map(|metric| (metric.name.as_str(), metric.revision)).collect();
        let z = described.iter().find(|metric| metric.name == "data_copying").unwrap();
        assert_eq!((z.low, z.high, z.direction), (None, None, MetricDirection::Higher));
        assert_eq!(z.unit, "standard deviations");
        assert_eq!(revisions.len(), known.len(), "every metric is among them");
        for ((name, value), (known_name, revision, known)) in values.iter().zip(known) {
            assert_eq!(name, known_name);
            assert!(
                revisions.contains(&(known_name, revision)),
                "note the new revision of {name} and its value"
            );
            assert!((value - known).abs() < 1e-6, "{name} was {known} and is {value}: raise its revision");
        }
    }
}
