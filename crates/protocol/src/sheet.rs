//! Sheets: grids of images that differ in two or three settings and share everything else, the seed included.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{AdapterUse, FieldError, GenerationRequest, GenerationSpec};

/// Most values of an axis.
const MAX_VALUES: usize = 20;
/// Most cells of a sheet.
const MAX_CELLS: usize = 200;
/// Longest title.
const MAX_TITLE_CHARS: usize = 120;

/// What differs along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SheetSetting {
    /// Adapter versions, such as `adire@v2`; `none` is the base model.
    Version,
    /// Steps of the request's training run at which it saves its adapter; cells follow once it has. None becomes a version.
    Checkpoint,
    /// Strength of the cell's adapters.
    Strength,
    /// Prompts.
    Prompt,
    /// Seeds.
    Seed,
    /// Samplers.
    Sampler,
    /// Numbers of steps.
    Steps,
    /// Guidance scales.
    Guidance,
}

impl SheetSetting {
    /// Every one. A later one is applied after an earlier one: a strength is that of the cell's version.
    pub const ALL: [Self; 8] = [
        Self::Version,
        Self::Checkpoint,
        Self::Strength,
        Self::Prompt,
        Self::Seed,
        Self::Sampler,
        Self::Steps,
        Self::Guidance,
    ];

    /// As requests have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Checkpoint => "checkpoint",
            Self::Strength => "strength",
            Self::Prompt => "prompt",
            Self::Seed => "seed",
            Self::Sampler => "sampler",
            Self::Steps => "steps",
            Self::Guidance => "guidance",
        }
    }

    /// As pages and files call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Version => "Adapter version",
            Self::Checkpoint => "Checkpoint (step)",
            Self::Strength => "Adapter strength",
            Self::Prompt => "Prompt",
            Self::Seed => "Seed",
            Self::Sampler => "Sampler",
            Self::Steps => "Steps",
            Self::Guidance => "Guidance scale",
        }
    }

    /// The one of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.name() == name)
    }

    /// Puts a value into a request; a sentence where it is none. `run`: `name@RUN`.
    fn apply(self, value: &str, run: &str, request: &mut GenerationRequest) -> Result<(), String> {
        fn number<T: std::str::FromStr>(what: &str, value: &str) -> Result<T, String> {
            value.parse().map_err(|_| format!("{what} “{value}” is not a number."))
        }
        match self {
            Self::Version if value == "none" => request.adapters.clear(),
            Self::Version => {
                let strength = request.adapters.first().map_or(1.0, |used| used.strength);
                request.adapters = vec![AdapterUse::new(value, strength)];
            }
            Self::Checkpoint => {
                let step: u32 = number("The step", value)?;
                let strength = request.adapters.first().map_or(1.0, |used| used.strength);
                request.adapters = vec![AdapterUse::new(format!("{run}/{step}"), strength)];
            }
            Self::Strength => {
                let strength = number("The strength", value)?;
                for used in &mut request.adapters {
                    (used.strength, used.te_strength) = (strength, None);
                }
            }
            Self::Prompt => value.clone_into(&mut request.prompt),
            Self::Seed => request.seed = Some(number("The seed", value)?),
            Self::Sampler => {
                request.sampler = Some(value.parse().map_err(|error| format!("{error}."))?);
            }
            Self::Steps => request.steps = Some(number("The number of steps", value)?),
            Self::Guidance => request.guidance = Some(number("The guidance scale", value)?),
        }
        Ok(())
    }
}

/// An axis of a sheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SheetAxis {
    /// What differs.
    pub setting: SheetSetting,
    /// Its values, at most 20, as text. Of `checkpoint` they may be absent: then up to 20 of the steps at which the run saves
    /// its adapter are taken.
    #[serde(default)]
    pub values: Vec<String>,
}

/// A request for a sheet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SheetRequest {
    /// Up to 120 characters; may be empty.
    #[serde(default)]
    pub title: String,
    /// What all cells share. Without a seed one is drawn, the same for all cells; `count` is ignored.
    pub base: GenerationRequest,
    /// One to three axes, at most 200 cells: columns, rows, and tables below each other.
    pub axes: Vec<SheetAxis>,
    /// The training run of the axis `checkpoint`: its id. Records have `name@id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

