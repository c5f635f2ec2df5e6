//! Rows of datasets and of their images.

use adire_protocol::{DatasetSummary, ImportWarning, NewDataset};

use super::{Store, decode, encode, sql::storable, storage};
use crate::StudioError;

row! {
    /// A dataset as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct DatasetRow {
        pub(crate) id: String,
        pub(crate) name: String,
        pub(crate) trigger_word: String,
        pub(crate) caption: String,
        pub(crate) hash: Option<String>,
        remarks: String,
        pub(crate) created_at: i64,
        pub(crate) class_dataset: Option<String>,
    }
}

impl DatasetRow {
    pub(crate) fn new(id: String, new: NewDataset, created_at: i64) -> Self {
        Self {
            id,
            name: new.name,
            trigger_word: new.trigger,
            caption: new.caption,
            hash: None,
            remarks: "[]".to_owned(),
            created_at,
            class_dataset: None,
        }
    }

    pub(crate) fn warnings(&self) -> Result<Vec<ImportWarning>, StudioError> {
        decode(&self.remarks, "remarks", &self.id)
    }
}

row! {
    /// An image of a dataset as stored.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct DatasetImageRow {
        pub(crate) hash: String,
        pub(crate) pixels: String,
        pub(crate) name: String,
        pub(crate) caption: String,
        pub(crate) repeats: i64,
        pub(crate) width: i64,
        pub(crate) height: i64,
    }
}

impl DatasetImageRow {
    pub(crate) fn repeats(&self) -> u32 {
        u32::try_from(self.repeats).unwrap_or(1)
    }

    pub(crate) fn width(&self) -> u32 {
        u32::try_from(self.width).unwrap_or_default()
    }

    pub(crate) fn height(&self) -> u32 {
        u32::try_from(self.height).unwrap_or_default()
    }
}

row! {
    struct SummaryRow {
        id: String,
        name: String,
        hash: Option<String>,
        created_at: i64,
        images: i64,
        cover: Option<String>,
    }
}

impl From<SummaryRow> for DatasetSummary {
    fn from(row: SummaryRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            frozen: row.hash,
            created_at: row.created_at,
            images: u32::try_from(row.images).unwrap_or(u32::MAX),
            cover: row.cover,
        }
    }
}

