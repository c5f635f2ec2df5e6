//! Rows of a shadow's pairs: counted when a generation ends, scored when the device is idle.

use adire_protocol::{GenerationSpec, Recipe};
use sqlx::AnyConnection;

use super::{Store, batch::Statement, decode, shadows::end_where_full, sql::Real, sql::storable, storage};
use crate::StudioError;

/// Pairs of a shadow whose images are kept.
const KEPT_IMAGES: i64 = 20;

row! {
    /// A pair that waits, with the visitor's image.
    #[derive(Clone, Debug)]
    pub(crate) struct Waiting {
        pub(crate) shadow: String,
        pub(crate) number: i64,
        pub(crate) generation: String,
        pub(crate) attempts: i64,
        recipe: String,
        // The visitor's image.
        pub(crate) hash: String,
        // The challenger's, where it is rendered already.
        pub(crate) rendered: Option<String>,
    }
}

impl Waiting {
    pub(crate) fn recipe(&self) -> Result<Recipe, StudioError> {
        decode(&self.recipe, "recipe", &self.hash)
    }
}

row! {
    /// A pair's state and scores.
    #[derive(Clone, Debug)]
    pub(crate) struct PairRow {
        state: String,
        champion_clip: Option<f64>,
        challenger_clip: Option<f64>,
        champion_style: Option<f64>,
        challenger_style: Option<f64>,
    }
}

impl PairRow {
    pub(crate) fn is_waiting(&self) -> bool {
        self.state == "waiting"
    }

    /// Scores of a pair that has some.
    pub(crate) fn scores(&self) -> Option<PairScores> {
        Some(PairScores {
            clip: [self.champion_clip?, self.challenger_clip?],
            style: self.champion_style.zip(self.challenger_style).map(|(a, b)| [a, b]),
        })
    }
}

/// Scores of the champion's image and of the challenger's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PairScores {
    pub(crate) clip: [f64; 2],
    pub(crate) style: Option<[f64; 2]>,
}

row! {
    /// A scored pair whose images are there.
    #[derive(Clone, Debug)]
    pub(crate) struct KeptPair {
        pub(crate) number: i64,
        recipe: String,
        pub(crate) champion: String,
        pub(crate) challenger: String,
        champion_clip: f64,
        challenger_clip: f64,
        champion_style: Option<f64>,
        challenger_style: Option<f64>,
    }
}

impl KeptPair {
    pub(crate) fn recipe(&self) -> Result<Recipe, StudioError> {
        decode(&self.recipe, "recipe", &self.champion)
    }

    pub(crate) fn scores(&self) -> PairScores {
        PairScores {
            clip: [self.champion_clip, self.challenger_clip],
            style: self.champion_style.zip(self.challenger_style).map(|(a, b)| [a, b]),
        }
    }
}

row! {
    /// A shadow that is on.
    pub(super) struct OnRow {
        id: String,
        name: String,
        version: i64,
        champion: i64,
        base: String,
    }
}

impl OnRow {
    /// Whether a finished generation is one of the version in production, made from its prompt and noise alone.
    fn counts(&self, spec: &GenerationSpec, recipe: &Recipe) -> bool {
        let uses = |version: i64| {
            let id = format!("{}@v{version}", self.name);
            spec.adapters.iter().any(|adapter| adapter.name == id)
        };
        uses(self.champion)
            && !uses(self.version)
            && spec.init_image.is_none()
            && !recipe.withheld
            && recipe.model_hash == self.base
    }
}

/// Finds the shadows that a generation may count for.
pub(super) fn counting(generation: &str) -> Statement {
    Statement::of(
        "SELECT s.id, s.name, s.version, s.champion, s.base FROM shadows s JOIN jobs j ON j.model = s.base \
         WHERE j.id = $1 AND s.ended_at IS NULL ORDER BY s.name",
    )
    .bind(generation)
}

