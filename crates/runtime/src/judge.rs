//! The judge beside a model: opened when first needed, because most requests need none.

use std::path::{Path, PathBuf};

use adire_engine::{
    Device, EngineError, Rgb8,
    metric::{Judge, floors::is_flat, judge::REVISION},
};
use adire_protocol::is_repository;
use adire_studio::{BackendError, FeatureRequest, FeatureSet, JudgeInfo};

use crate::error::backend_error;

/// The folder in which a model brings a judge of its own.
const OWN: &str = "clip";
/// What to do without a judge.
const MISSING: &str = "There is no judge to score images by: the model folder has no `clip`. Run `adire models pull \
    openai/clip-vit-large-patch14`, or name the folder of a CLIP with --judge (ADIRE_JUDGE).";

/// A folder with a CLIP in Hugging Face layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeFolder {
    /// For people: its name on the Hugging Face Hub, or the folder's.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
}

/// What takes over features of the judge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JudgeParts {
    /// A DINOv2, for maps.
    pub dinov2: Option<JudgeFolder>,
    /// A CSD, for styles: a safetensors file or a folder.
    pub csd: Option<JudgeFolder>,
}

impl JudgeParts {
    /// Those that there are, with their names.
    fn names(&self) -> impl Iterator<Item = &str> {
        [&self.dinov2, &self.csd].into_iter().flatten().map(|part| part.name.as_str())
    }
}

impl JudgeFolder {
    /// A folder by its own name.
    pub fn at(path: &Path) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self { name, path: path.to_owned() }
    }

    /// The judge in a model's own folder, if it has one.
    pub fn of_model(model: &Path) -> Option<Self> {
        let path = model.join(OWN);
        let model = model.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        path.join("config.json").is_file().then(|| Self { name: format!("{model}/{OWN}"), path })
    }
}

/// A judge that may be open.
pub(crate) struct JudgeSlot {
    folder: Option<JudgeFolder>,
    parts: JudgeParts,
    device: Device,
    opened: Option<Judge>,
}

impl JudgeSlot {
    /// The model's own judge, if it has one.
    pub(crate) fn of_model(model: &Path, device: &Device) -> Self {
        let folder = JudgeFolder::of_model(model);
        Self { folder, parts: JudgeParts::default(), device: device.clone(), opened: None }
    }

    /// With features taken over by `parts`.
    pub(crate) fn with_parts(self, parts: JudgeParts) -> Self {
        Self { parts, opened: None, ..self }
    }

    /// Another one on the same device.
    pub(crate) fn moved_to(self, folder: JudgeFolder) -> Self {
        Self { folder: Some(folder), opened: None, ..self }
    }

    /// What its name and hash are.
    pub(crate) fn info(&mut self) -> Result<JudgeInfo, BackendError> {
        let parts = self.parts.clone();
        let (judge, name) = self.open()?;
        let names: Vec<&str> = std::iter::once(name).chain(parts.names()).collect();
        Ok(JudgeInfo { name: names.join(" + "), hash: judge.hash().to_owned(), revision: REVISION })
    }

    /// The features of images and texts, by the judge's models.
    pub(crate) fn features(&mut self, request: &FeatureRequest) -> Result<FeatureSet, BackendError> {
        let (judge, _) = self.open()?;
        let image = |pixels: &adire_studio::Pixels| Rgb8 {
            width: pixels.width,
            height: pixels.height,
            data: pixels.rgb.clone(),
        };
        let images: Vec<Rgb8> = request.images.iter().map(image).collect();
        let texts: Vec<&str> = request.texts.iter().map(String::as_str).collect();
        let seen = judge.images(&images).map_err(|error| backend_error(&error))?;
        let texts = judge.texts(&texts).map_err(|error| backend_error(&error))?;
        let flat = images.iter().map(|image| is_flat(&image.data)).collect();
        let mut found = FeatureSet { texts, flat, ..FeatureSet::default() };
        for features in seen {
            found.images.push(features.embedding);
            found.styles.push(features.style);
            if request.maps {
                found.maps.push(features.map);
            }
        }
        Ok(found)
    }

