//! From images and features to the gate's evidence, and from its verdict to what is stored. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use adire_protocol::{
    Bounds, EvaluationCriterion, EvaluationImage, EvaluationRole, EvaluationVerdict, FailedImage,
    PromptMeans, Suspect, thumbnail_url,
};

use serde::{Deserialize, Serialize};

use super::{
    gate::{
        self, Approach, CopyingEvidence, Criterion, Evidence, FloorEvidence, Lacks, Paired, PromptPair, Score,
    },
    suite::Suite,
};
use crate::{
    CopyingRequest, MeasureRequest, Measurements, Seen,
    store::{ImageScore, image_url},
};

/// Nearest pairs of rendered and training images that a verdict shows.
const SUSPECTS: usize = 12;

/// What is known of a version and its dataset before anything is rendered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Layers that the adapter changes, from the receipt.
    pub(crate) applied_layers: Option<usize>,
    /// Id of the dataset; empty without one.
    pub(crate) dataset: String,
    /// Hashes of training images, those of the captions first.
    pub(crate) training: Vec<String>,
    /// Hashes of held-out images.
    pub(crate) held_out: Vec<String>,
    /// Why style or copying cannot be tested.
    pub(crate) lacks: Lacks,
}

/// What the judge has seen, by the images' hashes and the texts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) images: HashMap<String, Vec<f32>>,
    pub(crate) styles: HashMap<String, Vec<f32>>,
    pub(crate) maps: HashMap<String, Vec<f32>>,
    pub(crate) texts: HashMap<String, Vec<f32>>,
    /// Whether an image has one colour.
    pub(crate) flat: HashMap<String, bool>,
}

/// What a verdict names.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) champion: Option<String>,
    pub(crate) judge: String,
    /// Images that could not be rendered.
    pub(crate) failed: Vec<FailedImage>,
}

/// Images with their scores.
#[derive(Clone, Debug)]
pub(crate) struct Scored {
    pub(crate) images: Vec<EvaluationImage>,
    measured: Measurements,
    /// Hashes of images of one colour.
    flat: BTreeSet<String>,
    /// [`Output`] as JSON.
    pub(crate) output: String,
}

/// What scoring comes to; stored for evaluations of the same images.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Output {
    measured: Measurements,
    flat: BTreeSet<String>,
}

/// Those of a role, by prompt and seed.
fn of_role(images: &[EvaluationImage], role: EvaluationRole) -> BTreeMap<(u32, u64), &EvaluationImage> {
    let those = images.iter().filter(|image| image.role == role);
    those.map(|image| ((image.prompt, image.seed), image)).collect()
}

/// Places that every role has an image of: a pair with a failed image says nothing.
fn places(images: &[EvaluationImage]) -> Vec<(u32, u64)> {
    let [challenger, base, champion] = sides(images);
    let complete = |place: &&(u32, u64)| {
        base.contains_key(*place) && (champion.is_empty() || champion.contains_key(*place))
    };
    challenger.keys().filter(complete).copied().collect()
}

fn sides(images: &[EvaluationImage]) -> [BTreeMap<(u32, u64), &EvaluationImage>; 3] {
    [EvaluationRole::Challenger, EvaluationRole::Base, EvaluationRole::Champion]
        .map(|role| of_role(images, role))
}

/// What the backend measures. `all`: tests of copying included.
pub(crate) fn request(
    facts: &Facts,
    images: &[EvaluationImage],
    suite: &Suite,
    found: &Found,
    all: bool,
) -> MeasureRequest {
    let places = places(images);
    let [challenger, base, champion] = sides(images).map(|side| seen(&places, &side, found));
    let text = |(prompt, _): &(u32, u64)| {
        let prompt = suite.prompts.get(*prompt as usize)?;
        found.texts.get(&suite.score_text(prompt)).cloned()
    };
    let kept = |hashes: &[String], of: &HashMap<String, Vec<f32>>| -> Vec<Vec<f32>> {
        hashes.iter().filter_map(|hash| of.get(hash).cloned()).collect()
    };
    let untriggered = of_role(images, EvaluationRole::Untriggered);
    let captions = captions(images);
    let copying = all.then(|| CopyingRequest {
        captions: captions.iter().filter_map(|(_, ours, _)| found.maps.get(&ours.hash).cloned()).collect(),
        base_captions: captions
            .iter()
            .filter_map(|(_, _, theirs)| found.maps.get(&theirs.hash).cloned())
            .collect(),
        own: captions.iter().map(|(place, ..)| *place as usize).collect(),
        training: kept(&facts.training, &found.maps),
        held_out: kept(&facts.held_out, &found.maps),
    });
    MeasureRequest {
        prompts: places.iter().map(|(prompt, _)| *prompt).collect(),
        texts: places.iter().filter_map(text).collect(),
        challenger,
        base,
        champion,
        untriggered: seen(&untriggered.keys().copied().collect::<Vec<_>>(), &untriggered, found),
        held_out: Seen {
            embeddings: kept(&facts.held_out, &found.images),
            styles: kept(&facts.held_out, &found.styles),
        },
        copying: copying.filter(|copying| !copying.captions.is_empty()),
    }
}