/// Counts a generation that has just ended well, in the same transaction; every k-th becomes a pair.
pub(super) async fn count(
    change: &mut AnyConnection,
    generation: &str,
    on: Vec<OnRow>,
) -> Result<(), StudioError> {
    if on.is_empty() {
        return Ok(());
    }
    let made: Vec<(String, String)> = sqlx::query_as(
        "SELECT g.spec, i.recipe FROM generations g JOIN images i ON i.generation = g.id AND i.position = 0 \
         WHERE g.id = $1",
    )
    .bind(generation)
    .fetch_all(&mut *change)
    .await
    .map_err(storage)?;
    let Some((spec, recipe)) = made.first() else { return Ok(()) };
    let (Ok(spec), Ok(recipe)) = (decode(spec, "request", generation), decode(recipe, "recipe", generation))
    else {
        // A visitor's generation must not fail over that.
        tracing::warn!(generation, "not counted for a shadow: its row is unreadable");
        return Ok(());
    };
    for shadow in on.into_iter().filter(|shadow| shadow.counts(&spec, &recipe)) {
        sqlx::query("UPDATE shadows SET generations = generations + 1 WHERE id = $1 AND ended_at IS NULL")
            .bind(&shadow.id)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        sqlx::query(
            "INSERT INTO shadow_pairs (shadow, number, generation, state) \
             SELECT s.id, s.generations, $2, 'waiting' FROM shadows s \
             WHERE s.id = $1 AND s.ended_at IS NULL AND s.generations % s.every = 0 AND s.max_pairs > \
             (SELECT COUNT(*) FROM shadow_pairs p WHERE p.shadow = s.id AND p.state <> 'left_out') \
             ON CONFLICT (shadow, number) DO NOTHING",
        )
        .bind(&shadow.id)
        .bind(generation)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
    }
    Ok(())
}

