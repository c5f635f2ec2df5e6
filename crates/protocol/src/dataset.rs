//! Datasets: captioned images to train on.

use serde::{Deserialize, Serialize};

use crate::{FieldError, ValidationError, old_names::keep_old_names};

/// Maximum length of a dataset name in characters.
pub const MAX_DATASET_NAME_CHARS: usize = 80;
/// Maximum size of a caption in bytes, well above what the text encoder reads.
pub const MAX_CAPTION_BYTES: usize = 4096;
/// Maximum number of repeats of one image per epoch.
pub const MAX_REPEATS: u32 = 1000;

/// Name, trigger word and default caption of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewDataset {
    /// Display name, 1 to 80 characters.
    pub name: String,
    /// Trigger word, prepended to captions that lack it. May be empty.
    #[serde(default)]
    pub trigger: String,
    /// Caption of images that have none of their own; may be empty.
    #[serde(default)]
    pub caption: String,
}

impl NewDataset {
    /// Validates the fields and trims whitespace.
    ///
    /// # Errors
    /// Every invalid field.
    pub fn validate(self) -> Result<Self, ValidationError> {
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let this = Self {
            name: one_line(&self.name),
            trigger: one_line(&self.trigger),
            caption: one_line(&self.caption),
        };
        let mut problems = Vec::new();
        let mut check = |field: &str, good: bool, message: String| {
            if !good {
                problems.push(FieldError { field: field.to_owned(), message });
            }
        };
        let length = this.name.chars().count();
        check("name", length > 0, "Enter a name.".to_owned());
        check(
            "name",
            length <= MAX_DATASET_NAME_CHARS,
            format!("The name has {length} characters; the limit is {MAX_DATASET_NAME_CHARS}."),
        );
        let length = this.trigger.chars().count();
        check(
            "trigger",
            length <= 100,
            format!("The trigger word has {length} characters; the limit is 100."),
        );
        let length = this.caption.len();
        check(
            "caption",
            length <= MAX_CAPTION_BYTES,
            format!("The caption has {length} bytes; the limit is {MAX_CAPTION_BYTES}."),
        );
        if problems.is_empty() { Ok(this) } else { Err(ValidationError(problems)) }
    }
}

/// A dataset in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(remote = "Self")]
pub struct DatasetSummary {
    /// A UUID.
    pub id: String,
    /// Display name.
    pub name: String,
    /// sha256 of its content once a training run uses it, which freezes the dataset.
    pub frozen: Option<String>,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// Number of images.
    pub images: u32,
    /// Hash of the image shown in lists ([`DatasetImageRecord::hash`]).
    pub cover: Option<String>,
}

/// A dataset with everything in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(remote = "Self")]
pub struct DatasetRecord {
    /// A UUID.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Trigger word, prepended to captions that lack it. May be empty.
    pub trigger: String,
    /// Caption of images that have none of their own; may be empty.
    pub caption: String,
    /// sha256 of its content once a training run uses it, which freezes the dataset.
    pub frozen: Option<String>,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// Sorted by name.
    pub images: Vec<DatasetImageRecord>,
    /// Import warnings: the newest 1000, and a count of the older ones.
    pub warnings: Vec<ImportWarning>,
    /// Id of the dataset of class images imported with it (`reg` of a kohya project).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_dataset: Option<String>,
}

impl DatasetRecord {
    /// Whether it can still be edited.
    pub fn is_draft(&self) -> bool {
        self.frozen.is_none()
    }

    /// URL of an image's thumbnail.
    pub fn thumbnail(&self, image: &str) -> String {
        thumbnail_url(&self.id, image)
    }
}

keep_old_names! { DatasetSummary as "DatasetSummary", DatasetRecord as "DatasetRecord" }

/// URL of the thumbnail of a dataset image.
pub fn thumbnail_url(dataset: &str, image: &str) -> String {
    format!("/admin/api/datasets/{dataset}/images/{image}/thumbnail")
}

/// An image of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = DatasetPictureRecord))]
pub struct DatasetImageRecord {
    /// sha256 of the uploaded file; identifies the image within the dataset.
    pub hash: String,
    /// Original file name, including its folders.
    pub name: String,
    /// Its own caption; may be empty.
    pub caption: String,
    /// Text given to the text encoder: its own caption or the dataset's, with the trigger word.
    pub text: String,
    /// How often it counts per epoch.
    pub repeats: u32,
    /// Pixels, upright.
    pub width: u32,
    /// Pixels, upright.
    pub height: u32,
}

