//! Rows of figures: written in the transaction that ends a generation, read by the monitoring page and `/metrics`.

use adire_protocol::{GenerationSpec, PromptCount, RatingCount, Recipe};
use sqlx::{Any, Transaction};

use super::{Store, decode, sql, storage};
use crate::{
    StudioError,
    stats::{bucket, cause, id_since, prompt_key, versions},
};

/// Generations that are filled in with one transaction.
const BATCH: i64 = 500;

row! {
    struct EndedRow {
        state: String,
        error: Option<String>,
        created_at: i64,
        started_at: Option<i64>,
        finished_at: i64,
        versions: String,
        render_ms: i64,
        switches: i64,
        images: i64,
    }
}

row! {
    struct GroupRow {
        place: i64,
        versions: String,
        outcome: String,
        cause: String,
        generations: i64,
        images: i64,
        render_ms: i64,
        switches: i64,
        // Milliseconds of each, separated by spaces; absent where nobody knows.
        runs: Option<String>,
        waits: Option<String>,
    }
}

/// Generations that ended in one stretch of time, of the same versions, with the same outcome.
#[derive(Clone, Debug)]
pub(crate) struct StatGroup {
    /// Which stretch: time divided by its length.
    pub(crate) place: i64,
    pub(crate) versions: String,
    pub(crate) outcome: String,
    pub(crate) cause: String,
    pub(crate) generations: i64,
    pub(crate) images: i64,
    pub(crate) render_ms: i64,
    pub(crate) switches: i64,
    /// Milliseconds from start to end of each that is done, in order of size.
    pub(crate) runs: Vec<i64>,
    /// Milliseconds that each waited, in order of size.
    pub(crate) waits: Vec<i64>,
}

impl From<GroupRow> for StatGroup {
    fn from(row: GroupRow) -> Self {
        let GroupRow { place, versions, outcome, cause, generations, images, render_ms, switches, .. } = row;
        let (runs, waits) = (sorted(row.runs.as_deref()), sorted(row.waits.as_deref()));
        Self { place, versions, outcome, cause, generations, images, render_ms, switches, runs, waits }
    }
}

fn sorted(text: Option<&str>) -> Vec<i64> {
    let values = text.unwrap_or_default().split_ascii_whitespace();
    let mut values: Vec<i64> = values.filter_map(|value| value.parse().ok()).collect();
    values.sort_unstable();
    values
}

row! {
    /// A sum since the beginning.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct StatTotal {
        pub(crate) versions: String,
        pub(crate) name: String,
        pub(crate) label: String,
        pub(crate) value: i64,
    }
}