impl SheetRequest {
    /// Checks what can be checked without a model.
    ///
    /// # Errors
    /// A sentence for each thing that is wrong.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut error =
            |field: &str, message: String| errors.push(FieldError { field: field.to_owned(), message });
        if self.title.chars().count() > MAX_TITLE_CHARS {
            error("title", format!("The title must have at most {MAX_TITLE_CHARS} characters."));
        }
        if !(1..=3).contains(&self.axes.len()) {
            error("axes", format!("A sheet has one to three axes; got {}.", self.axes.len()));
        }
        let mut seen = BTreeSet::new();
        for axis in &self.axes {
            let name = axis.setting.name();
            if !seen.insert(axis.setting) {
                error("axes", format!("The axis {name} is there twice."));
            }
            if !(1..=MAX_VALUES).contains(&axis.values.len()) {
                let count = axis.values.len();
                error("axes", format!("The axis {name} must have 1 to {MAX_VALUES} values; got {count}."));
            }
            let distinct: BTreeSet<&String> = axis.values.iter().collect();
            if distinct.len() < axis.values.len() {
                error("axes", format!("A value of the axis {name} is there twice."));
            }
            for value in &axis.values {
                if let Err(message) = axis.setting.apply(value, "", &mut GenerationRequest::default()) {
                    error("axes", message);
                }
            }
        }
        let varies = |setting| self.axes.iter().any(|axis| axis.setting == setting);
        if varies(SheetSetting::Checkpoint) != self.run.is_some() {
            let message = "The axis checkpoint and a training run belong together: set both, or neither.";
            error("run", message.to_owned());
        }
        if varies(SheetSetting::Checkpoint) && varies(SheetSetting::Version) {
            error("axes", "A cell has one adapter: choose version or checkpoint.".to_owned());
        }
        let chooses = varies(SheetSetting::Version) || varies(SheetSetting::Checkpoint);
        if varies(SheetSetting::Strength) && self.base.adapters.is_empty() && !chooses {
            error("axes", "A strength needs an adapter: choose one, or add the axis version.".to_owned());
        }
        if self.cells() > MAX_CELLS {
            error("axes", format!("The sheet would have {} cells; the limit is {MAX_CELLS}.", self.cells()));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// The number of cells.
    pub fn cells(&self) -> usize {
        self.axes.iter().map(|axis| axis.values.len()).product()
    }

    /// The values of a cell, one for each axis. Cells are counted along the first axis, then along the second.
    pub fn values(&self, cell: usize) -> Vec<&str> {
        let mut rest = cell;
        self.axes
            .iter()
            .filter_map(|axis| {
                let count = axis.values.len().max(1);
                let value = axis.values.get(rest % count);
                rest /= count;
                value.map(String::as_str)
            })
            .collect()
    }

    /// The request of a cell.
    ///
    /// # Errors
    /// A sentence: a value is none of its setting. Never after [`Self::check`].
    pub fn request(&self, cell: usize) -> Result<GenerationRequest, String> {
        let mut request = GenerationRequest { count: Some(1), ..self.base.clone() };
        let values = self.values(cell);
        let mut set: Vec<_> = self.axes.iter().map(|axis| axis.setting).zip(values).collect();
        set.sort_by_key(|(setting, _)| *setting);
        for (setting, value) in set {
            setting.apply(value, self.run.as_deref().unwrap_or_default(), &mut request)?;
        }
        Ok(request)
    }

    /// The step of the training run that a cell waits for.
    pub fn step(&self, cell: usize) -> Option<u32> {
        let at = self.axes.iter().position(|axis| axis.setting == SheetSetting::Checkpoint)?;
        self.values(cell).get(at)?.parse().ok()
    }

    /// The id of the training run.
    pub fn run_id(&self) -> Option<&str> {
        self.run.as_deref().map(|run| run.rsplit('@').next().unwrap_or(run))
    }
}

/// How a sheet stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SheetState {
    /// Cells are missing.
    #[default]
    Running,
    /// Every cell has ended.
    Done,
    /// It was cancelled; what was made stays.
    Cancelled,
}

impl SheetState {
    /// As on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A sheet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SheetRecord {
    /// A UUID.
    pub id: String,
    /// The request, with exact versions and a seed.
    pub request: SheetRequest,
    /// How it stands.
    pub state: SheetState,
    /// Cells with an image.
    pub done: u32,
    /// Cells that failed, were cancelled, or whose image was deleted.
    pub failed: u32,
    /// All cells.
    pub cells: u32,
    /// In milliseconds since 1970 (UTC).
    pub created_at: i64,
}

/// How a cell stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SheetCellState {
    /// It is not in the queue yet.
    #[default]
    Waiting,
    /// It is in the queue.
    Queued,
    /// It is being generated.
    Running,
    /// It has an image.
    Done,
    /// It failed; `error` says why.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// Its image was deleted.
    Deleted,
}