/// A warning about an imported file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = DatasetRemark))]
pub struct ImportWarning {
    /// Original file name.
    pub name: String,
    /// A sentence.
    pub message: String,
}

/// A change to a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DatasetChange {
    /// Sets the name, trigger word and default caption.
    Describe(NewDataset),
    /// Sets the caption of one image; empty for the dataset's.
    Caption {
        /// The image's `hash`.
        #[serde(alias = "picture")]
        image: String,
        /// The caption.
        caption: String,
    },
    /// Sets how often one image counts per epoch.
    Repeats {
        /// The image's `hash`.
        #[serde(alias = "picture")]
        image: String,
        /// 1 to 1000.
        repeats: u32,
    },
    /// Prepends text to every caption, including the dataset's.
    Prefix {
        /// The text, including a trailing comma or space.
        prefix: String,
    },
    /// Replaces text in every caption, including the dataset's.
    Replace {
        /// Text to find; not empty.
        find: String,
        /// Replacement.
        with: String,
    },
    /// Dismisses the import warnings.
    #[serde(alias = "clear_remarks")]
    ClearWarnings,
}

impl DatasetChange {
    /// Validates the fields.
    ///
    /// # Errors
    /// Every invalid field.
    pub fn validate(&self) -> Result<(), ValidationError> {
        let wrong = |field: &str, message: String| {
            Err(ValidationError(vec![FieldError { field: field.to_owned(), message }]))
        };
        let long = |field: &str, text: &str| {
            let bytes = text.len();
            wrong(field, format!("“{field}” has {bytes} bytes; the limit is {MAX_CAPTION_BYTES}."))
        };
        match self {
            Self::Describe(new) => new.clone().validate().map(|_| ()),
            Self::Caption { caption, .. } if caption.len() > MAX_CAPTION_BYTES => long("caption", caption),
            Self::Prefix { prefix } if prefix.len() > MAX_CAPTION_BYTES => long("prefix", prefix),
            Self::Replace { with, .. } if with.len() > MAX_CAPTION_BYTES => long("with", with),
            Self::Replace { find, .. } if find.is_empty() => {
                wrong("find", "Enter the text to replace.".to_owned())
            }
            Self::Repeats { repeats, .. } if !(1..=MAX_REPEATS).contains(repeats) => {
                wrong("repeats", format!("Repeats must be 1 to {MAX_REPEATS}; got {repeats}."))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(error: ValidationError) -> Vec<String> {
        error.0.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn names_are_needed_and_texts_are_one_line() {
        let new = |name: &str| NewDataset { name: name.to_owned(), ..NewDataset::default() };
        assert_eq!(fields(new(" \n").validate().unwrap_err()), ["name"]);
        assert_eq!(fields(new(&"a".repeat(81)).validate().unwrap_err()), ["name"]);
        let taken = NewDataset { caption: "a\n cloth ".to_owned(), ..new(" cloth ") }.validate().unwrap();
        assert_eq!((taken.name.as_str(), taken.caption.as_str()), ("cloth", "a cloth"));
    }

    #[test]
    fn changes_are_read_by_their_action_and_checked() {
        let read = |text: &str| serde_json::from_str::<DatasetChange>(text);
        let change = read(r#"{"action": "replace", "find": "", "with": "b"}"#).unwrap();
        assert_eq!(fields(change.validate().unwrap_err()), ["find"]);
        let change = read(r#"{"action": "repeats", "picture": "x", "repeats": 0}"#).unwrap();
        assert_eq!(fields(change.validate().unwrap_err()), ["repeats"]);
        let change = read(r#"{"action": "describe", "name": "cloth"}"#).unwrap();
        assert_eq!(change.validate(), Ok(()));
        assert!(read(r#"{"action": "explode"}"#).is_err());
        for key in ["image", "picture"] {
            let caption =
                read(&format!(r#"{{"action": "caption", "{key}": "x", "caption": "a cloth"}}"#)).unwrap();
            assert_eq!(
                caption,
                DatasetChange::Caption { image: "x".to_owned(), caption: "a cloth".to_owned() }
            );
        }
    }
}
