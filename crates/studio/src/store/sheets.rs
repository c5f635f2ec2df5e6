//! Rows of sheets and their cells.

use adire_protocol::{SheetCell, SheetCellState, SheetRecord, SheetRequest, SheetState};

use super::{Store, decode, encode, images::image_url, storage};
use crate::StudioError;

row! {
    struct SheetRow {
        id: String,
        request: String,
        created_at: i64,
        closed_at: Option<i64>,
        cells: i64,
        done: i64,
        failed: i64,
    }
}

impl SheetRow {
    fn record(self) -> Result<SheetRecord, StudioError> {
        let count = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
        let state = match self.closed_at {
            _ if self.done + self.failed >= self.cells => SheetState::Done,
            Some(_) => SheetState::Cancelled,
            None => SheetState::Running,
        };
        Ok(SheetRecord {
            request: decode(&self.request, "sheet", &self.id)?,
            id: self.id,
            state,
            done: count(self.done),
            failed: count(self.failed),
            cells: count(self.cells),
            created_at: self.created_at,
        })
    }
}

row! {
    struct CellRow {
        position: i64,
        generation: Option<String>,
        error: Option<String>,
        state: Option<String>,
        failure: Option<String>,
        spec: Option<String>,
        hash: Option<String>,
    }
}

impl CellRow {
    fn cell(self, request: &SheetRequest) -> Result<SheetCell, StudioError> {
        let position = usize::try_from(self.position).unwrap_or_default();
        let state = match (&self.generation, &self.error, self.state.as_deref(), &self.hash) {
            (_, Some(_), ..) => SheetCellState::Failed,
            (None, ..) => SheetCellState::Waiting,
            (_, _, Some("queued"), _) => SheetCellState::Queued,
            (_, _, Some("running" | "paused"), _) => SheetCellState::Running,
            (_, _, Some("done"), Some(_)) => SheetCellState::Done,
            (_, _, Some("failed"), _) => SheetCellState::Failed,
            (_, _, Some("cancelled"), _) => SheetCellState::Cancelled,
            _ => SheetCellState::Deleted,
        };
        let spec =
            self.spec.map(|spec| decode(&spec, "request", self.generation.as_deref().unwrap_or_default()));
        Ok(SheetCell {
            values: request.values(position).into_iter().map(str::to_owned).collect(),
            state,
            generation: self.generation.clone(),
            spec: spec.transpose()?,
            url: self.hash.as_deref().map(image_url),
            image: self.hash,
            error: self.error.or(self.failure),
        })
    }
}

/// A cell has ended without an image, or its image is gone.
const SELECT: &str = "SELECT s.id, s.request, s.created_at, s.closed_at, \
     (SELECT COUNT(*) FROM sheet_cells c WHERE c.sheet = s.id) AS cells, \
     (SELECT COUNT(*) FROM sheet_cells c JOIN images i ON i.generation = c.generation AND i.position = 0 \
      JOIN jobs j ON j.id = c.generation WHERE c.sheet = s.id AND j.state = 'done') AS done, \
     (SELECT COUNT(*) FROM sheet_cells c LEFT JOIN jobs j ON j.id = c.generation \
      WHERE c.sheet = s.id AND (c.error IS NOT NULL OR c.generation IS NOT NULL AND (j.id IS NULL \
      OR j.state IN ('failed', 'cancelled') OR j.state = 'done' AND NOT EXISTS \
      (SELECT 1 FROM images i WHERE i.generation = c.generation AND i.position = 0)))) AS failed FROM sheets s";

impl Store {
    /// Writes a sheet with its cells.
    pub(crate) async fn insert_sheet(
        &self,
        id: &str,
        request: &SheetRequest,
        at: i64,
    ) -> Result<(), StudioError> {
        let mut change = self.change().await?;
        sqlx::query("INSERT INTO sheets (id, request, created_at) VALUES ($1, $2, $3)")
            .bind(id)
            .bind(encode(request)?)
            .bind(at)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        for position in 0..request.cells() {
            sqlx::query("INSERT INTO sheet_cells (sheet, position) VALUES ($1, $2)")
                .bind(id)
                .bind(i64::try_from(position).unwrap_or(i64::MAX))
                .execute(&mut *change)
                .await
                .map_err(storage)?;
        }
        change.commit().await.map_err(storage)
    }

