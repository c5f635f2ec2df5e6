//! Rows of evaluations, their steps and their images.

use adire_protocol::{
    EvaluationImage, EvaluationRequest, EvaluationRole, EvaluationState, EvaluationStep, EvaluationStepName,
    EvaluationVerdict, VerdictOutcome,
};

use super::{
    Store, decode, encode,
    images::image_url,
    jobs::{forget_attempts, insert_job},
    sql,
    sql::{Real, storable},
    storage,
    training::OF_VERSION,
};
use crate::{
    StudioError,
    job::{Asked, Lease, NewJob, Queued, WriteError},
};

row! {
    /// An evaluation as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct EvaluationRow {
        pub(crate) id: String,
        request: String,
        pub(crate) name: String,
        pub(crate) version: i64,
        pub(crate) hash: String,
        pub(crate) champion: Option<i64>,
        pub(crate) champion_hash: Option<String>,
        pub(crate) base: String,
        suite: String,
        pub(crate) policy: String,
        pub(crate) judge: Option<String>,
        pub(crate) images: i64,
        warnings: String,
        verdict: Option<String>,
        state: String,
        asked: Option<String>,
        pub(crate) created_at: i64,
        pub(crate) started_at: Option<i64>,
        pub(crate) finished_at: Option<i64>,
        pub(crate) error: Option<String>,
        pub(crate) images_done: i64,
    }
}

row! {
    struct ImageRow {
        role: String,
        prompt: i64,
        seed: i64,
        text: String,
        hash: String,
        seconds: f64,
        clip_score: Option<f64>,
        style_margin: Option<f64>,
    }
}

/// What an evaluation is created with.
#[derive(Clone, Debug)]
pub(crate) struct NewEvaluation {
    pub(crate) request: EvaluationRequest,
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) hash: String,
    pub(crate) champion: Option<(u32, String)>,
    pub(crate) base: String,
    /// JSON.
    pub(crate) suite: String,
    /// TOML.
    pub(crate) policy: String,
    pub(crate) warnings: Vec<String>,
}

/// Scores of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ImageScore {
    pub(crate) role: EvaluationRole,
    pub(crate) prompt: u32,
    pub(crate) seed: u64,
    pub(crate) clip_score: Option<f64>,
    pub(crate) style_margin: Option<f64>,
}

/// An image to keep.
#[derive(Clone, Debug)]
pub(crate) struct NewImage {
    pub(crate) role: EvaluationRole,
    pub(crate) prompt: u32,
    pub(crate) seed: u64,
    pub(crate) text: String,
    pub(crate) recipe: String,
    pub(crate) hash: String,
    pub(crate) seconds: f64,
}

impl EvaluationRow {
    pub(crate) fn state(&self) -> EvaluationState {
        if self.asked.as_deref().and_then(Asked::of) == Some(Asked::Cancel) {
            return EvaluationState::Cancelled;
        }
        // No evaluation is ever paused, and the column's CHECK leaves no other word.
        EvaluationState::of(&self.state).unwrap_or(EvaluationState::Failed)
    }

    pub(crate) fn request(&self) -> Result<EvaluationRequest, StudioError> {
        decode(&self.request, "evaluation", &self.id)
    }

    pub(crate) fn suite<T: serde::de::DeserializeOwned>(&self) -> Result<T, StudioError> {
        decode(&self.suite, "suite", &self.id)
    }

    pub(crate) fn warnings(&self) -> Result<Vec<String>, StudioError> {
        decode(&self.warnings, "warnings", &self.id)
    }

    pub(crate) fn verdict(&self) -> Result<Option<EvaluationVerdict>, StudioError> {
        self.verdict.as_deref().map(|text| decode(text, "verdict", &self.id)).transpose()
    }

    pub(crate) fn version(&self) -> u32 {
        u32::try_from(self.version).unwrap_or(u32::MAX)
    }

    /// `name@vN`.
    pub(crate) fn id_of_version(&self) -> String {
        format!("{}@v{}", self.name, self.version)
    }

    /// `name@vN` of the version that it is compared with.
    pub(crate) fn id_of_champion(&self) -> Option<String> {
        self.champion.map(|version| format!("{}@v{version}", self.name))
    }
}

impl super::About {
    pub(crate) const EVALUATION: Self = Self::of_admin("evaluations", "a.request");
}

const SELECT: &str = "SELECT e.id, e.request, e.name, e.version, e.hash, e.champion, e.champion_hash, e.base, e.suite, \
                      e.policy, e.judge, e.images, e.warnings, e.verdict, j.state, j.asked, j.created_at, \
                      j.started_at, j.finished_at, j.error, \
                      (SELECT COUNT(*) FROM evaluation_images i WHERE i.evaluation = e.id) AS images_done \
                      FROM evaluations e JOIN jobs j ON j.id = e.id";

