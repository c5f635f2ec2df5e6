//! Rows of shared images.

use super::{Store, images::ImageRow, sql::storable, storage};
use crate::StudioError;

row! {
    /// A share with its image.
    pub(crate) struct SharedRow {
        with_recipe: i64,
        hash: String,
        generation: String,
        position: i64,
        recipe: String,
        infotext: String,
        created_at: i64,
        event: i64,
    }
}

impl SharedRow {
    /// The image, and whether its recipe is shared.
    pub(crate) fn image(self) -> (ImageRow, bool) {
        let Self { with_recipe, hash, generation, position, recipe, infotext, created_at, event } = self;
        (ImageRow { hash, generation, position, recipe, infotext, created_at, event }, with_recipe == 1)
    }
}

row! {
    /// A share alone.
    pub(crate) struct ShareRow {
        pub(crate) hash: String,
        pub(crate) with_recipe: i64,
        pub(crate) shared_at: i64,
    }
}

impl Store {
    /// Shares an image, or changes whether its recipe is shared with it.
    pub(crate) async fn share_image(
        &self,
        (generation, position): (&str, u32),
        hash: &str,
        with_recipe: bool,
        at: i64,
    ) -> Result<(), StudioError> {
        sqlx::query(
            "INSERT INTO shares (generation, position, hash, with_recipe, shared_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (generation, position) DO UPDATE SET with_recipe = excluded.with_recipe",
        )
        .bind(generation)
        .bind(i64::from(position))
        .bind(hash)
        .bind(i64::from(with_recipe))
        .bind(at)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    /// Ends a share. Whether there was one.
    pub(crate) async fn unshare_image(&self, generation: &str, position: u32) -> Result<bool, StudioError> {
        let ended = sqlx::query("DELETE FROM shares WHERE generation = $1 AND position = $2")
            .bind(generation)
            .bind(i64::from(position))
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(ended.rows_affected() > 0)
    }

    /// The share of an image.
    pub(crate) async fn share_of(
        &self,
        generation: &str,
        position: u32,
    ) -> Result<Option<ShareRow>, StudioError> {
        sqlx::query_as(
            "SELECT hash, with_recipe, shared_at FROM shares WHERE generation = $1 AND position = $2",
        )
        .bind(generation)
        .bind(i64::from(position))
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)
    }

    /// The shared image with that public hash. Where two makers have shared the same pixels, one who shares the recipe.
    pub(crate) async fn shared_image(&self, hash: &str) -> Result<Option<SharedRow>, StudioError> {
        if !storable(hash) {
            return Ok(None);
        }
        sqlx::query_as(
            "SELECT shares.with_recipe, images.hash, images.generation, images.position, images.recipe, \
             images.infotext, images.created_at, images.event FROM shares JOIN images \
             ON images.generation = shares.generation AND images.position = shares.position \
             WHERE shares.hash = $1 ORDER BY shares.with_recipe DESC, shares.shared_at LIMIT 1",
        )
        .bind(hash)
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)
    }
}
