//! Rows of adapter versions: written once, never changed.

use std::collections::HashMap;

use adire_protocol::{AdapterReceipt, AdapterVersion, LedgerAction, PRODUCTION, Stage, VersionChange};

use super::{
    Store, decode, encode,
    ledger::{aliases_of, append},
    shadows::forget_version,
    sql, storage,
};
use crate::{StudioError, ledger::Draft};

row! {
    pub(super) struct AdapterRow {
        name: String,
        version: i64,
        hash: String,
        description: String,
        trigger_words: String,
        bytes: i64,
        created_at: i64,
        hidden: i64,
        downloads: i64,
        deleted_at: Option<i64>,
        note: String,
    }
}

/// A version with what the admin has decided about it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    pub(crate) version: AdapterVersion,
    pub(crate) hidden: bool,
    pub(crate) downloads: bool,
    pub(crate) deleted_at: Option<i64>,
    pub(crate) note: String,
}

/// Who added a version, and the name of the file.
#[derive(Clone, Debug)]
pub(crate) struct Addition {
    pub(crate) who: String,
    pub(crate) file: String,
}

impl From<AdapterRow> for Listed {
    fn from(row: AdapterRow) -> Self {
        let (hidden, downloads, deleted_at) = (row.hidden != 0, row.downloads != 0, row.deleted_at);
        let note = row.note.clone();
        Self { version: row.into(), hidden, downloads, deleted_at, note }
    }
}

impl From<AdapterRow> for AdapterVersion {
    fn from(row: AdapterRow) -> Self {
        Self {
            name: row.name,
            version: u32::try_from(row.version).unwrap_or(u32::MAX),
            hash: row.hash,
            description: row.description,
            trigger: row.trigger_words,
            bytes: row.bytes.cast_unsigned(),
            created_at: row.created_at,
            warning: None,
            stage: Stage::default(),
            aliases: Vec::new(),
        }
    }
}

pub(super) const COLUMNS: &str =
    "name, version, hash, description, trigger_words, bytes, created_at, hidden, downloads, deleted_at, note";

/// How often the next number of a version is tried; each time another version was added at the same moment.
const TRIES: u32 = 100;

impl Store {
    /// Every version that visitors may use, by name, the newest of each first.
    pub(crate) async fn adapters(&self) -> Result<Vec<AdapterVersion>, StudioError> {
        let all = self.all_adapters().await?;
        let offered = all.into_iter().filter(|listed| !listed.hidden && listed.deleted_at.is_none());
        Ok(offered.map(|listed| listed.version).collect())
    }

    /// Every version that there is or was, by name, the newest of each first.
    pub(crate) async fn all_adapters(&self) -> Result<Vec<Listed>, StudioError> {
        let rows: Vec<AdapterRow> = sqlx::query_as(sql(format!(
            "SELECT {COLUMNS} FROM adapter_versions ORDER BY name, version DESC"
        )))
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let mut listed: Vec<Listed> = rows.into_iter().map(Listed::from).collect();
        let standing = self.standing().await?;
        for Listed { version, .. } in &mut listed {
            if let Some((stage, aliases)) = standing.get(&(version.name.clone(), version.version)) {
                version.stage = *stage;
                version.aliases.clone_from(aliases);
            }
        }
        Ok(listed)
    }

    /// Whether visitors may use a version, and download its file, and the admin's note; what is `None` stays. Whether it is
    /// there. The version in production stays visible.
    pub(crate) async fn offer_adapter(
        &self,
        name: &str,
        version: u32,
        VersionChange { hidden, downloads, note }: &VersionChange,
    ) -> Result<bool, StudioError> {
        let mut change = self.change_alone().await?;
        let aliases = aliases_of(&mut change, name, version).await?;
        if *hidden == Some(true) && aliases.iter().any(|alias| alias == PRODUCTION) {
            return Err(StudioError::Conflict(format!(
                "{name}@v{version} is in production. Promote another version or roll back first, then hide it."
            )));
        }
        let done = sqlx::query(
            "UPDATE adapter_versions SET hidden = COALESCE($3, hidden), downloads = COALESCE($4, downloads), \
             note = COALESCE($5, note) WHERE name = $1 AND version = $2 AND deleted_at IS NULL",
        )
        .bind(name)
        .bind(i64::from(version))
        .bind(hidden.map(i64::from))
        .bind(downloads.map(i64::from))
        .bind(note.as_deref())
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        change.commit().await.map_err(storage)?;
        Ok(done.rows_affected() > 0)
    }

