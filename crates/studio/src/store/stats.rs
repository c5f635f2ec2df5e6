//! Rows of figures: written in the transaction that ends a generation, read by the monitoring page and `/metrics`.

use std::sync::LazyLock;

use adire_protocol::{GenerationSpec, PromptCount, RatingCount, Recipe};
use sqlx::{Any, Transaction};

use super::{
    Store,
    batch::{Batch, Statement},
    decode, sql, storage,
};
use crate::{
    StudioError,
    stats::{BUCKETS_MS, cause, id_since, prompt_key, versions},
};

/// Generations that are filled in with one transaction.
const BATCH: i64 = 500;

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

/// Figures of one generation that has ended, `$1`. Two clocks: submissions have this node's, the rest the database's.
const ENDED: &str = "(SELECT g.id, j.state, COALESCE(j.finished_at, j.created_at) AS ended_at, \
                     COALESCE(g.versions, '') AS versions, g.render_ms, g.switches, \
                     (SELECT COUNT(*) FROM images i WHERE i.generation = g.id) AS images, \
                     CASE WHEN j.started_at < j.created_at THEN 0 ELSE j.started_at - j.created_at END AS wait_ms, \
                     CASE WHEN COALESCE(j.finished_at, j.created_at) < j.started_at THEN 0 \
                     ELSE COALESCE(j.finished_at, j.created_at) - j.started_at END AS run_ms \
                     FROM jobs j JOIN generations g ON g.id = j.id WHERE j.id = $1) AS e";

/// The label of the bucket of a column, as [`crate::stats::bucket`] gives it.
fn bucket_of(column: &str) -> String {
    let cases = BUCKETS_MS
        .iter()
        .map(|bound| format!("WHEN {column} <= {bound} THEN '{bound}' "))
        .collect::<String>();
    format!("CASE {cases}ELSE 'inf' END")
}

/// Adds the figures of a generation to the sums, unless it is in them. A generation is in them once, though one that was
/// resumed ends twice.
static ADD_TO_TOTALS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO stat_totals (versions, name, label, value) \
         SELECT e.versions, n.column1, CASE n.column1 WHEN 'generations' THEN e.state WHEN 'failures' THEN $2 \
         WHEN 'run_le' THEN {} WHEN 'wait_le' THEN {} ELSE '' END, \
         CASE n.column1 WHEN 'images' THEN e.images WHEN 'switches' THEN e.switches WHEN 'render_ms' THEN e.render_ms \
         WHEN 'run_ms' THEN e.run_ms WHEN 'wait_ms' THEN e.wait_ms ELSE 1 END \
         FROM {ENDED} CROSS JOIN (VALUES ('generations'), ('failures'), ('images'), ('switches'), ('render_ms'), \
         ('run_ms'), ('run_le'), ('wait_ms'), ('wait_le')) AS n \
         WHERE NOT EXISTS (SELECT 1 FROM generation_stats s WHERE s.generation = $1) \
         AND CASE n.column1 WHEN 'failures' THEN $2 <> '' WHEN 'run_ms' THEN e.state = 'done' AND e.run_ms IS NOT NULL \
         WHEN 'run_le' THEN e.state = 'done' AND e.run_ms IS NOT NULL WHEN 'wait_ms' THEN e.wait_ms IS NOT NULL \
         WHEN 'wait_le' THEN e.wait_ms IS NOT NULL ELSE TRUE END \
         ON CONFLICT (versions, name, label) DO UPDATE SET value = stat_totals.value + excluded.value",
        bucket_of("e.run_ms"),
        bucket_of("e.wait_ms")
    )
});

static KEEP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO generation_stats \
         (generation, ended_at, versions, outcome, cause, wait_ms, run_ms, render_ms, images, switches) \
         SELECT e.id, e.ended_at, e.versions, e.state, $2, e.wait_ms, e.run_ms, e.render_ms, e.images, e.switches \
         FROM {ENDED} WHERE TRUE ON CONFLICT (generation) DO NOTHING"
    )
});

/// Writes the figures of a generation that has just ended; again, it changes nothing. `cause`: the kind of its failure;
/// empty unless it failed.
pub(super) fn record(batch: &mut Batch, id: &str, cause: &str) {
    for text in [ADD_TO_TOTALS.as_str(), KEEP.as_str()] {
        batch.add(Statement::of(text).bind(id).bind(cause));
    }
}

/// Adds what an image cost to its generation. With the last one its network is forgotten.
pub(super) fn add_image(generation: &str, recipe: &Recipe, switched: bool, last: bool) -> Statement {
    let text = if last {
        "UPDATE generations SET render_ms = render_ms + $2, switches = switches + $3, network = NULL WHERE id = $1"
    } else {
        "UPDATE generations SET render_ms = render_ms + $2, switches = switches + $3 WHERE id = $1"
    };
    Statement::of(text).bind(generation).bind((recipe.seconds * 1e3).round() as i64).bind(i64::from(switched))
}

impl Store {
    /// Fills in the figures of generations from before there were any.
    pub(crate) async fn fill_stats(&self) -> Result<(), StudioError> {
        loop {
            let mut change = self.change().await?;
            let rows: Vec<(String, String, String, Option<String>)> = sqlx::query_as(
                "SELECT g.id, g.spec, j.state, j.error FROM generations g JOIN jobs j ON j.id = g.id \
                 WHERE g.versions IS NULL LIMIT $1",
            )
            .bind(BATCH)
            .fetch_all(&mut *change)
            .await
            .map_err(storage)?;
            if rows.is_empty() {
                return Ok(());
            }
            for (id, spec, state, error) in rows {
                fill(&mut change, &id, &spec).await?;
                if ["done", "failed", "cancelled"].contains(&state.as_str()) {
                    let cause =
                        if state == "failed" { cause(error.as_deref().unwrap_or_default()) } else { "" };
                    let mut batch = Batch::default();
                    record(&mut batch, &id, cause);
                    batch.run(&mut change).await?;
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

    /// The most frequent prompts of generations submitted from `since` on; of those with these adapter versions, if they
    /// are given.
    pub(crate) async fn common_prompts(
        &self,
        since: i64,
        versions: Option<&str>,
        limit: i64,
    ) -> Result<Vec<PromptCount>, StudioError> {
        // The index has every column that is read.
        let of = if versions.is_some() { "AND versions = $3" } else { "AND CAST($3 AS TEXT) IS NULL" };
        let rows: Vec<(i64, String)> = sqlx::query_as(sql(format!(
            "SELECT COUNT(*) AS generations, MAX(id) AS newest FROM generations \
             WHERE prompt_key <> '' AND id >= $1 {of} GROUP BY prompt_key ORDER BY 1 DESC, 2 DESC LIMIT $2"
        )))
        .bind(id_since(since))
        .bind(limit)
        .bind(versions)
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
            let mut batch = Batch::default();
            record(&mut batch, &id, if outcome == "failed" { cause("") } else { "" });
            batch.run(&mut change).await.unwrap();
        }
        change.commit().await.unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_database_knows_the_buckets() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), None).await.unwrap();
        for ms in [0, 250, 251, 9_999, 3_600_000, 3_600_001] {
            let rows: Vec<(String,)> =
                store.rows(&format!("SELECT {} FROM (SELECT {ms} AS ms) AS t", bucket_of("t.ms"))).await;
            assert_eq!(rows, [(crate::stats::bucket(ms),)]);
        }
    }
}