/// Writes the figures of a generation that has just ended; again, it changes nothing.
pub(super) async fn record(change: &mut Transaction<'_, Any>, id: &str) -> Result<(), StudioError> {
    let row: Option<EndedRow> = sqlx::query_as(
        "SELECT j.state, j.error, j.created_at, j.started_at, COALESCE(j.finished_at, j.created_at) AS finished_at, \
         COALESCE(g.versions, '') AS versions, g.render_ms, g.switches, \
         (SELECT COUNT(*) FROM images i WHERE i.generation = g.id) AS images \
         FROM jobs j JOIN generations g ON g.id = j.id WHERE j.id = $1",
    )
    .bind(id)
    .fetch_optional(&mut **change)
    .await
    .map_err(storage)?;
    let Some(row) = row else { return Ok(()) };
    let cause = if row.state == "failed" { cause(row.error.as_deref().unwrap_or_default()) } else { "" };
    // Two clocks: submissions have this node's, the rest the database's.
    let wait = row.started_at.map(|started| (started - row.created_at).max(0));
    let run = row.started_at.map(|started| (row.finished_at - started).max(0));
    let inserted = sqlx::query(
        "INSERT INTO generation_stats \
         (generation, ended_at, versions, outcome, cause, wait_ms, run_ms, render_ms, images, switches) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (generation) DO NOTHING",
    )
    .bind(id)
    .bind(row.finished_at)
    .bind(&row.versions)
    .bind(&row.state)
    .bind(cause)
    .bind(wait)
    .bind(run)
    .bind(row.render_ms)
    .bind(row.images)
    .bind(row.switches)
    .execute(&mut **change)
    .await
    .map_err(storage)?;
    if inserted.rows_affected() == 0 {
        return Ok(());
    }
    let mut sums = vec![("generations", row.state.clone(), 1)];
    if !cause.is_empty() {
        sums.push(("failures", cause.to_owned(), 1));
    }
    sums.extend([
        ("images", String::new(), row.images),
        ("switches", String::new(), row.switches),
        ("render_ms", String::new(), row.render_ms),
    ]);
    if let Some(run) = run.filter(|_| row.state == "done") {
        sums.extend([("run_ms", String::new(), run), ("run_le", bucket(run), 1)]);
    }
    if let Some(wait) = wait {
        sums.extend([("wait_ms", String::new(), wait), ("wait_le", bucket(wait), 1)]);
    }
    // One statement: each is a way to the database and back.
    let row_of = |i: usize| format!("($1, ${}, ${}, ${})", 3 * i + 2, 3 * i + 3, 3 * i + 4);
    let rows: Vec<String> = (0..sums.len()).map(row_of).collect();
    let text = format!(
        "INSERT INTO stat_totals (versions, name, label, value) VALUES {} \
         ON CONFLICT (versions, name, label) DO UPDATE SET value = stat_totals.value + excluded.value",
        rows.join(", ")
    );
    let mut query = sqlx::query(sql(text)).bind(&row.versions);
    for (name, label, value) in sums {
        query = query.bind(name).bind(label).bind(value);
    }
    query.execute(&mut **change).await.map_err(storage)?;
    Ok(())
}

/// Adds what an image cost to its generation.
pub(super) async fn add_image(
    change: &mut Transaction<'_, Any>,
    generation: &str,
    recipe: &Recipe,
    switched: bool,
) -> Result<(), StudioError> {
    sqlx::query("UPDATE generations SET render_ms = render_ms + $2, switches = switches + $3 WHERE id = $1")
        .bind(generation)
        .bind((recipe.seconds * 1e3).round() as i64)
        .bind(i64::from(switched))
        .execute(&mut **change)
        .await
        .map_err(storage)?;
    Ok(())
}

impl Store {
    /// Fills in the figures of generations from before there were any.
    pub(crate) async fn fill_stats(&self) -> Result<(), StudioError> {
        loop {
            let mut change = self.change().await?;
            let rows: Vec<(String, String, String)> = sqlx::query_as(
                "SELECT g.id, g.spec, j.state FROM generations g JOIN jobs j ON j.id = g.id \
                 WHERE g.versions IS NULL LIMIT $1",
            )
            .bind(BATCH)
            .fetch_all(&mut *change)
            .await
            .map_err(storage)?;
            if rows.is_empty() {
                return Ok(());
            }
            for (id, spec, state) in rows {
                fill(&mut change, &id, &spec).await?;
                if ["done", "failed", "cancelled"].contains(&state.as_str()) {
                    record(&mut change, &id).await?;
                }
            }
            change.commit().await.map_err(storage)?;
        }
    }

    /// Figures of generations that ended from `since` on and before `until`, in stretches of `step` milliseconds.
    pub(crate) async fn stat_groups(
        &self,
        since: i64,
        until: i64,
        step: i64,
    ) -> Result<Vec<StatGroup>, StudioError> {
        let rows: Vec<GroupRow> = sqlx::query_as(
            "SELECT ended_at / $2 AS place, versions, outcome, cause, COUNT(*) AS generations, \
             CAST(SUM(images) AS BIGINT) AS images, CAST(SUM(render_ms) AS BIGINT) AS render_ms, \
             CAST(SUM(switches) AS BIGINT) AS switches, \
             string_agg(CASE WHEN outcome = 'done' THEN CAST(run_ms AS TEXT) END, ' ') AS runs, \
             string_agg(CAST(wait_ms AS TEXT), ' ') AS waits \
             FROM generation_stats WHERE ended_at >= $1 AND ended_at < $3 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
        )
        .bind(since)
        .bind(step)
        .bind(until)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        Ok(rows.into_iter().map(StatGroup::from).collect())
    }