impl Store {
    /// The oldest pair that waits, of shadows for a base model.
    pub(crate) async fn next_pair(&self, base: &str) -> Result<Option<Waiting>, StudioError> {
        sqlx::query_as(
            "SELECT p.shadow, p.number, p.generation, p.attempts, i.recipe, i.hash, r.hash AS rendered \
             FROM shadow_pairs p JOIN shadows s ON s.id = p.shadow \
             JOIN images i ON i.generation = p.generation AND i.position = 0 \
             LEFT JOIN shadow_images r ON r.shadow = p.shadow AND r.number = p.number \
             WHERE p.state = 'waiting' AND s.ended_at IS NULL AND s.base = $1 ORDER BY p.generation LIMIT 1",
        )
        .bind(base)
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)
    }

    /// A rendering of a pair begins, or with −1 was broken off. It is written first, because it may crash the server.
    pub(crate) async fn count_attempt(&self, pair: &Waiting, more: i64) -> Result<(), StudioError> {
        sqlx::query("UPDATE shadow_pairs SET attempts = attempts + $3 WHERE shadow = $1 AND number = $2")
            .bind(&pair.shadow)
            .bind(pair.number)
            .bind(more)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// Keeps the challenger's image. `false`: the pair does not wait any more.
    pub(crate) async fn save_shadow_image(&self, pair: &Waiting, hash: &str) -> Result<bool, StudioError> {
        let mut change = self.change().await?;
        let done = sqlx::query(
            "UPDATE shadow_pairs SET attempts = 0 WHERE shadow = $1 AND number = $2 AND state = 'waiting'",
        )
        .bind(&pair.shadow)
        .bind(pair.number)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO shadow_images (shadow, number, generation, hash) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (shadow, number) DO NOTHING",
        )
        .bind(&pair.shadow)
        .bind(pair.number)
        .bind(&pair.generation)
        .bind(hash)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        change.commit().await.map_err(storage)?;
        Ok(true)
    }

    /// A pair is scored: older images go, and with the last pair the shadow ends.
    pub(crate) async fn save_pair_scores(
        &self,
        pair: &Waiting,
        scores: PairScores,
        at: i64,
    ) -> Result<(), StudioError> {
        let mut change = self.change_alone().await?;
        let done = sqlx::query(
            "UPDATE shadow_pairs SET state = 'scored', champion_clip = $3, challenger_clip = $4, champion_style = $5, \
             challenger_style = $6 WHERE shadow = $1 AND number = $2 AND state = 'waiting'",
        )
        .bind(&pair.shadow)
        .bind(pair.number)
        .bind(scores.clip[0])
        .bind(scores.clip[1])
        .bind(Real(scores.style.map(|style| style[0])))
        .bind(Real(scores.style.map(|style| style[1])))
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        if done.rows_affected() == 0 {
            return Ok(());
        }
        sqlx::query(
            "DELETE FROM shadow_images WHERE shadow = $1 AND number NOT IN \
             (SELECT number FROM shadow_images WHERE shadow = $1 ORDER BY number DESC LIMIT $2)",
        )
        .bind(&pair.shadow)
        .bind(KEPT_IMAGES)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        end_where_full(&mut change, &pair.shadow, at).await?;
        change.commit().await.map_err(storage)
    }

    /// Leaves a pair out; returns how many of the newest ones in a row were left out for that reason.
    pub(crate) async fn leave_out(&self, pair: &Waiting, note: &str) -> Result<usize, StudioError> {
        let mut change = self.change().await?;
        sqlx::query("DELETE FROM shadow_images WHERE shadow = $1 AND number = $2")
            .bind(&pair.shadow)
            .bind(pair.number)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        sqlx::query(
            "UPDATE shadow_pairs SET state = 'left_out', note = $3 \
             WHERE shadow = $1 AND number = $2 AND state = 'waiting'",
        )
        .bind(&pair.shadow)
        .bind(pair.number)
        .bind(note)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        let before: Vec<(Option<String>,)> = sqlx::query_as(
            "SELECT note FROM shadow_pairs WHERE shadow = $1 AND number <= $2 ORDER BY number DESC LIMIT 10",
        )
        .bind(&pair.shadow)
        .bind(pair.number)
        .fetch_all(&mut *change)
        .await
        .map_err(storage)?;
        change.commit().await.map_err(storage)?;
        Ok(before.iter().take_while(|(other,)| other.as_deref() == Some(note)).count())
    }

    /// The pairs of a shadow, in order.
    pub(crate) async fn pairs(&self, shadow: &str) -> Result<Vec<PairRow>, StudioError> {
        sqlx::query_as(
            "SELECT state, champion_clip, challenger_clip, champion_style, challenger_style FROM shadow_pairs \
             WHERE shadow = $1 ORDER BY number",
        )
        .bind(shadow)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// Scored pairs of a shadow whose images are there, the last one first.
    pub(crate) async fn kept_pairs(&self, shadow: &str) -> Result<Vec<KeptPair>, StudioError> {
        sqlx::query_as(
            "SELECT p.number, i.recipe, i.hash AS champion, r.hash AS challenger, p.champion_clip, p.challenger_clip, \
             p.champion_style, p.challenger_style FROM shadow_pairs p \
             JOIN shadow_images r ON r.shadow = p.shadow AND r.number = p.number \
             JOIN images i ON i.generation = p.generation AND i.position = 0 \
             WHERE p.shadow = $1 AND p.state = 'scored' ORDER BY p.number DESC",
        )
        .bind(shadow)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// Whether a challenger's image has that name.
    pub(crate) async fn has_shadow_image(&self, hash: &str) -> Result<bool, StudioError> {
        if !storable(hash) {
            return Ok(false);
        }
        let found: Option<(String,)> =
            sqlx::query_as("SELECT hash FROM shadow_images WHERE hash = $1 LIMIT 1")
                .bind(hash)
                .fetch_optional(&self.pool)
                .await
                .map_err(storage)?;
        Ok(found.is_some())
    }
}
