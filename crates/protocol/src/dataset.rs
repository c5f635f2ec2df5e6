//! Datasets: images with captions that adapters are trained on.

use serde::{Deserialize, Serialize};

use crate::{FieldError, ValidationError};

/// Longest name of a dataset.
pub const MAX_DATASET_NAME_CHARS: usize = 80;
/// Longest caption: many times what a text encoder takes.
pub const MAX_CAPTION_BYTES: usize = 4096;
/// How often one image may count in an epoch.
pub const MAX_REPEATS: u32 = 1000;

/// What a new dataset is called, and what is true of all its images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewDataset {
    /// For people; 1 to 80 characters.
    pub name: String,
    /// Word that calls the style up; put in front of captions that do not contain it. May be empty.
    #[serde(default)]
    pub trigger: String,
    /// Caption of images without one of their own; may be empty.
    #[serde(default)]
    pub caption: String,
}

impl NewDataset {
    /// Checks it, and takes blanks around the texts away.
    ///
    /// # Errors
    /// Every field that cannot be taken.
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
        check("name", length > 0, "A dataset needs a name.".to_owned());
        check(
            "name",
            length <= MAX_DATASET_NAME_CHARS,
            format!("The name has {length} characters; it can have {MAX_DATASET_NAME_CHARS}."),
        );
        let length = this.trigger.chars().count();
        check("trigger", length <= 100, format!("The trigger has {length} characters; it can have 100."));
        let length = this.caption.len();
        check(
            "caption",
            length <= MAX_CAPTION_BYTES,
            format!("The caption has {length} bytes; it can have {MAX_CAPTION_BYTES}."),
        );
        if problems.is_empty() { Ok(this) } else { Err(ValidationError(problems)) }
    }
}

/// A dataset in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DatasetSummary {
    /// A UUID.
    pub id: String,
    /// For people.
    pub name: String,
    /// sha256 of its content once a training has used it; from then on it never changes.
    pub frozen: Option<String>,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// How many images it has.
    pub pictures: u32,
    /// One of its images, for a list: see [`DatasetImageRecord::hash`].
    pub cover: Option<String>,
}

/// A dataset with everything in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DatasetRecord {
    /// A UUID.
    pub id: String,
    /// For people.
    pub name: String,
    /// Word that calls the style up; put in front of captions that do not contain it. May be empty.
    pub trigger: String,
    /// Caption of images without one of their own; may be empty.
    pub caption: String,
    /// sha256 of its content once a training has used it; from then on it never changes.
    pub frozen: Option<String>,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// In the order of their names.
    pub pictures: Vec<DatasetImageRecord>,
    /// What was brought and cannot be used, or deserves a second look; the newest 1000, and how many there were before.
    pub remarks: Vec<ImportWarning>,
    /// Id of the dataset with the class images that came along with it (`reg` of a kohya project).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_dataset: Option<String>,
}

impl DatasetRecord {
    /// Whether its content can still be changed.
    pub fn is_draft(&self) -> bool {
        self.frozen.is_none()
    }

    /// Address of an image's thumbnail.
    pub fn thumbnail(&self, picture: &str) -> String {
        thumbnail_url(&self.id, picture)
    }
}

/// Address of the thumbnail of an image of a dataset.
pub fn thumbnail_url(dataset: &str, picture: &str) -> String {
    format!("/admin/api/datasets/{dataset}/pictures/{picture}/thumbnail")
}

/// An image of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = DatasetPictureRecord))]
pub struct DatasetImageRecord {
    /// sha256 of the file as it came; names the image within the dataset.
    pub hash: String,
    /// As the file was called, with the folders it lay in.
    pub name: String,
    /// Its own caption; may be empty.
    pub caption: String,
    /// What the text encoder is told: its own caption or the dataset's, with the trigger.
    pub text: String,
    /// How often it counts in an epoch.
    pub repeats: u32,
    /// Pixels, upright.
    pub width: u32,
    /// Pixels, upright.
    pub height: u32,
}

/// Something about a file that was brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = DatasetRemark))]
pub struct ImportWarning {
    /// As the file was called.
    pub name: String,
    /// A sentence.
    pub message: String,
}

/// A change to a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DatasetChange {
    /// Another name, trigger and caption for all.
    Describe(NewDataset),
    /// The caption of one image; empty for the dataset's.
    Caption {
        /// The image's `hash`.
        picture: String,
        /// The words.
        caption: String,
    },
    /// How often one image counts in an epoch.
    Repeats {
        /// The image's `hash`.
        picture: String,
        /// 1 to 1000.
        repeats: u32,
    },
    /// Words in front of every caption, the dataset's included.
    Prefix {
        /// The words, with the comma or blank that follows them.
        prefix: String,
    },
    /// Other words where some words stand, in every caption, the dataset's included.
    Replace {
        /// What stands there now; not empty.
        find: String,
        /// What is to stand there.
        with: String,
    },
    /// Forgets what was remarked about files.
    ClearRemarks,
}

impl DatasetChange {
    /// Checks its texts.
    ///
    /// # Errors
    /// Every field that cannot be taken.
    pub fn validate(&self) -> Result<(), ValidationError> {
        let wrong = |field: &str, message: String| {
            Err(ValidationError(vec![FieldError { field: field.to_owned(), message }]))
        };
        let long = |field: &str, text: &str| {
            let bytes = text.len();
            wrong(field, format!("“{field}” has {bytes} bytes; it can have {MAX_CAPTION_BYTES}."))
        };
        match self {
            Self::Describe(new) => new.clone().validate().map(|_| ()),
            Self::Caption { caption, .. } if caption.len() > MAX_CAPTION_BYTES => long("caption", caption),
            Self::Prefix { prefix } if prefix.len() > MAX_CAPTION_BYTES => long("prefix", prefix),
            Self::Replace { with, .. } if with.len() > MAX_CAPTION_BYTES => long("with", with),
            Self::Replace { find, .. } if find.is_empty() => {
                wrong("find", "Say which words are to be replaced.".to_owned())
            }
            Self::Repeats { repeats, .. } if !(1..=MAX_REPEATS).contains(repeats) => {
                wrong("repeats", format!("repeats is {repeats}; it can be 1 to {MAX_REPEATS}."))
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
    }
}