fn seen(places: &[(u32, u64)], side: &BTreeMap<(u32, u64), &EvaluationImage>, found: &Found) -> Seen {
    let features = |of: &HashMap<String, Vec<f32>>| -> Vec<Vec<f32>> {
        places.iter().filter_map(|place| of.get(&side.get(place)?.hash).cloned()).collect()
    };
    Seen { embeddings: features(&found.images), styles: features(&found.styles) }
}

/// Pairs of images of a training caption: its place, the version's and the base's.
fn captions(images: &[EvaluationImage]) -> Vec<(u32, &EvaluationImage, &EvaluationImage)> {
    let base = of_role(images, EvaluationRole::BaseCaption);
    let ours = of_role(images, EvaluationRole::Caption);
    ours.iter().filter_map(|(place, ours)| Some((place.0, *ours, *base.get(place)?))).collect()
}

/// sha256 of which images there are.
pub(crate) fn digest(images: &[EvaluationImage]) -> String {
    let images: Vec<_> =
        images.iter().map(|image| (image.role.name(), image.prompt, image.seed, &image.hash)).collect();
    super::steps::digest(&serde_json::json!(images).to_string())
}

impl Scored {
    pub(crate) fn new(images: Vec<EvaluationImage>, measured: Measurements, found: &Found) -> Self {
        let flat = images.iter().filter(|image| found.flat.get(&image.hash) == Some(&true));
        let flat = flat.map(|image| image.hash.clone()).collect();
        let output = Output { measured, flat };
        let text = serde_json::json!(output).to_string();
        // As it will be read: a number's last digit may change on the way.
        let output = serde_json::from_str(&text).unwrap_or(output);
        Self::of(images, output, text)
    }

    /// From the stored output of an evaluation of the same images; `None`: it cannot be read.
    pub(crate) fn stored(images: Vec<EvaluationImage>, text: String) -> Option<Self> {
        let output = serde_json::from_str(&text).ok()?;
        Some(Self::of(images, output, text))
    }

    fn of(mut images: Vec<EvaluationImage>, output: Output, text: String) -> Self {
        let Output { measured, flat } = output;
        let places = places(&images);
        let roles = [EvaluationRole::Challenger, EvaluationRole::Base, EvaluationRole::Champion];
        for (side, role) in roles.into_iter().enumerate() {
            for image in images.iter_mut().filter(|image| image.role == role) {
                let Some(at) = places.iter().position(|place| *place == (image.prompt, image.seed)) else {
                    continue;
                };
                image.clip_score = measured.clip_scores[side].get(at).copied();
                image.style_margin = measured.style_margins[side].get(at).copied();
            }
        }
        Self { images, measured, flat, output: text }
    }

    /// Scores to store.
    pub(crate) fn rows(&self) -> Vec<ImageScore> {
        let scored = self.images.iter().filter(|image| image.clip_score.is_some());
        scored
            .map(|image| ImageScore {
                role: image.role,
                prompt: image.prompt,
                seed: image.seed,
                clip_score: image.clip_score,
                style_margin: image.style_margin,
            })
            .collect()
    }

    fn scores(&self, role: EvaluationRole, value: impl Fn(&EvaluationImage) -> Option<f64>) -> Vec<Score> {
        let those = self.images.iter().filter(|image| image.role == role);
        those
            .filter_map(|image| {
                Some(Score { prompt: image.prompt as usize, seed: image.seed, value: value(image)? })
            })
            .collect()
    }
}

/// What was rendered with the version.
const OF_VERSION: [EvaluationRole; 3] =
    [EvaluationRole::Challenger, EvaluationRole::Untriggered, EvaluationRole::Caption];

/// Whether images of a role are rendered with the version.
pub(crate) fn is_of_version(role: EvaluationRole) -> bool {
    OF_VERSION.contains(&role)
}