    /// When the first generation ended that figures are kept of.
    pub(crate) async fn first_stat_at(&self) -> Result<Option<i64>, StudioError> {
        let (at,): (Option<i64>,) = sqlx::query_as("SELECT MIN(ended_at) FROM generation_stats")
            .fetch_one(&self.pool)
            .await
            .map_err(storage)?;
        Ok(at)
    }

    /// Sums since the beginning.
    pub(crate) async fn stat_totals(&self) -> Result<Vec<StatTotal>, StudioError> {
        sqlx::query_as("SELECT versions, name, label, value FROM stat_totals ORDER BY versions, name, label")
            .fetch_all(&self.pool)
            .await
            .map_err(storage)
    }

    /// Forgets figures from before `before`. Sums since the beginning stay.
    pub(crate) async fn forget_stats(&self, before: i64) -> Result<(), StudioError> {
        for text in
            ["DELETE FROM generation_stats WHERE ended_at < $1", "DELETE FROM uptimes WHERE last_at < $1"]
        {
            sqlx::query(text).bind(before).execute(&self.pool).await.map_err(storage)?;
        }
        Ok(())
    }

    /// The most frequent prompts of generations submitted from `since` on.
    pub(crate) async fn common_prompts(
        &self,
        since: i64,
        limit: i64,
    ) -> Result<Vec<PromptCount>, StudioError> {
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT COUNT(*) AS generations, MAX(id) AS newest FROM generations \
             WHERE prompt_key <> '' AND id >= $1 GROUP BY prompt_key ORDER BY 1 DESC, 2 DESC LIMIT $2",
        )
        .bind(id_since(since))
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let mut prompts = Vec::with_capacity(rows.len());
        for (count, newest) in rows {
            // Deleted since: it is counted the next time.
            let Some(row) = self.generation(&newest).await? else { continue };
            prompts.push(PromptCount { prompt: row.spec()?.prompt, count: count.cast_unsigned() });
        }
        Ok(prompts)
    }

    /// How many images have which rating that was given from `since` on, by version.
    pub(crate) async fn rating_counts(&self, since: i64) -> Result<Vec<RatingCount>, StudioError> {
        let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
            "SELECT versions, COUNT(CASE WHEN thumb = 1 THEN 1 END) AS up, \
             COUNT(CASE WHEN thumb = -1 THEN 1 END) AS down, COUNT(CASE WHEN starred = 1 THEN 1 END) AS starred \
             FROM history WHERE rated_at IS NOT NULL AND rated_at >= $1 GROUP BY 1 ORDER BY 1",
        )
        .bind(since)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let named = |(version, up, down, starred): (String, i64, i64, i64)| {
            [("up", up), ("down", down), ("star", starred)].map(|(rating, count)| RatingCount {
                version: version.clone(),
                rating: rating.to_owned(),
                count: count.cast_unsigned(),
            })
        };
        Ok(rows.into_iter().flat_map(named).filter(|rating| rating.count > 0).collect())
    }

    /// Notes that this server is up.
    pub(crate) async fn note_uptime(&self, id: &str, started: i64, now: i64) -> Result<(), StudioError> {
        sqlx::query(
            "INSERT INTO uptimes (id, started_at, last_at) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET last_at = excluded.last_at",
        )
        .bind(id)
        .bind(started)
        .bind(now)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    /// When servers were up since `since`: first and last moment of each, in order.
    pub(crate) async fn uptimes(&self, since: i64) -> Result<Vec<(i64, i64)>, StudioError> {
        sqlx::query_as(
            "SELECT started_at, last_at FROM uptimes WHERE last_at >= $1 ORDER BY started_at, last_at",
        )
        .bind(since)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// The first moment that a server is known to have been up.
    pub(crate) async fn first_uptime(&self) -> Result<Option<i64>, StudioError> {
        let (at,): (Option<i64>,) = sqlx::query_as("SELECT MIN(started_at) FROM uptimes")
            .fetch_one(&self.pool)
            .await
            .map_err(storage)?;
        Ok(at)
    }
}

/// Fills in what a generation is counted by.
async fn fill(change: &mut Transaction<'_, Any>, id: &str, spec: &str) -> Result<(), StudioError> {
    // One that cannot be read is counted all the same.
    let spec: Option<GenerationSpec> = decode(spec, "request", id).ok();
    let recipes: Vec<(String,)> = sqlx::query_as("SELECT recipe FROM images WHERE generation = $1")
        .bind(id)
        .fetch_all(&mut **change)
        .await
        .map_err(storage)?;
    let render_ms: i64 = recipes
        .iter()
        .filter_map(|(recipe,)| decode::<Recipe>(recipe, "recipe", id).ok())
        .map(|recipe| (recipe.seconds * 1e3).round() as i64)
        .sum();
    let named = spec.as_ref().map(versions).unwrap_or_default();
    sqlx::query("UPDATE history SET versions = $2 WHERE generation = $1 AND rated_at IS NOT NULL")
        .bind(id)
        .bind(&named)
        .execute(&mut **change)
        .await
        .map_err(storage)?;
    sqlx::query("UPDATE generations SET versions = $2, prompt_key = $3, render_ms = $4 WHERE id = $1")
        .bind(id)
        .bind(&named)
        .bind(spec.as_ref().map(|spec| prompt_key(&spec.prompt)).unwrap_or_default())
        .bind(render_ms)
        .execute(&mut **change)
        .await
        .map_err(storage)?;
    Ok(())
}

#[cfg(test)]
impl Store {
    /// Executes a statement of a test.
    pub(crate) async fn execute_text(&self, text: &str) {
        sqlx::query(sql(text.to_owned())).execute(&self.pool).await.unwrap();
    }

    /// Rows of a statement of a test.
    pub(crate) async fn rows<T>(&self, text: &str) -> Vec<T>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::any::AnyRow> + Send + Unpin,
    {
        sqlx::query_as(sql(text.to_owned())).fetch_all(&self.pool).await.unwrap()
    }

    /// Writes as many generations that ended in the 90 days before `now`.
    pub(crate) async fn fill_with_stats(&self, count: i64, now: i64, spec: &str) {
        let mut change = self.change().await.unwrap();
        for n in 0..count {
            let at = now - 90 * 86_400_000 + n * (90 * 86_400_000 / count);
            let id = format!("{}{n:012}", &id_since(at)[..24]);
            let outcome = ["done", "done", "done", "done", "failed", "cancelled"][(n % 6) as usize];
            let texts = [
                "INSERT INTO jobs (id, kind, state, owner, turn, cost, created_at, started_at, finished_at) \
                 VALUES ($1, 'generation', $2, '', 0, 1, $3, $3 + 700 + $4 % 5000, $3 + 9000 + $4 % 40000)",
                "INSERT INTO generations (id, spec, versions, prompt_key, render_ms) \
                 VALUES ($1, $2, $5, $6, $3 + $4 - $3)",
            ];
            sqlx::query(texts[0])
                .bind(&id)
                .bind(outcome)
                .bind(at)
                .bind(n * 37)
                .execute(&mut *change)
                .await
                .unwrap();
            sqlx::query(texts[1])
                .bind(&id)
                .bind(spec)
                .bind(at)
                .bind(n % 9000)
                .bind(["", "adire@v1", "adire@v2", "adire@v1 + other@v3", "adire@v3"][(n % 5) as usize])
                .bind(format!("{:024}", (n * n) % 3000))
                .execute(&mut *change)
                .await
                .unwrap();
            record(&mut change, &id).await.unwrap();
        }
        change.commit().await.unwrap();
    }
}
