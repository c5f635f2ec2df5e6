//! A visitor's images: searched, rated, reported, taken along as a zip file.

mod zip;

use adire_protocol::{
    FieldError, FlagRecord, HistoryImage, HistoryPage, HistoryQuery, ImageRef, MAX_FLAG_CHARS,
    MAX_HISTORY_PAGE, Rating, ValidationError,
};
use uuid::Uuid;

pub(crate) use zip::zip;

use crate::{
    StudioError,
    client::{Asker, Who},
    shared::Shared,
    store::{HistoryFilter, words_of},
    time::{DAY_MS, day, now},
};

/// Images of a page by default.
const PAGE: u32 = 48;
/// Most images that are selected at once.
pub(crate) const MAX_SELECTED: usize = 500;
/// Reports of one visitor in a day.
const MAX_FLAGS: i64 = 50;
/// Most reports that are listed.
const LISTED_FLAGS: i64 = 200;
/// Words that are looked for.
const MAX_WORDS: usize = 16;

/// The images of a visitor that fit.
pub(crate) async fn search(
    shared: &Shared,
    query: &HistoryQuery,
    who: &Who,
) -> Result<HistoryPage, StudioError> {
    let mut filter = filter(query)?;
    let Some(visitor) = &who.visitor else { return Ok(HistoryPage::default()) };
    filter.visitor.clone_from(visitor);
    let wanted = usize::try_from(filter.limit).unwrap_or_default();
    filter.limit += 1;
    let rows = shared.store.search_history(&filter).await?;
    let more = rows.len() > wanted;
    let images: Result<Vec<HistoryImage>, _> =
        rows.into_iter().take(wanted).map(|row| row.record()).collect();
    let images = images?;
    let next = images.last().filter(|_| more).map(|last| last.image.created_at);
    Ok(HistoryPage { images, next })
}

fn filter(query: &HistoryQuery) -> Result<HistoryFilter, StudioError> {
    let mut errors = Vec::new();
    let mut refuse = |field: &str, message: String| {
        errors.push(FieldError { field: field.to_owned(), message });
    };
    let seed = query.seed.trim();
    let seed = match seed.parse::<u64>() {
        _ if seed.is_empty() => None,
        Ok(seed) => Some(seed.to_string()),
        Err(_) => {
            refuse("seed", format!("The seed must be a whole number from 0 up; got “{}”.", shown(seed)));
            None
        }
    };
    let mut first_of = |field: &str, text: &str| {
        let text = text.trim();
        let first = day(text);
        if first.is_none() && !text.is_empty() {
            let sentence = format!("A day is written 2026-11-27; got “{}”.", shown(text));
            refuse(field, sentence);
        }
        first
    };
    let from = first_of("from", &query.from);
    let to = first_of("to", &query.to);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        refuse("to", "The last day must not be before the first.".to_owned());
    }
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=MAX_HISTORY_PAGE).contains(&limit) {
        refuse("limit", format!("limit must be 1 to {MAX_HISTORY_PAGE}; got {limit}."));
    }
    let adapter = query.adapter.trim();
    if adapter.contains('\0') || adapter.chars().count() > 200 {
        refuse("adapter", "Name an adapter (adire) or one version (adire@v2).".to_owned());
    }
    if !errors.is_empty() {
        return Err(ValidationError(errors).into());
    }
    let mut words = words_of(&query.q);
    words.truncate(MAX_WORDS);
    let end = to.map_or(i64::MAX, |to| to + DAY_MS);
    Ok(HistoryFilter {
        visitor: String::new(),
        words,
        adapter: (!adapter.is_empty()).then(|| adapter.to_owned()),
        seed,
        from: from.unwrap_or(0),
        before: end.min(query.before.unwrap_or(i64::MAX)),
        starred: query.starred,
        limit: i64::from(limit),
    })
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// One image, for its owner and the admin; for others there is none.
pub(crate) async fn image(
    shared: &Shared,
    of: &ImageRef,
    asker: &Asker,
) -> Result<HistoryImage, StudioError> {
    let row = shared.store.history_image(&of.generation, of.index).await?;
    let row = row.filter(|row| asker.may(Some(row.visitor.as_str()).filter(|visitor| !visitor.is_empty())));
    row.ok_or_else(|| missing(of))?.record()
}

fn missing(of: &ImageRef) -> StudioError {
    StudioError::not_found("image", &format!("{} of generation {}", of.index, of.generation))
}

/// Keeps what the maker of an image thinks of it.
pub(crate) async fn rate(
    shared: &Shared,
    of: &ImageRef,
    rating: Rating,
    asker: &Asker,
) -> Result<HistoryImage, StudioError> {
    image(shared, of, asker).await?;
    shared.store.rate_image(&of.generation, of.index, rating, now()).await?;
    image(shared, of, asker).await
}

/// Checks how many images are selected.
pub(crate) fn check_selection(images: &[ImageRef]) -> Result<(), StudioError> {
    if (1..=MAX_SELECTED).contains(&images.len()) {
        return Ok(());
    }
    let message = match images.len() {
        0 => "Select at least one image.".to_owned(),
        many => format!("Select at most {MAX_SELECTED} images at once; got {many}."),
    };
    Err(StudioError::invalid("images", message))
}

/// Reports an image to the admin. The same reporter's second report of it changes nothing.
pub(crate) async fn flag(shared: &Shared, of: &ImageRef, reason: &str, who: &Who) -> Result<(), StudioError> {
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ").replace('\0', "");
    let chars = reason.chars().count();
    if !(1..=MAX_FLAG_CHARS).contains(&chars) {
        let message = format!("Say in 1 to {MAX_FLAG_CHARS} characters what is wrong; got {chars}.");
        return Err(StudioError::invalid("reason", message));
    }
    shared.store.history_image(&of.generation, of.index).await?.ok_or_else(|| missing(of))?;
    let reporter = who.owner().unwrap_or_default();
    let at = now();
    if shared.store.flags_since(&reporter, at - DAY_MS).await? >= MAX_FLAGS {
        return Err(StudioError::UploadQuota {
            message: format!("You have reported {MAX_FLAGS} images in a day; more can be reported tomorrow."),
            retry_after: 3_600,
        });
    }
    let id = Uuid::now_v7().to_string();
    shared.store.insert_flag(&id, (&of.generation, of.index), &reason, &reporter, at).await?;
    Ok(())
}

/// Reports that the admin has not dealt with, oldest first.
pub(crate) async fn flags(shared: &Shared) -> Result<Vec<FlagRecord>, StudioError> {
    let rows = shared.store.open_flags(LISTED_FLAGS).await?;
    rows.into_iter().map(|row| row.record()).collect()
}