fn floors(scored: &Scored, facts: &Facts, failed: usize) -> FloorEvidence {
    let of_base = |role| !is_of_version(role) && role != EvaluationRole::Champion;
    let base: HashMap<(&str, u64), &str> = scored
        .images
        .iter()
        .filter(|image| of_base(image.role))
        .map(|image| ((image.text.as_str(), image.seed), image.hash.as_str()))
        .collect();
    let ours: Vec<&EvaluationImage> =
        scored.images.iter().filter(|image| is_of_version(image.role)).collect();
    let same_text: Vec<bool> = ours
        .iter()
        .filter_map(|image| Some(*base.get(&(image.text.as_str(), image.seed))? == image.hash))
        .collect();
    FloorEvidence {
        applied_layers: facts.applied_layers,
        images: ours.len() + failed,
        failed,
        flat: ours.iter().filter(|image| scored.flat.contains(&image.hash)).count(),
        compared: same_text.len(),
        unchanged: same_text.into_iter().filter(|same| *same).count(),
        seconds: ours.iter().map(|image| image.seconds).collect(),
    }
}

/// The gate's evidence.
pub(crate) fn of(scored: &Scored, facts: &Facts, about: About) -> Evidence {
    use EvaluationRole::{Base, Challenger, Champion};
    let [_, _, champion] = sides(&scored.images);
    let failed = about.failed.iter().filter(|image| is_of_version(image.role)).count();
    let floors = floors(scored, facts, failed);
    let reference = if champion.is_empty() { Base } else { Champion };
    let adherence = Paired {
        challenger: scored.scores(Challenger, |image| image.clip_score),
        reference: scored.scores(Base, |image| image.clip_score),
    };
    let style = Paired {
        challenger: scored.scores(Challenger, |image| image.style_margin),
        reference: scored.scores(reference, |image| image.style_margin),
    };
    let captions = captions(&scored.images);
    let copying = scored.measured.copying.as_ref().map(|found| CopyingEvidence {
        approach: captions
            .iter()
            .zip(&found.approach)
            .map(|((caption, ..), (gain, way))| Approach { caption: *caption, gain: *gain, way: *way })
            .collect(),
        z: found.z,
        generated: found.own_nearest.len(),
        held_out: facts.held_out.len(),
        own_nearest: found.own_nearest.clone(),
        base_own_nearest: found.base_own_nearest.clone(),
    });
    Evidence {
        floors,
        adherence: (!adherence.challenger.is_empty()).then_some(adherence),
        style: (!style.challenger.is_empty()).then_some(style),
        style_goal: scored.measured.style_goal,
        copying,
        champion: about.champion,
        judge: about.judge,
        lacks: facts.lacks.clone(),
        people: None,
    }
}

/// A verdict with its evidence.
pub(crate) fn verdict(
    verdict: gate::Verdict,
    scored: &Scored,
    facts: &Facts,
    (stopped_early, failed): (Option<String>, Vec<FailedImage>),
    policy_hash: String,
) -> EvaluationVerdict {
    let captions = captions(&scored.images);
    let nearest = scored.measured.copying.iter().flat_map(|found| &found.nearest);
    let mut suspects: Vec<Suspect> = captions
        .iter()
        .zip(nearest)
        .filter_map(|((own, image, _), (found, cosine))| {
            Some(Suspect {
                image: image_url(&image.hash),
                text: image.text.clone(),
                training_image: thumbnail_url(&facts.dataset, facts.training.get(*found)?),
                cosine: *cosine,
                own: *own as usize == *found,
            })
        })
        .collect();
    suspects.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
    suspects.truncate(SUSPECTS);
    EvaluationVerdict {
        outcome: verdict.outcome,
        criteria: verdict.criteria.into_iter().map(criterion).collect(),
        metrics: scored.measured.metrics.clone(),
        suspects,
        flat: scored.flat.iter().cloned().collect(),
        failed,
        held_out: facts.held_out.iter().map(|hash| thumbnail_url(&facts.dataset, hash)).collect(),
        stopped_early,
        policy_hash,
    }
}

fn criterion(criterion: Criterion) -> EvaluationCriterion {
    let kind = serde_json::to_value(criterion.kind).ok();
    EvaluationCriterion {
        kind: kind.and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default(),
        outcome: criterion.outcome,
        muted: criterion.muted,
        reason: criterion.reason,
        value: criterion.value,
        bounds: criterion.bounds.map(|(lower, upper)| Bounds { lower, upper }),
        threshold: criterion.threshold,
        p: criterion.p,
        prompts: criterion.prompts.into_iter().map(means).collect(),
    }
}

fn means(pair: PromptPair) -> PromptMeans {
    let prompt = u32::try_from(pair.prompt).unwrap_or(u32::MAX);
    PromptMeans { prompt, challenger: pair.challenger, reference: pair.reference }
}
