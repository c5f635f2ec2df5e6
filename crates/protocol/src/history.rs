//! A visitor's images: search, ratings and flags.

use serde::{Deserialize, Serialize};

use crate::ImageRecord;

/// Most images of a page of the history.
pub const MAX_HISTORY_PAGE: u32 = 200;
/// Longest reason of a flag, in characters.
pub const MAX_FLAG_CHARS: usize = 300;

/// What to look for in a history. Everything may be left out; what is given must all fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(default, deny_unknown_fields)]
pub struct HistoryQuery {
    /// Words of the prompt, or beginnings of them.
    pub q: String,
    /// An adapter (`adire`) or one version (`adire@v2`).
    pub adapter: String,
    /// A seed.
    pub seed: String,
    /// First day, `2026-11-27`, in UTC.
    pub from: String,
    /// Last day, in UTC.
    pub to: String,
    /// `true`: starred images only.
    pub starred: bool,
    /// `next` of the page before.
    pub before: Option<i64>,
    /// Most images of the page, 1 to 200; 48 when absent.
    pub limit: Option<u32>,
}

impl HistoryQuery {
    /// Whether it asks for anything but a page.
    pub fn is_filtered(&self) -> bool {
        let texts = [&self.q, &self.adapter, &self.seed, &self.from, &self.to];
        self.starred || texts.iter().any(|text| !text.trim().is_empty())
    }
}

/// What the maker of an image thinks of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Rating {
    /// A favourite.
    #[serde(default)]
    pub starred: bool,
    /// Thumbs up or down; absent: neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumb: Option<Thumb>,
}

/// Thumbs up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Thumb {
    /// Good.
    Up,
    /// Bad.
    Down,
}

/// An image of a history with its rating.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HistoryImage {
    /// The image.
    #[serde(flatten)]
    pub image: ImageRecord,
    /// What its maker thinks of it.
    pub rating: Rating,
}

/// A page of a history, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HistoryPage {
    /// Its images.
    pub images: Vec<HistoryImage>,
    /// `before` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// An image by its generation and its place in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ImageRef {
    /// Id of the generation.
    pub generation: String,
    /// Index of the image, from 0.
    pub index: u32,
}

impl ImageRef {
    /// Reads `generation/index`, as forms have it.
    pub fn read(text: &str) -> Option<Self> {
        let (generation, index) = text.split_once('/')?;
        let is_id = generation.len() == 36 && generation.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        is_id.then_some(())?;
        Some(Self { generation: generation.to_ascii_lowercase(), index: index.parse().ok()? })
    }
}

/// Selected images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ImageSelection {
    /// 1 to 500 of them.
    pub images: Vec<ImageRef>,
}

/// Why an image is reported to the admin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct FlagRequest {
    /// 1 to 300 characters.
    pub reason: String,
}

/// The model's own suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SuiteText {
    /// TOML with `name`, `seeds`, `prompts` and `plain`; `docs/evaluation.md` describes it.
    pub toml: String,
}

/// A reported image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FlagRecord {
    /// Id of the report, a UUID.
    pub id: String,
    /// The reporter's words.
    pub reason: String,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// Prompt of the image.
    pub prompt: String,
    /// The image.
    pub image: ImageRecord,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_as_forms_name_them() {
        let id = "0192F3D0-0000-7000-8000-00000000abcd";
        let read = ImageRef::read(&format!("{id}/3")).unwrap();
        assert_eq!((read.generation.as_str(), read.index), (id.to_lowercase().as_str(), 3));
        for wrong in ["", "/0", id, &format!("{id}/"), &format!("{id}/-1"), &format!("../{id}/0"), "x/0"] {
            assert_eq!(ImageRef::read(wrong), None, "{wrong}");
        }
    }
}
