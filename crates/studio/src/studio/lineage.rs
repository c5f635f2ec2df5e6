//! The studio's lineage API.

use adire_protocol::Lineage;

use crate::{Studio, StudioError, lineage};

impl Studio {
    /// Where a version (`name@vN`) came from, what was decided about it, and the newest images made with it.
    ///
    /// # Errors
    /// No such version; not the name of one.
    pub async fn version_lineage(&self, id: &str) -> Result<Lineage, StudioError> {
        lineage::of_version(&self.shared().store, self.model(), id).await
    }

    /// Where an image came from: one that was generated, a sample, one of an evaluation, or an upload.
    ///
    /// # Errors
    /// No such image.
    pub async fn image_lineage(&self, hash: &str) -> Result<Lineage, StudioError> {
        lineage::of_image(&self.shared().store, self.model(), hash).await
    }
}