    /// The newest sheets, at most 100.
    pub(crate) async fn sheets(&self) -> Result<Vec<SheetRecord>, StudioError> {
        let rows: Vec<SheetRow> =
            sqlx::query_as(super::sql(format!("{SELECT} ORDER BY s.id DESC LIMIT 100")))
                .fetch_all(&self.pool)
                .await
                .map_err(storage)?;
        rows.into_iter().map(SheetRow::record).collect()
    }

    /// A sheet.
    pub(crate) async fn sheet(&self, id: &str) -> Result<Option<SheetRecord>, StudioError> {
        let row: Option<SheetRow> = sqlx::query_as(super::sql(format!("{SELECT} WHERE s.id = $1")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)?;
        row.map(SheetRow::record).transpose()
    }

    /// Its cells, in their order.
    pub(crate) async fn sheet_cells(
        &self,
        id: &str,
        request: &SheetRequest,
    ) -> Result<Vec<SheetCell>, StudioError> {
        let rows: Vec<CellRow> = sqlx::query_as(
            "SELECT c.position, c.generation, c.error, j.state, j.error AS failure, g.spec, i.hash \
             FROM sheet_cells c LEFT JOIN jobs j ON j.id = c.generation \
             LEFT JOIN generations g ON g.id = c.generation \
             LEFT JOIN images i ON i.generation = c.generation AND i.position = 0 \
             WHERE c.sheet = $1 ORDER BY c.position",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        rows.into_iter().map(|row| row.cell(request)).collect()
    }

    /// Sheets with cells that are to be put into the queue, the oldest first, each with the first of these cells and the
    /// number of its cells that are there.
    pub(crate) async fn open_sheets(&self) -> Result<Vec<(String, i64, i64)>, StudioError> {
        sqlx::query_as(
            "SELECT s.id, MIN(c.position) AS position, (SELECT COUNT(*) FROM sheet_cells o \
             JOIN jobs j ON j.id = o.generation WHERE o.sheet = s.id AND j.state IN ('queued', 'running')) AS busy \
             FROM sheets s JOIN sheet_cells c ON c.sheet = s.id AND c.generation IS NULL AND c.error IS NULL \
             WHERE s.closed_at IS NULL GROUP BY s.id ORDER BY s.id",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// Cells of a sheet that are to be put into the queue, in their order.
    pub(crate) async fn open_cells(&self, sheet: &str) -> Result<Vec<i64>, StudioError> {
        let rows: Vec<(i64,)> = sqlx::query_as(
            "SELECT position FROM sheet_cells WHERE sheet = $1 AND generation IS NULL AND error IS NULL \
             ORDER BY position",
        )
        .bind(sheet)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        Ok(rows.into_iter().map(|(position,)| position).collect())
    }

    /// Gives a cell its generation, or the reason why it has none. `false`: it has one, or the sheet is cancelled.
    pub(crate) async fn fill_cell(
        &self,
        (sheet, position): (&str, i64),
        filled: Result<&str, &str>,
    ) -> Result<bool, StudioError> {
        let written = sqlx::query(
            "UPDATE sheet_cells SET generation = $3, error = $4 WHERE sheet = $1 AND position = $2 \
             AND generation IS NULL AND error IS NULL \
             AND EXISTS (SELECT 1 FROM sheets WHERE sheets.id = $1 AND sheets.closed_at IS NULL)",
        )
        .bind(sheet)
        .bind(position)
        .bind(filled.ok())
        .bind(filled.err())
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(written.rows_affected() > 0)
    }

    /// Puts no more of a sheet's cells into the queue; its generations that wait or run.
    pub(crate) async fn close_sheet(&self, id: &str, at: i64) -> Result<Vec<String>, StudioError> {
        sqlx::query("UPDATE sheets SET closed_at = $2 WHERE id = $1 AND closed_at IS NULL")
            .bind(id)
            .bind(at)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT c.generation FROM sheet_cells c JOIN jobs j ON j.id = c.generation \
             WHERE c.sheet = $1 AND j.state IN ('queued', 'running')",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        Ok(rows.into_iter().map(|(generation,)| generation).collect())
    }

    /// Forgets a sheet. Its images stay.
    pub(crate) async fn delete_sheet(&self, id: &str) -> Result<(), StudioError> {
        let mut change = self.change().await?;
        for text in ["DELETE FROM sheet_cells WHERE sheet = $1", "DELETE FROM sheets WHERE id = $1"] {
            sqlx::query(text).bind(id).execute(&mut *change).await.map_err(storage)?;
        }
        change.commit().await.map_err(storage)
    }
}
