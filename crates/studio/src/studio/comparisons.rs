//! The studio's API of blind votes.

use adire_protocol::{Ballot, ComparisonRecord, VoteChoice};

use crate::{Client, Studio, StudioError, comparisons};

impl Studio {
    /// Starts a comparison of a finished evaluation's versions on its images. Two versions have one comparison; an existing
    /// one takes votes again, unless they have decided.
    ///
    /// # Errors
    /// No such evaluation; it has no verdict, or too few pairs that differ.
    pub async fn compare(&self, evaluation: &str) -> Result<ComparisonRecord, StudioError> {
        comparisons::create(self.shared(), evaluation).await
    }

    /// Every comparison, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn comparisons(&self) -> Result<Vec<ComparisonRecord>, StudioError> {
        comparisons::records(self.shared()).await
    }

    /// The comparison of an evaluation's versions, if there is one.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn comparison_of(&self, evaluation: &str) -> Result<Option<ComparisonRecord>, StudioError> {
        comparisons::of_evaluation(self.shared(), evaluation).await
    }

    /// Takes no more votes, and has the verdict count those that there are.
    ///
    /// # Errors
    /// No such comparison.
    pub async fn close_comparison(&self, id: &str) -> Result<ComparisonRecord, StudioError> {
        comparisons::close(self.shared(), id).await
    }

    /// What a voter with the link sees next.
    ///
    /// # Errors
    /// The link leads to no comparison.
    pub async fn ballot(&self, token: &str, client: &Client) -> Result<Ballot, StudioError> {
        comparisons::ballot(self.shared(), token, &client.into()).await
    }

    /// Counts a vote; whether it counted: one vote per pair and voter, and none after the end.
    ///
    /// # Errors
    /// The link leads to no comparison; no such pair; the voter keeps no cookie.
    pub async fn vote(
        &self,
        token: &str,
        pair: u32,
        choice: VoteChoice,
        client: &Client,
    ) -> Result<bool, StudioError> {
        let result = comparisons::vote(self.shared(), token, pair, choice, &client.into()).await?;
        Ok(result == crate::store::VoteResult::Counted)
    }

    /// An image of a pair as this voter sees it, a PNG file without texts.
    ///
    /// # Errors
    /// As for [`Self::vote`].
    pub async fn ballot_image(
        &self,
        token: &str,
        pair: u32,
        side: VoteChoice,
        client: &Client,
    ) -> Result<Vec<u8>, StudioError> {
        comparisons::image(self.shared(), token, pair, side, &client.into()).await
    }
}
