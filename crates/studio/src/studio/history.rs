//! The studio's API of histories: search, ratings, reports, zip files.

use adire_protocol::{FlagRecord, HistoryImage, HistoryPage, HistoryQuery, ImageRef, Rating, Wildcards};

use crate::{BlobStream, By, Client, Studio, StudioError, history, own_suite, time::now, wildcards};

impl Studio {
    /// The images of `client`'s visitor that fit a search, newest first.
    ///
    /// # Errors
    /// Fields of the query are wrong; the store cannot be read.
    pub async fn search_history(
        &self,
        query: &HistoryQuery,
        client: &Client,
    ) -> Result<HistoryPage, StudioError> {
        history::search(self.shared(), query, &client.into()).await
    }

    /// One image with its rating.
    ///
    /// # Errors
    /// There is none, or it is another visitor's.
    pub async fn history_image(&self, of: &ImageRef, by: By<'_>) -> Result<HistoryImage, StudioError> {
        history::image(self.shared(), of, &by.into()).await
    }

    /// Keeps what the maker of an image thinks of it, in place of what was kept before.
    ///
    /// # Errors
    /// As for [`Self::history_image`].
    pub async fn rate(&self, of: &ImageRef, rating: Rating, by: By<'_>) -> Result<HistoryImage, StudioError> {
        history::rate(self.shared(), of, rating, &by.into()).await
    }

    /// Checks how many images are selected at once.
    ///
    /// # Errors
    /// None, or too many.
    pub fn check_selection(&self, images: &[ImageRef]) -> Result<(), StudioError> {
        history::check_selection(images)
    }

    /// Selected images as a zip file, each with its recipe.
    ///
    /// # Errors
    /// None, or too many; one is not there, or another visitor's.
    pub async fn zip_images(&self, images: Vec<ImageRef>, by: By<'_>) -> Result<BlobStream, StudioError> {
        history::zip(self.shared().clone(), images, by.into()).await
    }

    /// Reports an image to the admin.
    ///
    /// # Errors
    /// No reason or too long a one; no such image; too many reports in a day.
    pub async fn flag(&self, of: &ImageRef, reason: &str, client: &Client) -> Result<(), StudioError> {
        history::flag(self.shared(), of, reason, &client.into()).await
    }

    /// Reports that the admin has not dealt with, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn flags(&self) -> Result<Vec<FlagRecord>, StudioError> {
        history::flags(self.shared()).await
    }

    /// How many reports wait for the admin.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open_flags(&self) -> Result<u32, StudioError> {
        let count = self.shared().store.open_flag_count().await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Ends a report without doing anything.
    ///
    /// # Errors
    /// No such open report.
    pub async fn dismiss_flag(&self, id: &str) -> Result<(), StudioError> {
        self.close_flag(id, "dismissed").await
    }

    /// Adds the prompt of a reported image to the model's own suite and ends the report.
    ///
    /// # Errors
    /// No such open report; the suite has the prompt already, or cannot hold it.
    pub async fn add_flag_to_suite(&self, id: &str) -> Result<(), StudioError> {
        let flags = self.flags().await?;
        let flag = flags.into_iter().find(|flag| flag.id == id);
        let flag = flag.ok_or_else(|| StudioError::not_found("report", id))?;
        own_suite::add(self.shared(), &flag.image.recipe).await?;
        self.close_flag(id, "added").await
    }

    async fn close_flag(&self, id: &str, outcome: &str) -> Result<(), StudioError> {
        if self.shared().store.close_flag(id, outcome, now()).await? {
            return Ok(());
        }
        Err(StudioError::not_found("report", id))
    }

    /// The wildcard lists of prompts.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn wildcards(&self) -> Result<Wildcards, StudioError> {
        wildcards::lists(self.shared()).await
    }

    /// The wildcard lists as the text that the admin has entered.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn wildcards_text(&self) -> Result<String, StudioError> {
        wildcards::text(self.shared()).await
    }

    /// Replaces the wildcard lists.
    ///
    /// # Errors
    /// A sentence that names the line.
    pub async fn set_wildcards(&self, text: &str) -> Result<(), StudioError> {
        wildcards::set(self.shared(), text).await
    }

    /// The model's own suite, as TOML, and whether the admin has changed it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn suite(&self) -> Result<(String, bool), StudioError> {
        own_suite::text(self.shared()).await
    }

    /// Replaces the model's own suite; empty text brings back the built-in one.
    ///
    /// # Errors
    /// The text is not a suite.
    pub async fn set_suite(&self, text: &str) -> Result<(), StudioError> {
        own_suite::set(self.shared(), text).await
    }
}