    fn open(&mut self) -> Result<(&Judge, &str), BackendError> {
        let folder = self.folder.as_ref().ok_or_else(|| BackendError::Failed(MISSING.to_owned()))?;
        let judge = match self.opened.take() {
            Some(judge) => judge,
            None => {
                if let Some(message) = absent(folder, &self.parts) {
                    return Err(BackendError::Failed(message));
                }
                load(&folder.path, &self.parts, &self.device).map_err(|error| backend_error(&error))?
            }
        };
        Ok((self.opened.insert(judge), &folder.name))
    }
}

/// Which of them is not there, and what fetches it.
fn absent(judge: &JudgeFolder, parts: &JudgeParts) -> Option<String> {
    let named = [("judge", Some(judge)), ("DINOv2", parts.dinov2.as_ref()), ("CSD", parts.csd.as_ref())];
    let (what, folder) = named.into_iter().find_map(|(what, folder)| {
        folder.filter(|folder| !folder.path.exists()).map(|folder| (what, folder))
    })?;
    let (path, option) = (folder.path.display().to_string(), what.to_lowercase());
    let fetch = if is_repository(&path) {
        let file = if what == "CSD" { " --file model.safetensors" } else { "" };
        format!("Run `adire models pull {path}{file}`, or name")
    } else {
        "Name".to_owned()
    };
    Some(format!(
        "The {what} {path} was not found. {fetch} another one with --{option} (ADIRE_{}).",
        option.to_uppercase()
    ))
}

fn load(folder: &Path, parts: &JudgeParts, device: &Device) -> Result<Judge, EngineError> {
    let mut judge = Judge::load(folder, device)?;
    if let Some(dinov2) = &parts.dinov2 {
        judge = judge.with_dinov2(&dinov2.path)?;
    }
    match &parts.csd {
        Some(csd) => judge.with_csd(&csd.path),
        None => Ok(judge),
    }
}

#[cfg(test)]
mod tests {
    use adire_studio::Pixels;

    use super::*;

    fn golden(name: &str) -> PathBuf {
        Path::new("../engine/tests/goldens").join(name)
    }

    #[test]
    fn features_of_a_request() {
        let folder = JudgeFolder { name: "golden".to_owned(), path: golden("judge/clip") };
        let mut slot = JudgeSlot::of_model(&golden("pipeline"), &Device::Cpu).moved_to(folder);
        let info = slot.info().unwrap();
        assert_eq!((info.name.as_str(), info.hash.len(), info.revision), ("golden", 64, REVISION));
        let image = Pixels { width: 9, height: 30, rgb: vec![70; 3 * 9 * 30] };
        let mut request =
            FeatureRequest { images: vec![image; 2], texts: vec!["red flower".to_owned()], maps: false };
        let found = slot.features(&request).unwrap();
        assert_eq!((found.images.len(), found.maps.len(), found.texts.len()), (2, 0, 1));
        assert_eq!(found.images[0].len(), found.texts[0].len());
        request.maps = true;
        let found = slot.features(&request).unwrap();
        assert_eq!(found.maps[0].len(), 16 * 32);
        let part = |name: &str| Some(JudgeFolder { name: name.to_owned(), path: golden("judge").join(name) });
        let parts = JudgeParts { dinov2: part("dinov2"), csd: part("csd.safetensors") };
        let mut both = slot.with_parts(parts);
        let with_parts = both.info().unwrap();
        assert_eq!(with_parts.name, "golden + dinov2 + csd.safetensors");
        assert_ne!(with_parts.hash, info.hash);
        assert_eq!(both.features(&request).unwrap().styles[0].len(), 16);
        let mut slot = both.with_parts(JudgeParts::default());
        request.images[1].rgb.pop();
        assert!(slot.features(&request).unwrap_err().to_string().contains("9 × 30"));
    }

