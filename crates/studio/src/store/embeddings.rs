//! Rows of embeddings.

use adire_protocol::EmbeddingRecord;

use super::{Store, sql::storable, storage};
use crate::StudioError;

row! {
    struct EmbeddingRow {
        word: String,
        hash: String,
        vectors: i64,
        width: i64,
        bytes: i64,
        created_at: i64,
    }
}

const COLUMNS: &str = "word, hash, vectors, width, bytes, created_at";

impl From<EmbeddingRow> for EmbeddingRecord {
    fn from(row: EmbeddingRow) -> Self {
        Self {
            word: row.word,
            hash: row.hash,
            vectors: u32::try_from(row.vectors).unwrap_or_default(),
            width: u32::try_from(row.width).unwrap_or_default(),
            bytes: row.bytes.cast_unsigned(),
            created_at: row.created_at,
        }
    }
}

impl Store {
    /// Every embedding, by its word. Kept in memory, since each request asks for them: nobody else writes to the database
    /// of a studio.
    pub(crate) async fn embeddings(&self) -> Result<Vec<EmbeddingRecord>, StudioError> {
        let mut known = self.embeddings.lock().await;
        match &*known {
            Some(known) => Ok(known.clone()),
            None => Ok(known.insert(self.read_embeddings().await?).clone()),
        }
    }

    async fn read_embeddings(&self) -> Result<Vec<EmbeddingRecord>, StudioError> {
        let select = format!("SELECT {COLUMNS} FROM embeddings ORDER BY folded");
        let rows: Vec<EmbeddingRow> =
            sqlx::query_as(sqlx::AssertSqlSafe(select)).fetch_all(&self.pool).await.map_err(storage)?;
        Ok(rows.into_iter().map(EmbeddingRecord::from).collect())
    }

    /// The one whose word is this, in whatever case.
    pub(crate) async fn embedding(&self, word: &str) -> Result<Option<EmbeddingRecord>, StudioError> {
        if !storable(word) {
            return Ok(None);
        }
        let select = format!("SELECT {COLUMNS} FROM embeddings WHERE folded = $1");
        let row: Option<EmbeddingRow> = sqlx::query_as(sqlx::AssertSqlSafe(select))
            .bind(word.to_lowercase())
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)?;
        Ok(row.map(EmbeddingRecord::from))
    }

    /// Adds one; nothing happens where the word is taken.
    pub(crate) async fn insert_embedding(&self, new: &EmbeddingRecord) -> Result<(), StudioError> {
        let mut known = self.embeddings.lock().await;
        *known = None;
        sqlx::query(
            "INSERT INTO embeddings (folded, word, hash, vectors, width, bytes, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (folded) DO NOTHING",
        )
        .bind(new.word.to_lowercase())
        .bind(&new.word)
        .bind(&new.hash)
        .bind(i64::from(new.vectors))
        .bind(i64::from(new.width))
        .bind(new.bytes.cast_signed())
        .bind(new.created_at)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    pub(crate) async fn delete_embedding(&self, word: &str) -> Result<(), StudioError> {
        let mut known = self.embeddings.lock().await;
        *known = None;
        sqlx::query("DELETE FROM embeddings WHERE folded = $1")
            .bind(word.to_lowercase())
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }
}