impl Store {
    /// Writes an evaluation and puts it into the queue.
    pub(crate) async fn insert_evaluation(
        &self,
        job: &NewJob,
        new: &NewEvaluation,
    ) -> Result<Queued, StudioError> {
        let mut change = self.change_alone().await?;
        let queued = insert_job(&mut change, job).await?;
        sqlx::query(
            "INSERT INTO evaluations (id, request, name, version, hash, champion, champion_hash, base, suite, policy, warnings) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(&job.id)
        .bind(encode(&new.request)?)
        .bind(&new.name)
        .bind(i64::from(new.version))
        .bind(&new.hash)
        .bind(new.champion.as_ref().map(|(version, _)| i64::from(*version)))
        .bind(new.champion.as_ref().map(|(_, hash)| hash.clone()))
        .bind(&new.base)
        .bind(&new.suite)
        .bind(&new.policy)
        .bind(encode(&new.warnings)?)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        change.commit().await.map_err(storage)?;
        Ok(queued)
    }

    pub(crate) async fn evaluation(&self, id: &str) -> Result<Option<EvaluationRow>, StudioError> {
        if !storable(id) {
            return Ok(None);
        }
        sqlx::query_as(sql(format!("{SELECT} WHERE e.id = $1")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    /// The newest first; of one adapter, if a name is given.
    pub(crate) async fn evaluations(&self, name: Option<&str>) -> Result<Vec<EvaluationRow>, StudioError> {
        sqlx::query_as(sql(format!(
            "{SELECT} WHERE CAST($1 AS TEXT) IS NULL OR e.name = $1 ORDER BY e.id DESC"
        )))
        .bind(name)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// What the plan says.
    pub(crate) async fn plan_evaluation(
        &self,
        lease: &Lease,
        judge: &str,
        images: u32,
        warnings: &[String],
    ) -> Result<(), WriteError> {
        let mut change = self.change_noted(lease, "planned").await?;
        sqlx::query("UPDATE evaluations SET judge = $2, images = $3, warnings = $4 WHERE id = $1")
            .bind(&lease.job)
            .bind(judge)
            .bind(i64::from(images))
            .bind(encode(&warnings)?)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        Ok(change.commit().await.map_err(storage)?)
    }

    /// A step as it stands. `gained`: claims before it do not count any more.
    pub(crate) async fn save_step(
        &self,
        lease: &Lease,
        step: &EvaluationStep,
        gained: bool,
    ) -> Result<(), WriteError> {
        let mut change = self.change_noted(lease, "step").await?;
        if gained {
            forget_attempts(&mut change, &lease.job).await?;
        }
        sqlx::query(
            "INSERT INTO evaluation_steps (evaluation, name, key, detail, state) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (evaluation, name) DO UPDATE SET key = excluded.key, detail = excluded.detail, \
             state = excluded.state",
        )
        .bind(&lease.job)
        .bind(step.name.name())
        .bind(step.key.as_deref().unwrap_or_default())
        .bind(encode(step)?)
        .bind(encode(&step.state)?)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        Ok(change.commit().await.map_err(storage)?)
    }

    /// Keeps what scoring came to, by the key of all that it follows from.
    pub(crate) async fn keep_scores(&self, lease: &Lease, key: &str, output: &str) -> Result<(), WriteError> {
        let (mut change, _) = self.change_held(lease, 0).await?;
        sqlx::query(
            "INSERT INTO evaluation_scores (key, output) VALUES ($1, $2) \
             ON CONFLICT (key) DO UPDATE SET output = excluded.output",
        )
        .bind(key)
        .bind(output)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        Ok(change.commit().await.map_err(storage)?)
    }

    /// What [`Self::keep_scores`] has kept.
    pub(crate) async fn scores(&self, key: &str) -> Result<Option<String>, StudioError> {
        let row: Option<(String,)> = sqlx::query_as("SELECT output FROM evaluation_scores WHERE key = $1")
            .bind(key)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)?;
        Ok(row.map(|(output,)| output))
    }

    /// Steps of an evaluation, in no order.
    pub(crate) async fn steps(&self, id: &str) -> Result<Vec<EvaluationStep>, StudioError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT detail FROM evaluation_steps WHERE evaluation = $1")
                .bind(id)
                .fetch_all(&self.pool)
                .await
                .map_err(storage)?;
        rows.iter().map(|(text,)| decode(text, "step of the evaluation", id)).collect()
    }

    /// Id of the newest other evaluation that has run a step with this key.
    pub(crate) async fn earlier_step(
        &self,
        id: &str,
        name: EvaluationStepName,
        key: &str,
    ) -> Result<Option<String>, StudioError> {
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT evaluation FROM evaluation_steps \
             WHERE key = $1 AND name = $2 AND evaluation <> $3 AND state IN ('\"done\"', '\"reused\"') \
             ORDER BY evaluation DESC LIMIT 1",
        )
        .bind(key)
        .bind(name.name())
        .bind(id)
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)?;
        Ok(row.map(|(evaluation,)| evaluation))
    }

    /// The same step of the newest other evaluation of an adapter: with which inputs are compared.
    pub(crate) async fn step_before(
        &self,
        id: &str,
        adapter: &str,
        name: EvaluationStepName,
    ) -> Result<Option<EvaluationStep>, StudioError> {
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT s.detail FROM evaluation_steps s JOIN evaluations e ON e.id = s.evaluation \
             WHERE e.name = $1 AND s.name = $2 AND e.id <> $3 ORDER BY e.id DESC LIMIT 1",
        )
        .bind(adapter)
        .bind(name.name())
        .bind(id)
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)?;
        row.map(|(text,)| decode(&text, "step of the evaluation", id)).transpose()
    }

    /// A rendered image of this recipe, with the seconds that it took.
    pub(crate) async fn rendered(&self, recipe: &str) -> Result<Option<(String, f64)>, StudioError> {
        sqlx::query_as("SELECT hash, seconds FROM evaluation_images WHERE recipe = $1 LIMIT 1")
            .bind(recipe)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    pub(crate) async fn save_evaluation_image(
        &self,
        lease: &Lease,
        image: &NewImage,
    ) -> Result<(), WriteError> {
        let mut change = self.change_noted(lease, "image").await?;
        forget_attempts(&mut change, &lease.job).await?;
        sqlx::query(
            "INSERT INTO evaluation_images (evaluation, role, prompt, seed, text, recipe, hash, seconds) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (evaluation, role, prompt, seed) DO NOTHING",
        )
        .bind(&lease.job)
        .bind(image.role.name())
        .bind(i64::from(image.prompt))
        .bind(image.seed.cast_signed())
        .bind(&image.text)
        .bind(&image.recipe)
        .bind(&image.hash)
        .bind(image.seconds)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        Ok(change.commit().await.map_err(storage)?)
    }

    /// Images of an evaluation, by role, prompt and seed.
    pub(crate) async fn evaluation_images(&self, id: &str) -> Result<Vec<EvaluationImage>, StudioError> {
        let rows: Vec<ImageRow> = sqlx::query_as(
            "SELECT role, prompt, seed, text, hash, seconds, clip_score, style_margin FROM evaluation_images \
             WHERE evaluation = $1 ORDER BY role, prompt, seed",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let image = |row: ImageRow| {
            Some(EvaluationImage {
                role: EvaluationRole::of(&row.role)?,
                prompt: u32::try_from(row.prompt).ok()?,
                seed: row.seed.cast_unsigned(),
                text: row.text,
                url: image_url(&row.hash),
                hash: row.hash,
                seconds: row.seconds,
                clip_score: row.clip_score,
                style_margin: row.style_margin,
            })
        };
        Ok(rows.into_iter().filter_map(image).collect())
    }

    /// Scores of images.
    pub(crate) async fn save_scores(&self, lease: &Lease, scores: &[ImageScore]) -> Result<(), WriteError> {
        let mut change = self.change_noted(lease, "scores").await?;
        for ImageScore { role, prompt, seed, clip_score, style_margin } in scores {
            sqlx::query(
                "UPDATE evaluation_images SET clip_score = $5, style_margin = $6 \
                 WHERE evaluation = $1 AND role = $2 AND prompt = $3 AND seed = $4",
            )
            .bind(&lease.job)
            .bind(role.name())
            .bind(i64::from(*prompt))
            .bind(seed.cast_signed())
            .bind(Real(*clip_score))
            .bind(Real(*style_margin))
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        }
        Ok(change.commit().await.map_err(storage)?)
    }

    /// The gate's verdict: for the evaluation and for the registry.
    pub(crate) async fn save_verdict(
        &self,
        lease: &Lease,
        row: &EvaluationRow,
        verdict: &EvaluationVerdict,
        at: i64,
    ) -> Result<(), WriteError> {
        let mut change = self.change_noted(lease, "verdict").await?;
        sqlx::query("UPDATE evaluations SET verdict = $2 WHERE id = $1")
            .bind(&lease.job)
            .bind(encode(verdict)?)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        sqlx::query(
            "INSERT INTO verdicts (id, name, version, champion, base, policy_hash, outcome, criteria, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&lease.job)
        .bind(&row.name)
        .bind(row.version)
        .bind(row.champion)
        .bind(&row.base)
        .bind(&verdict.policy_hash)
        .bind(VerdictOutcome::word(verdict.outcome))
        .bind(encode(&verdict.criteria)?)
        .bind(at)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        Ok(change.commit().await.map_err(storage)?)
    }

    /// Whether some evaluation has an image of that name.
    pub(crate) async fn has_evaluation_image(&self, hash: &str) -> Result<bool, StudioError> {
        if !storable(hash) {
            return Ok(false);
        }
        let found: Option<(String,)> =
            sqlx::query_as("SELECT hash FROM evaluation_images WHERE hash = $1 LIMIT 1")
                .bind(hash)
                .fetch_optional(&self.pool)
                .await
                .map_err(storage)?;
        Ok(found.is_some())
    }

    /// The training run that made a version: its dataset and its request.
    pub(crate) async fn run_of_version(&self, version: &str) -> Result<Option<super::RunRow>, StudioError> {
        let row: Option<(String,)> = sqlx::query_as(sql(format!(
            "SELECT t.id FROM training_jobs t WHERE {OF_VERSION} ORDER BY t.id DESC LIMIT 1"
        )))
        .bind(version)
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)?;
        match row {
            Some((id,)) => self.run(&id).await,
            None => Ok(None),
        }
    }
}
