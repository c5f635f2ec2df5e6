//! The studio's API of shares.

use adire_protocol::{AdapterVersion, ImageRef, Share, ShareRequest, SharedImage};

use crate::{By, Client, Studio, StudioError, history, shares};

impl Studio {
    /// Shares an image under an address that anyone may open, or changes what is shared with it.
    ///
    /// # Errors
    /// No such image, or another visitor's; its file is lost.
    pub async fn share(
        &self,
        of: &ImageRef,
        request: ShareRequest,
        by: By<'_>,
    ) -> Result<Share, StudioError> {
        shares::share(self.shared(), of, request, &by.into()).await
    }

    /// Ends the share of an image. Its address leads nowhere from then on.
    ///
    /// # Errors
    /// No such image, or another visitor's.
    pub async fn unshare(&self, of: &ImageRef, by: By<'_>) -> Result<(), StudioError> {
        shares::unshare(self.shared(), of, &by.into()).await
    }

    /// The share of an image, if there is one.
    ///
    /// # Errors
    /// No such image, or another visitor's.
    pub async fn share_of(&self, of: &ImageRef, by: By<'_>) -> Result<Option<Share>, StudioError> {
        shares::of_image(self.shared(), of, &by.into()).await
    }

    /// A shared image by its public hash, as anyone may see it.
    ///
    /// # Errors
    /// None is shared under that hash.
    pub async fn shared_image(&self, hash: &str) -> Result<SharedImage, StudioError> {
        shares::read(self.shared(), hash).await
    }

    /// The PNG file of a shared image, which has no texts inside.
    ///
    /// # Errors
    /// None is shared under that hash; its file is lost.
    pub async fn shared_file(&self, hash: &str) -> Result<Vec<u8>, StudioError> {
        shares::file(self.shared(), hash).await
    }

    /// Reports a shared image to the admin.
    ///
    /// # Errors
    /// As for [`Self::flag`]; none is shared under that hash.
    pub async fn flag_shared(&self, hash: &str, reason: &str, client: &Client) -> Result<(), StudioError> {
        let of = shares::image(self.shared(), hash).await?;
        history::flag(self.shared(), &of, reason, &client.into()).await
    }

    /// The version that `name`, `name@vN` or `name@alias` stands for, if links may lead to it.
    ///
    /// # Errors
    /// None, or one that is hidden, archived, rejected or deleted.
    pub async fn linkable_version(&self, name: &str) -> Result<AdapterVersion, StudioError> {
        shares::version(self.shared(), name).await
    }
}
