//! Rows that tell what an image or an adapter version came from. Every list has a limit.

use adire_protocol::{EvaluationState, EvaluationVerdict, TrainingRequest, VerdictOutcome};

use super::{
    Store, adapters, decode,
    images::{self, ImageRow},
    sql,
    sql::storable,
    storage,
    training::OF_VERSION,
};
use crate::StudioError;

row! {
    /// A training run as the origin of a version or a sample.
    #[derive(Clone, Debug)]
    pub(crate) struct RunOrigin {
        pub(crate) id: String,
        request: String,
        pub(crate) dataset_hash: String,
        pub(crate) state: String,
        // Hash of the base model; empty for runs of old versions.
        pub(crate) model: String,
        pub(crate) created_at: i64,
        pub(crate) finished_at: Option<i64>,
    }
}

impl RunOrigin {
    pub(crate) fn request(&self) -> Result<TrainingRequest, StudioError> {
        decode(&self.request, "request", &self.id)
    }
}

row! {
    /// An evaluation as what decided about a version.
    #[derive(Clone, Debug)]
    pub(crate) struct EvaluationOrigin {
        pub(crate) id: String,
        pub(crate) name: String,
        pub(crate) version: i64,
        pub(crate) champion: Option<i64>,
        pub(crate) base: String,
        state: String,
        verdict: Option<String>,
        pub(crate) created_at: i64,
        pub(crate) finished_at: Option<i64>,
    }
}

impl EvaluationOrigin {
    pub(crate) fn outcome(&self) -> Result<Option<VerdictOutcome>, StudioError> {
        let verdict =
            self.verdict.as_deref().map(|text| decode::<EvaluationVerdict>(text, "verdict", &self.id));
        Ok(verdict.transpose()?.map(|verdict| verdict.outcome))
    }

    pub(crate) fn state(&self) -> EvaluationState {
        EvaluationState::of(&self.state).unwrap_or(EvaluationState::Failed)
    }
}

row! {
    /// A dataset as the origin of a run.
    #[derive(Clone, Debug)]
    pub(crate) struct DatasetOrigin {
        pub(crate) name: String,
        pub(crate) hash: Option<String>,
        pub(crate) images: i64,
    }
}

row! {
    /// A sample of a training run.
    #[derive(Clone, Debug)]
    pub(crate) struct SampleOrigin {
        pub(crate) job: String,
        pub(crate) step: i64,
        pub(crate) with_adapter: i64,
        pub(crate) prompt: String,
    }
}

row! {
    /// An image of an evaluation.
    #[derive(Clone, Debug)]
    pub(crate) struct EvaluationImageOrigin {
        pub(crate) evaluation: String,
        pub(crate) role: String,
        pub(crate) text: String,
    }
}

row! {
    /// A smoke image.
    #[derive(Clone, Debug)]
    pub(crate) struct SmokeOrigin {
        pub(crate) name: String,
        pub(crate) number: i64,
        pub(crate) version: i64,
        pub(crate) model: String,
        pub(crate) created_at: i64,
    }
}

const RUN: &str = "SELECT t.id, t.request, t.dataset_hash, j.state, j.model, j.created_at, j.finished_at \
                   FROM training_jobs t JOIN jobs j ON j.id = t.id";

const EVALUATION: &str = "SELECT e.id, e.name, e.version, e.champion, e.base, j.state, e.verdict, j.created_at, \
                          j.finished_at FROM evaluations e JOIN jobs j ON j.id = e.id";

