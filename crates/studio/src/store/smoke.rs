//! Rows of smoke images: one for each move to production that a server made.

use std::collections::HashMap;

use adire_protocol::{Smoke, SmokeResult};

use super::{
    Store, image_url,
    sql::{Real, storable},
    storage,
};
use crate::StudioError;

/// A smoke image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SmokeRow {
    /// Number of its move.
    pub(crate) number: u64,
    pub(crate) device: String,
    pub(crate) dtype: String,
    pub(crate) hash: String,
    pub(crate) result: SmokeResult,
    pub(crate) difference: Option<f64>,
}

impl Store {
    /// The smoke images of a version on a model, the first one first.
    pub(crate) async fn smoke_images(
        &self,
        name: &str,
        version: u32,
        model: &str,
    ) -> Result<Vec<SmokeRow>, StudioError> {
        let rows: Vec<(i64, String, String, String, String, Option<f64>)> = sqlx::query_as(
            "SELECT number, device, dtype, hash, result, difference FROM smoke_images \
             WHERE name = $1 AND version = $2 AND model = $3 ORDER BY number",
        )
        .bind(name)
        .bind(i64::from(version))
        .bind(model)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let row = |(number, device, dtype, hash, result, difference): (i64, _, _, _, String, _)| {
            let result = SmokeResult::from_word(&result)?;
            Some(SmokeRow { number: number.cast_unsigned(), device, dtype, hash, result, difference })
        };
        Ok(rows.into_iter().filter_map(row).collect())
    }

    /// Stores a smoke image, made with a model at a time.
    pub(crate) async fn insert_smoke_image(
        &self,
        name: &str,
        version: u32,
        (model, at): (&str, i64),
        row: &SmokeRow,
    ) -> Result<(), StudioError> {
        sqlx::query(
            "INSERT INTO smoke_images \
             (name, number, version, model, device, dtype, hash, result, difference, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(name)
        .bind(row.number.cast_signed())
        .bind(i64::from(version))
        .bind(model)
        .bind(&row.device)
        .bind(&row.dtype)
        .bind(&row.hash)
        .bind(row.result.word())
        .bind(Real(row.difference))
        .bind(at)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    /// The smoke images of an adapter by the numbers of their moves.
    pub(crate) async fn smokes(&self, name: &str) -> Result<HashMap<u64, Smoke>, StudioError> {
        let rows: Vec<(i64, String, String, Option<f64>)> =
            sqlx::query_as("SELECT number, hash, result, difference FROM smoke_images WHERE name = $1")
                .bind(name)
                .fetch_all(&self.pool)
                .await
                .map_err(storage)?;
        let smoke = |(number, hash, result, difference): (i64, String, String, _)| {
            let result = SmokeResult::from_word(&result)?;
            let smoke = Smoke { result, difference, url: Some(image_url(&hash)), problem: None };
            Some((number.cast_unsigned(), smoke))
        };
        Ok(rows.into_iter().filter_map(smoke).collect())
    }

    /// Whether a smoke image has that hash.
    pub(crate) async fn has_smoke_image(&self, hash: &str) -> Result<bool, StudioError> {
        if !storable(hash) {
            return Ok(false);
        }
        let found: Option<(String,)> =
            sqlx::query_as("SELECT hash FROM smoke_images WHERE hash = $1 LIMIT 1")
                .bind(hash)
                .fetch_optional(&self.pool)
                .await
                .map_err(storage)?;
        Ok(found.is_some())
    }
}