    /// Deletes a version: its number and hash stay, and its texts go. Whether it was there. One that an alias stands for
    /// stays.
    pub(crate) async fn delete_adapter(
        &self,
        name: &str,
        version: u32,
        at: i64,
    ) -> Result<bool, StudioError> {
        let mut change = self.change_alone().await?;
        if let Some(alias) = aliases_of(&mut change, name, version).await?.first() {
            return Err(StudioError::Conflict(if alias == PRODUCTION {
                format!(
                    "{name}@v{version} is in production. Promote another version or roll back first, then delete it."
                )
            } else {
                format!("{name}@{alias} stands for v{version}. Move or delete that alias first.")
            }));
        }
        forget_version(&mut change, (name, version), at).await?;
        sqlx::query("DELETE FROM smoke_images WHERE name = $1 AND version = $2")
            .bind(name)
            .bind(i64::from(version))
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        let gone = sqlx::query(
            "UPDATE adapter_versions SET deleted_at = $3, description = '', trigger_words = '' \
             WHERE name = $1 AND version = $2 AND deleted_at IS NULL",
        )
        .bind(name)
        .bind(i64::from(version))
        .bind(at)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        change.commit().await.map_err(storage)?;
        Ok(gone.rows_affected() > 0)
    }

    /// Adds a version. Version 0 takes the next number, in the same statement, so that two at once get two
    /// numbers. `None`: that number is taken.
    ///
    /// On PostgreSQL two at once may compute the same next number; the one that comes second inserts nothing and tries
    /// the next one.
    ///
    /// `addition`: what the ledger keeps of it, in the same transaction.
    pub(crate) async fn insert_adapter(
        &self,
        new: &AdapterVersion,
        addition: Option<&Addition>,
    ) -> Result<Option<AdapterVersion>, StudioError> {
        for _ in 0..TRIES {
            let mut change = self.change_alone().await?;
            let rows: Vec<AdapterRow> = sqlx::query_as(sql(format!(
                "INSERT INTO adapter_versions (name, version, hash, description, trigger_words, bytes, created_at) \
                 SELECT $1, CASE WHEN $2 > 0 THEN $2 ELSE COALESCE(MAX(version), 0) + 1 END, $3, $4, $5, $6, $7 \
                 FROM adapter_versions WHERE name = $1 \
                 ON CONFLICT (name, version) DO NOTHING RETURNING {COLUMNS}"
            )))
            .bind(&new.name)
            .bind(i64::from(new.version))
            .bind(&new.hash)
            .bind(&new.description)
            .bind(&new.trigger)
            .bind(new.bytes.cast_signed())
            .bind(new.created_at)
            .fetch_all(&mut *change)
            .await
            .map_err(storage)?;
            if let Some(stored) = rows.into_iter().next().map(AdapterVersion::from) {
                if let Some(Addition { who, file }) = addition {
                    let draft = Draft {
                        action: LedgerAction::Add,
                        alias: None,
                        from: None,
                        to: Some(stored.version),
                        verdict: None,
                        reason: file.clone(),
                    };
                    append(&mut change, &stored.name, (stored.created_at, who), |_| Ok(draft)).await?;
                }
                change.commit().await.map_err(storage)?;
                return Ok(Some(stored));
            }
            // Now, so that the next try does not wait for it.
            change.rollback().await.map_err(storage)?;
            if new.version != 0 {
                break;
            }
        }
        Ok(None)
    }

    /// What a file did to a model, if that is known.
    pub(crate) async fn receipt(
        &self,
        hash: &str,
        model: &str,
    ) -> Result<Option<AdapterReceipt>, StudioError> {
        let row: Option<(String,)> =
            sqlx::query_as("SELECT receipt FROM adapter_receipts WHERE hash = $1 AND model = $2")
                .bind(hash)
                .bind(model)
                .fetch_optional(&self.pool)
                .await
                .map_err(storage)?;
        row.map(|(text,)| decode(&text, "receipt", hash)).transpose()
    }

    /// Warnings about files that `model` applies only in part, by hash.
    pub(crate) async fn adapter_warnings(&self, model: &str) -> Result<HashMap<String, String>, StudioError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT hash, warning FROM adapter_receipts WHERE model = $1 AND warning IS NOT NULL",
        )
        .bind(model)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        Ok(rows.into_iter().collect())
    }

    /// Keeps what a file did to a model.
    pub(crate) async fn save_receipt(
        &self,
        hash: &str,
        model: &str,
        receipt: &AdapterReceipt,
    ) -> Result<(), StudioError> {
        sqlx::query(
            "INSERT INTO adapter_receipts (hash, model, receipt, warning) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (hash, model) DO UPDATE SET receipt = excluded.receipt, warning = excluded.warning",
        )
        .bind(hash)
        .bind(model)
        .bind(encode(receipt)?)
        .bind(receipt.warning.as_deref())
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    /// As if no file had been tried yet.
    #[cfg(test)]
    pub(crate) async fn forget_receipts(&self) -> Result<(), StudioError> {
        sqlx::query("DELETE FROM adapter_receipts").execute(&self.pool).await.map_err(storage)?;
        Ok(())
    }
}