impl Store {
    /// A version that there is or was, without its stage and aliases.
    pub(crate) async fn adapter_version(
        &self,
        name: &str,
        version: u32,
    ) -> Result<Option<adapters::Listed>, StudioError> {
        let row: Option<adapters::AdapterRow> = sqlx::query_as(sql(format!(
            "SELECT {} FROM adapter_versions WHERE name = $1 AND version = $2",
            adapters::COLUMNS
        )))
        .bind(name)
        .bind(i64::from(version))
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)?;
        Ok(row.map(adapters::Listed::from))
    }

    /// Runs that ended with a version (`name@vN`), or of which it is a step; the first one first.
    pub(crate) async fn runs_of_version(
        &self,
        version: &str,
        limit: u32,
    ) -> Result<Vec<RunOrigin>, StudioError> {
        sqlx::query_as(sql(format!("{RUN} WHERE {OF_VERSION} ORDER BY t.id LIMIT $2")))
            .bind(version)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(storage)
    }

    pub(crate) async fn run_origin(&self, id: &str) -> Result<Option<RunOrigin>, StudioError> {
        sqlx::query_as(sql(format!("{RUN} WHERE t.id = $1")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    /// A dataset with the number of its images.
    pub(crate) async fn dataset_origin(&self, id: &str) -> Result<Option<DatasetOrigin>, StudioError> {
        sqlx::query_as(
            "SELECT d.name, d.hash, (SELECT COUNT(*) FROM dataset_pictures p WHERE p.dataset = d.id) AS images \
             FROM datasets d WHERE d.id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)
    }

    /// The newest evaluations of a version, and how many there are.
    pub(crate) async fn evaluations_of_version(
        &self,
        name: &str,
        version: u32,
        limit: u32,
    ) -> Result<(Vec<EvaluationOrigin>, u64), StudioError> {
        let rows = sqlx::query_as(sql(format!(
            "{EVALUATION} WHERE e.name = $1 AND e.version = $2 ORDER BY e.id DESC LIMIT $3"
        )))
        .bind(name)
        .bind(i64::from(version))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let (total,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM evaluations WHERE name = $1 AND version = $2")
                .bind(name)
                .bind(i64::from(version))
                .fetch_one(&self.pool)
                .await
                .map_err(storage)?;
        Ok((rows, total.cast_unsigned()))
    }

    pub(crate) async fn evaluation_origin(&self, id: &str) -> Result<Option<EvaluationOrigin>, StudioError> {
        sqlx::query_as(sql(format!("{EVALUATION} WHERE e.id = $1")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    /// The newest images that were made with a version (`name@vN`), and how many there are.
    pub(crate) async fn images_with(
        &self,
        version: &str,
        limit: u32,
    ) -> Result<(Vec<ImageRow>, u64), StudioError> {
        let rows = sqlx::query_as(
            "SELECT i.hash, i.generation, i.position, i.recipe, i.infotext, i.created_at, i.event \
             FROM image_adapters a JOIN images i ON i.generation = a.generation AND i.position = a.position \
             WHERE a.version = $1 ORDER BY a.created_at DESC LIMIT $2",
        )
        .bind(version)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let (total,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM image_adapters WHERE version = $1")
            .bind(version)
            .fetch_one(&self.pool)
            .await
            .map_err(storage)?;
        Ok((rows, total.cast_unsigned()))
    }

    /// The first images with this content, each of another generation or position, and how many there are.
    pub(crate) async fn images_of_content(
        &self,
        hash: &str,
        limit: u32,
    ) -> Result<(Vec<ImageRow>, u64), StudioError> {
        if !storable(hash) {
            return Ok((Vec::new(), 0));
        }
        let rows =
            sqlx::query_as(sql(format!("{} WHERE hash = $1 ORDER BY created_at LIMIT $2", images::COLUMNS)))
                .bind(hash)
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await
                .map_err(storage)?;
        let (total,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM images WHERE hash = $1")
            .bind(hash)
            .fetch_one(&self.pool)
            .await
            .map_err(storage)?;
        Ok((rows, total.cast_unsigned()))
    }

    /// The first training sample with this content.
    pub(crate) async fn sample_origin(&self, hash: &str) -> Result<Option<SampleOrigin>, StudioError> {
        if !storable(hash) {
            return Ok(None);
        }
        sqlx::query_as(
            "SELECT job, step, with_adapter, prompt FROM training_samples WHERE hash = $1 \
             ORDER BY job, step LIMIT 1",
        )
        .bind(hash)
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)
    }

    /// The first image of an evaluation with this content: later evaluations reuse it.
    pub(crate) async fn evaluation_image_origin(
        &self,
        hash: &str,
    ) -> Result<Option<EvaluationImageOrigin>, StudioError> {
        if !storable(hash) {
            return Ok(None);
        }
        sqlx::query_as(
            "SELECT evaluation, role, text FROM evaluation_images WHERE hash = $1 \
             ORDER BY evaluation, role, prompt, seed LIMIT 1",
        )
        .bind(hash)
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)
    }

    /// The first smoke image with this content.
    pub(crate) async fn smoke_origin(&self, hash: &str) -> Result<Option<SmokeOrigin>, StudioError> {
        if !storable(hash) {
            return Ok(None);
        }
        sqlx::query_as(
            "SELECT name, number, version, model, created_at FROM smoke_images WHERE hash = $1 \
             ORDER BY created_at LIMIT 1",
        )
        .bind(hash)
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)
    }
}