impl Store {
    /// Every dataset, the newest first.
    pub(crate) async fn datasets(&self) -> Result<Vec<DatasetSummary>, StudioError> {
        let rows: Vec<SummaryRow> = sqlx::query_as(
            "SELECT d.id, d.name, d.hash, d.created_at, COUNT(p.hash) AS images, MIN(p.hash) AS cover \
             FROM datasets d LEFT JOIN dataset_pictures p ON p.dataset = d.id \
             GROUP BY d.id, d.name, d.hash, d.created_at ORDER BY d.id DESC",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        Ok(rows.into_iter().map(DatasetSummary::from).collect())
    }

    pub(crate) async fn insert_dataset(&self, row: &DatasetRow) -> Result<(), StudioError> {
        sqlx::query(
            "INSERT INTO datasets (id, name, trigger_word, caption, created_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&row.id)
        .bind(&row.name)
        .bind(&row.trigger_word)
        .bind(&row.caption)
        .bind(row.created_at)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    pub(crate) async fn dataset(&self, id: &str) -> Result<Option<DatasetRow>, StudioError> {
        if !storable(id) {
            return Ok(None);
        }
        sqlx::query_as(
            "SELECT id, name, trigger_word, caption, hash, remarks, created_at, class_dataset FROM datasets \
             WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)
    }

    /// In no particular order.
    pub(crate) async fn dataset_images(&self, id: &str) -> Result<Vec<DatasetImageRow>, StudioError> {
        sqlx::query_as(
            "SELECT hash, pixels, name, caption, repeats, width, height FROM dataset_pictures WHERE dataset = $1",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// Adds images, gives captions to some that are there, and replaces the warnings: all or nothing.
    pub(crate) async fn add_images(
        &self,
        id: &str,
        images: &[DatasetImageRow],
        captions: &[(String, String)],
        warnings: &[ImportWarning],
    ) -> Result<(), StudioError> {
        let mut change = self.change().await?;
        for image in images {
            sqlx::query(
                "INSERT INTO dataset_pictures (dataset, hash, pixels, name, caption, repeats, width, height) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(id)
            .bind(&image.hash)
            .bind(&image.pixels)
            .bind(&image.name)
            .bind(&image.caption)
            .bind(image.repeats)
            .bind(image.width)
            .bind(image.height)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        }
        for (hash, caption) in captions {
            sqlx::query("UPDATE dataset_pictures SET caption = $3 WHERE dataset = $1 AND hash = $2")
                .bind(id)
                .bind(hash)
                .bind(caption)
                .execute(&mut *change)
                .await
                .map_err(storage)?;
        }
        sqlx::query("UPDATE datasets SET remarks = $2 WHERE id = $1")
            .bind(id)
            .bind(encode(&warnings)?)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        change.commit().await.map_err(storage)
    }

    pub(crate) async fn describe_dataset(&self, id: &str, new: &NewDataset) -> Result<(), StudioError> {
        sqlx::query("UPDATE datasets SET name = $2, trigger_word = $3, caption = $4 WHERE id = $1")
            .bind(id)
            .bind(&new.name)
            .bind(&new.trigger)
            .bind(&new.caption)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// Captions by the hashes of their images, all or nothing. Whether all these images are there.
    pub(crate) async fn set_captions(
        &self,
        id: &str,
        captions: &[(String, String)],
    ) -> Result<bool, StudioError> {
        let mut change = self.change().await?;
        for (hash, caption) in captions {
            let done =
                sqlx::query("UPDATE dataset_pictures SET caption = $3 WHERE dataset = $1 AND hash = $2")
                    .bind(id)
                    .bind(hash)
                    .bind(caption)
                    .execute(&mut *change)
                    .await
                    .map_err(storage)?;
            if done.rows_affected() == 0 {
                return Ok(false);
            }
        }
        change.commit().await.map_err(storage)?;
        Ok(true)
    }

    pub(crate) async fn set_repeats(&self, id: &str, hash: &str, repeats: u32) -> Result<bool, StudioError> {
        if !storable(hash) {
            return Ok(false);
        }
        let done = sqlx::query("UPDATE dataset_pictures SET repeats = $3 WHERE dataset = $1 AND hash = $2")
            .bind(id)
            .bind(hash)
            .bind(i64::from(repeats))
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(done.rows_affected() > 0)
    }

    pub(crate) async fn set_warnings(&self, id: &str, warnings: &[ImportWarning]) -> Result<(), StudioError> {
        sqlx::query("UPDATE datasets SET remarks = $2 WHERE id = $1")
            .bind(id)
            .bind(encode(&warnings)?)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// Says which dataset holds its class images.
    pub(crate) async fn set_class_dataset(&self, id: &str, class: &str) -> Result<(), StudioError> {
        sqlx::query("UPDATE datasets SET class_dataset = $2 WHERE id = $1")
            .bind(id)
            .bind(class)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// Whether it was there.
    pub(crate) async fn remove_image(&self, id: &str, hash: &str) -> Result<bool, StudioError> {
        if !storable(hash) {
            return Ok(false);
        }
        let done = sqlx::query("DELETE FROM dataset_pictures WHERE dataset = $1 AND hash = $2")
            .bind(id)
            .bind(hash)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(done.rows_affected() > 0)
    }

    pub(crate) async fn dataset_has_image(&self, id: &str, hash: &str) -> Result<bool, StudioError> {
        if !storable(hash) {
            return Ok(false);
        }
        let found: Option<(String,)> =
            sqlx::query_as("SELECT hash FROM dataset_pictures WHERE dataset = $1 AND hash = $2")
                .bind(id)
                .bind(hash)
                .fetch_optional(&self.pool)
                .await
                .map_err(storage)?;
        Ok(found.is_some())
    }

    /// Deletes a dataset with its images.
    pub(crate) async fn drop_dataset(&self, id: &str) -> Result<(), StudioError> {
        let mut change = self.change().await?;
        for sql in [
            "DELETE FROM dataset_pictures WHERE dataset = $1",
            "UPDATE datasets SET class_dataset = NULL WHERE class_dataset = $1",
            "DELETE FROM datasets WHERE id = $1",
        ] {
            sqlx::query(sql).bind(id).execute(&mut *change).await.map_err(storage)?;
        }
        change.commit().await.map_err(storage)
    }

    pub(crate) async fn freeze_dataset(&self, id: &str, hash: &str) -> Result<(), StudioError> {
        sqlx::query("UPDATE datasets SET hash = $2 WHERE id = $1 AND hash IS NULL")
            .bind(id)
            .bind(hash)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }
}