    /// Where a value changes, the judge's revision must grow: stored scores of older programs are found by it.
    #[test]
    fn changed_features_have_another_revision() {
        let part = |name: &str| Some(JudgeFolder { name: name.to_owned(), path: golden("judge").join(name) });
        let clip = JudgeFolder { name: "golden".to_owned(), path: golden("judge/clip") };
        let slot = || JudgeSlot::of_model(&golden("pipeline"), &Device::Cpu).moved_to(clip.clone());
        let rgb = (0..3 * 24 * 20).map(|at: u32| (at * at / 7 % 251) as u8).collect();
        let request = FeatureRequest {
            images: vec![Pixels { width: 24, height: 20, rgb }],
            texts: vec!["red flower".to_owned()],
            maps: true,
        };
        // One number of each kind that every feature has a part in.
        let weighed = |values: &[f32]| -> f64 {
            values.iter().zip(0_u32..).map(|(value, at)| f64::from(*value) * f64::from(at * 7 % 11)).sum()
        };
        let alone = slot().features(&request).unwrap();
        let parts = JudgeParts { dinov2: part("dinov2"), csd: part("csd.safetensors") };
        let with_parts = slot().with_parts(parts).features(&request).unwrap();
        let found = [
            weighed(&alone.images[0]),
            weighed(&alone.texts[0]),
            weighed(&alone.styles[0]),
            weighed(&alone.maps[0]),
            weighed(&with_parts.styles[0]),
            weighed(&with_parts.maps[0]),
        ];
        let known = (2, [3.7209, 5.1856, 16.2466, -24.3277, -3.2853, 2.9505]);
        assert_eq!(REVISION, known.0, "note the new revision and its values: {found:?}");
        for (found_one, known_one) in found.iter().zip(known.1) {
            assert!(
                (found_one - known_one).abs() < 1e-3,
                "features were {known:?} and are {found:?}: raise REVISION"
            );
        }
    }

    #[test]
    fn a_model_without_a_judge_says_which_command_fetches_one() {
        let mut slot = JudgeSlot::of_model(&golden("pipeline"), &Device::Cpu);
        let error = slot.info().unwrap_err().to_string();
        assert!(error.contains("adire models pull openai/clip-vit-large-patch14"), "{error}");
    }

    #[test]
    fn what_is_named_and_not_there_says_which_command_fetches_it() {
        let at = |name: &str| JudgeFolder::at(Path::new(name));
        let message = |judge: JudgeFolder, parts: JudgeParts| {
            let slot = JudgeSlot::of_model(&golden("pipeline"), &Device::Cpu).moved_to(judge);
            slot.with_parts(parts).info().unwrap_err().to_string()
        };
        let judge = || JudgeFolder { name: "golden".to_owned(), path: golden("judge/clip") };
        assert_eq!(
            message(at("openai/clip-vit-base-patch32"), JudgeParts::default()),
            "The judge openai/clip-vit-base-patch32 was not found. Run `adire models pull \
             openai/clip-vit-base-patch32`, or name another one with --judge (ADIRE_JUDGE)."
        );
        let dinov2 = Some(at("facebook/dinov2-base"));
        let found = message(judge(), JudgeParts { dinov2, csd: None });
        assert!(
            found.contains("`adire models pull facebook/dinov2-base`") && found.contains("--dinov2"),
            "{found}"
        );
        let csd = Some(at("yuxi-liu-wired/CSD"));
        let found = message(judge(), JudgeParts { dinov2: None, csd });
        assert!(found.contains("pull yuxi-liu-wired/CSD --file model.safetensors`"), "{found}");
        let found = message(at("/no/such/folder"), JudgeParts::default());
        assert_eq!(
            found,
            "The judge /no/such/folder was not found. Name another one with --judge (ADIRE_JUDGE)."
        );
    }

    #[test]
    fn the_starter_model_brings_its_own() {
        let starter = Path::new("../../models/starter");
        let mut slot = JudgeSlot::of_model(starter, &Device::Cpu);
        assert_eq!(slot.info().unwrap().name, "starter/clip");
        let texts = ["red stars on white cloth", "blue fish on a yellow ground"].map(str::to_owned).to_vec();
        let found = slot.features(&FeatureRequest { texts, ..FeatureRequest::default() }).unwrap();
        let cosine: f32 = found.texts[0].iter().zip(&found.texts[1]).map(|(a, b)| a * b).sum();
        assert!(cosine < 0.9, "{cosine}");
    }
}
