//! Keys of JSON objects that have been renamed. Either name is read, in requests, in stored rows and in the recipes of old
//! images; responses and rows have both, for clients and versions that know the old one alone.

use serde_json::Value;

/// A renamed key of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// Name of the object's schema in the OpenAPI document.
    pub schema: &'static str,
    /// Its name now.
    pub now: &'static str,
    /// Its name before.
    pub before: &'static str,
}

const fn renamed(schema: &'static str, now: &'static str, before: &'static str) -> Renamed {
    Renamed { schema, now, before }
}

/// All of them.
pub const RENAMED: [Renamed; 10] = [
    renamed("HiresRequest", "denoising_strength", "strength"),
    renamed("HiresSpec", "denoising_strength", "strength"),
    renamed("TrainingSettings", "yield_to_generations", "pause_while_people_wait"),
    renamed("TrainingJob", "phase", "stage"),
    renamed("TrainingJob", "learning_rate_halved", "halved"),
    renamed("TrainingDetail", "run", "job"),
    renamed("TrainingEvent", "run", "job"),
    renamed("DatasetSummary", "images", "pictures"),
    renamed("DatasetRecord", "images", "pictures"),
    renamed("DatasetRecord", "warnings", "remarks"),
];

fn of(schema: &str) -> impl Iterator<Item = &'static Renamed> {
    RENAMED.iter().filter(move |renamed| renamed.schema == schema)
}

/// Adds the old names to an object that has the new ones.
pub(crate) fn add(schema: &str, value: &mut Value) {
    let Some(object) = value.as_object_mut() else { return };
    for Renamed { now, before, .. } in of(schema) {
        if let Some(value) = object.get(*now).cloned() {
            object.insert((*before).to_owned(), value);
        }
    }
}

/// Takes the old names out of an object; they count where the new ones are absent.
pub(crate) fn take(schema: &str, value: &mut Value) {
    let Some(object) = value.as_object_mut() else { return };
    for Renamed { now, before, .. } in of(schema) {
        if let Some(value) = object.remove(*before) {
            object.entry(*now).or_insert(value);
        }
    }
}

/// Implements `Serialize` for types that derive it with `#[serde(remote = "Self")]`, as a method of their own, so that they
/// have the old names of their schema too.
macro_rules! send_old_names {
    ($($type:ident as $schema:literal),* $(,)?) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let value = $type::serialize(self, serde_json::value::Serializer);
                let mut value = value.map_err(serde::ser::Error::custom)?;
                crate::old_names::add($schema, &mut value);
                serde::Serialize::serialize(&value, serializer)
            }
        }
    )*};
}

/// The same for `Serialize` and `Deserialize`.
macro_rules! keep_old_names {
    ($($type:ident as $schema:literal),* $(,)?) => {$(
        crate::old_names::send_old_names! { $type as $schema }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut value = <serde_json::Value as serde::Deserialize>::deserialize(deserializer)?;
                crate::old_names::take($schema, &mut value);
                $type::deserialize(value).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(crate) use keep_old_names;
pub(crate) use send_old_names;

#[cfg(test)]
mod tests {
    use serde::{Serialize, de::DeserializeOwned};
    use serde_json::json;

    use super::*;
    use crate::{
        DatasetRecord, DatasetSummary, HiresRequest, HiresSpec, TrainingEvent, TrainingRun,
        TrainingRunDetail, TrainingSettings,
    };

    /// Both names go out, and each alone, or both, come in.
    fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(schema: &str, old: Value) -> T {
        let read: T = serde_json::from_value(old).unwrap();
        let written = serde_json::to_value(&read).unwrap();
        for Renamed { now, before, .. } in of(schema) {
            assert!(!written[now].is_null() && written[now] == written[before], "{schema}.{now}: {written}");
            for left_out in [now, before, &"neither"] {
                let mut some = written.clone();
                some.as_object_mut().unwrap().remove(*left_out);
                assert_eq!(serde_json::from_value::<T>(some).unwrap(), read, "{schema} without {left_out}");
            }
        }
        read
    }

    #[test]
    fn objects_of_older_versions_are_read_and_their_names_still_sent() {
        check::<HiresRequest>("HiresRequest", json!({"strength": 0.6}));
        let hires = json!({"width": 512, "height": 512, "strength": 0.6, "steps": 9, "upscaler": "image"});
        let hires: HiresSpec = check("HiresSpec", hires);
        assert_eq!(hires.denoising_strength, 0.6);
        let settings: TrainingSettings = check("TrainingSettings", json!({"pause_while_people_wait": false}));
        assert!(!settings.yield_to_generations);
        let run = json!({
            "id": "r", "name": "cloth", "dataset": "d", "dataset_hash": "h", "config": {}, "class_dataset": null,
            "class_prompt": null, "continue_from": null, "note": "", "state": "running", "created_at": 1,
            "started_at": 2, "finished_at": null, "step": 3, "steps": 4, "stage": {"name": "training"}, "ahead": null,
            "seconds_per_step": null, "unit_seconds": null, "waited_seconds": 0.0, "remaining_ms": null, "error": null,
            "halved": true, "version": null, "first_held_out": null, "last_held_out": null, "forecast": null,
        });
        let read: TrainingRun = check("TrainingJob", run.clone());
        assert!(read.learning_rate_halved && read.phase.is_some());
        check::<TrainingRunDetail>("TrainingDetail", json!({"job": run, "points": [], "samples": []}));
        check::<TrainingEvent>("TrainingEvent", json!({"id": 7, "type": "job", "job": run}));
        let summary = json!({
            "id": "d", "name": "cloths", "frozen": null, "created_at": 1, "pictures": 3, "cover": null,
        });
        check::<DatasetSummary>("DatasetSummary", summary);
        let record = json!({
            "id": "d", "name": "cloths", "trigger": "", "caption": "", "frozen": null, "created_at": 1, "pictures": [],
            "remarks": [{"name": "a.gif", "message": "It is animated."}],
        });
        check::<DatasetRecord>("DatasetRecord", record);
    }

    #[test]
    fn unknown_names_are_refused_where_they_were() {
        assert!(serde_json::from_value::<HiresRequest>(json!({"strenght": 0.6})).is_err());
        assert!(serde_json::from_value::<TrainingSettings>(json!({"yield": true})).is_err());
    }
}