/// A cell: an ordinary generation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SheetCell {
    /// The values of the axes, in their order.
    pub values: Vec<String>,
    /// How it stands.
    pub state: SheetCellState,
    /// Id of its generation.
    pub generation: Option<String>,
    /// Its settings, once it is in the queue.
    pub spec: Option<GenerationSpec>,
    /// Hash of its image.
    pub image: Option<String>,
    /// Address of its image.
    pub url: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
}

/// A sheet with its cells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SheetDetail {
    /// The sheet.
    pub sheet: SheetRecord,
    /// Along the first axis, then along the second, then along the third.
    pub cells: Vec<SheetCell>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(axes: &[(SheetSetting, &[&str])]) -> SheetRequest {
        let axis = |(setting, values): &(SheetSetting, &[&str])| SheetAxis {
            setting: *setting,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let base = GenerationRequest { prompt: "moons".to_owned(), seed: Some(7), ..Default::default() };
        SheetRequest { base, axes: axes.iter().map(axis).collect(), ..SheetRequest::default() }
    }

    #[test]
    fn a_checkpoint_is_the_adapter_of_its_cells() {
        let run = "0199c0de-0000-7000-8000-000000000000";
        let axes: &[(SheetSetting, &[&str])] =
            &[(SheetSetting::Strength, &["0.5", "1"]), (SheetSetting::Checkpoint, &["4", "8"])];
        let request = SheetRequest { run: Some(format!("cloth@{run}")), ..sheet(axes) };
        request.check().unwrap();
        assert_eq!(request.run_id(), Some(run));
        assert_eq!(request.step(2), Some(8));
        let name = format!("cloth@{run}/8");
        assert_eq!(request.request(2).unwrap().adapters, [AdapterUse::new(&name, 0.5)]);
        let parsed: crate::AdapterRef = name.parse().unwrap();
        assert_eq!(parsed.which, crate::Which::Checkpoint { run: run.to_owned(), step: 8 });
        assert_eq!(parsed.to_string(), name);
        for wrong in ["cloth@x/8", "cloth@0199c0de-0000-7000-8000-000000000000/+8", "cloth@../8", "cloth@/8"]
        {
            assert!(wrong.parse::<crate::AdapterRef>().is_err(), "{wrong}");
        }
        assert!(sheet(axes).check().is_err(), "no run");
    }

    #[test]
    fn cells_are_every_combination_once() {
        let request = sheet(&[
            (SheetSetting::Strength, &["0.5", "1"]),
            (SheetSetting::Version, &["none", "adire@v1", "adire@v2"]),
            (SheetSetting::Steps, &["4", "8"]),
        ]);
        request.check().unwrap();
        assert_eq!(request.cells(), 12);
        let all: BTreeSet<Vec<&str>> = (0..12).map(|cell| request.values(cell)).collect();
        assert_eq!(all.len(), 12);
        assert_eq!(request.values(1), ["1", "none", "4"]);
        assert_eq!(request.values(2), ["0.5", "adire@v1", "4"]);
        assert_eq!(request.values(6), ["0.5", "none", "8"]);
        // The strength is that of the cell's version, in whatever order the axes are.
        let cell = request.request(3).unwrap();
        assert_eq!(cell.adapters, [AdapterUse::new("adire@v1", 1.0)]);
        assert_eq!((cell.seed, cell.steps, cell.count), (Some(7), Some(4), Some(1)));
        assert_eq!(request.request(6).unwrap().adapters, []);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let many: Vec<String> = (0..21).map(|seed| seed.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (axes, words) in [
            (&[][..], "one to three axes; got 0"),
            (&[(SheetSetting::Seed, &["1"][..]), (SheetSetting::Seed, &["2"])], "seed is there twice"),
            (&[(SheetSetting::Seed, &[][..])], "1 to 20 values; got 0"),
            (&[(SheetSetting::Seed, &many[..])], "1 to 20 values; got 21"),
            (&[(SheetSetting::Seed, &["1", "1"][..])], "A value of the axis seed is there twice"),
            (&[(SheetSetting::Steps, &["many"][..])], "number of steps “many” is not a number"),
            (&[(SheetSetting::Sampler, &["nice"][..])], "nice"),
            (&[(SheetSetting::Strength, &["1"][..])], "needs an adapter"),
            (
                &[
                    (SheetSetting::Seed, &many[..20]),
                    (SheetSetting::Steps, &many[1..12]),
                    (SheetSetting::Prompt, &["a"][..]),
                ],
                "would have 220 cells; the limit is 200",
            ),
        ] {
            let errors = sheet(axes).check().unwrap_err();
            assert!(errors.iter().any(|error| error.message.contains(words)), "{words}: {errors:?}");
        }
    }
}
