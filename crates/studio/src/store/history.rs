//! Rows that a history is searched by, and ratings of images.

use super::{Store, decode, images::ImageRow, searchable::columns, sql, storage};
use crate::StudioError;
use adire_protocol::{HistoryImage, Rating, Recipe, Thumb};

/// Recipes that are read in one transaction.
const BATCH: i64 = 500;

/// Which images of a visitor are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct HistoryFilter {
    /// Digest of the visitor.
    pub(crate) visitor: String,
    /// Beginnings of words, as [`super::words_of`] gives them.
    pub(crate) words: Vec<String>,
    /// `name` or `name@vN`.
    pub(crate) adapter: Option<String>,
    pub(crate) seed: Option<String>,
    /// First millisecond.
    pub(crate) from: i64,
    /// The millisecond after the last.
    pub(crate) before: i64,
    pub(crate) starred: bool,
    pub(crate) limit: i64,
}

row! {
    /// An image with its rating.
    pub(crate) struct HistoryRow {
        hash: String,
        generation: String,
        position: i64,
        recipe: String,
        infotext: String,
        created_at: i64,
        event: i64,
        pub(crate) visitor: String,
        starred: i64,
        thumb: i64,
    }
}

impl HistoryRow {
    pub(crate) fn record(self) -> Result<HistoryImage, StudioError> {
        let thumb = match self.thumb {
            1 => Some(Thumb::Up),
            -1 => Some(Thumb::Down),
            _ => None,
        };
        let Self { hash, generation, position, recipe, infotext, created_at, event, .. } = self;
        let image = ImageRow { hash, generation, position, recipe, infotext, created_at, event };
        Ok(HistoryImage { image: image.record()?, rating: Rating { starred: self.starred == 1, thumb } })
    }
}

/// [`SELECT`] of what a statement between the two finds.
const SELECT_FOUND: &str = "SELECT images.hash, images.generation, images.position, images.recipe, images.infotext, \
                            images.created_at, images.event, history.visitor, history.starred, history.thumb FROM (";
const OF_FOUND: &str = "JOIN history ON history.generation = found.generation AND history.position = found.position \
                        JOIN images ON images.generation = history.generation AND images.position = history.position";

const SELECT: &str = "SELECT images.hash, images.generation, images.position, images.recipe, images.infotext, \
                      images.created_at, images.event, history.visitor, history.starred, history.thumb \
                      FROM history JOIN images \
                      ON images.generation = history.generation AND images.position = history.position";

/// The statement of a search, and its texts after the visitor and the two times; the limit is the last parameter.
///
/// What is compared is in a statement of its own, which an index has every column of: a search that finds nothing reads no
/// other page. It gives the order, which the rows then keep or [`Store::search_history`] restores.
fn search(filter: &HistoryFilter) -> (String, Vec<String>) {
    let mut text = "SELECT history.generation, history.position FROM history \
                    WHERE history.visitor = $1 AND history.created_at >= $2 AND history.created_at < $3"
        .to_owned();
    let mut texts = Vec::new();
    let mut and = |condition: &str, value: String| {
        texts.push(value);
        text.push_str(&format!(" AND {condition} ${}", texts.len() + 3));
        if condition.ends_with("LIKE") {
            text.push_str(" ESCAPE '!'");
        }
    };
    if let Some(seed) = &filter.seed {
        and("history.seed =", seed.clone());
    }
    if let Some(adapter) = &filter.adapter {
        and("history.adapters LIKE", format!("% {} %", escaped(adapter)));
    }
    for word in &filter.words {
        and("history.words LIKE", format!("% {}%", escaped(word)));
    }
    if filter.starred {
        text.push_str(" AND history.starred = 1");
    }
    text.push_str(&format!(" ORDER BY history.created_at DESC LIMIT ${}", texts.len() + 4));
    (format!("{SELECT_FOUND}{text}) AS found {OF_FOUND}"), texts)
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '!' | '%' | '_') {
            escaped.push('!');
        }
        escaped.push(c);
    }
    escaped
}

impl Store {
    /// Images that fit, newest first.
    pub(crate) async fn search_history(
        &self,
        filter: &HistoryFilter,
    ) -> Result<Vec<HistoryRow>, StudioError> {
        let (text, texts) = search(filter);
        let mut query = sqlx::query_as(sql(text)).bind(&filter.visitor).bind(filter.from).bind(filter.before);
        for text in texts {
            query = query.bind(text);
        }
        let mut rows: Vec<HistoryRow> =
            query.bind(filter.limit).fetch_all(&self.pool).await.map_err(storage)?;
        rows.sort_by_key(|row| std::cmp::Reverse(row.created_at));
        Ok(rows)
    }

    /// One image of a generation.
    pub(crate) async fn history_image(
        &self,
        generation: &str,
        position: u32,
    ) -> Result<Option<HistoryRow>, StudioError> {
        sqlx::query_as(sql(format!("{SELECT} WHERE history.generation = $1 AND history.position = $2")))
            .bind(generation)
            .bind(i64::from(position))
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    /// Keeps what the maker thinks of an image. Whether it is there.
    pub(crate) async fn rate_image(
        &self,
        generation: &str,
        position: u32,
        rating: Rating,
        at: i64,
    ) -> Result<bool, StudioError> {
        let thumb: i64 = match rating.thumb {
            Some(Thumb::Up) => 1,
            Some(Thumb::Down) => -1,
            None => 0,
        };
        let changed = sqlx::query(
            "UPDATE history SET starred = $3, thumb = $4, rated_at = $5, \
             versions = COALESCE((SELECT generations.versions FROM generations WHERE generations.id = $1), '') \
             WHERE generation = $1 AND position = $2",
        )
        .bind(generation)
        .bind(i64::from(position))
        .bind(i64::from(rating.starred))
        .bind(thumb)
        .bind(at)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(changed.rows_affected() > 0)
    }

    /// Fills the rows of images from before there were any: SQL alone cannot split a prompt into words.
    pub(super) async fn read_recipes(&self) -> Result<(), StudioError> {
        loop {
            let mut change = self.change().await?;
            let unread: Vec<(String, i64, String)> = sqlx::query_as(
                "SELECT images.generation, images.position, images.recipe FROM history JOIN images \
                 ON images.generation = history.generation AND images.position = history.position \
                 WHERE history.words IS NULL ORDER BY history.created_at LIMIT $1",
            )
            .bind(BATCH)
            .fetch_all(&mut *change)
            .await
            .map_err(storage)?;
            let count = unread.len();
            for (generation, position, recipe) in unread {
                // A recipe that cannot be read is not found by its words; its image is still listed.
                let recipe: Result<Recipe, _> = decode(&recipe, "recipe", &generation);
                let [seed, adapters, words] = recipe.as_ref().map(columns).unwrap_or_default();
                sqlx::query(
                    "UPDATE history SET seed = $3, adapters = $4, words = $5 \
                     WHERE generation = $1 AND position = $2",
                )
                .bind(generation)
                .bind(position)
                .bind(seed)
                .bind(adapters)
                .bind(words)
                .execute(&mut *change)
                .await
                .map_err(storage)?;
            }
            change.commit().await.map_err(storage)?;
            if count < BATCH as usize {
                return Ok(());
            }
        }
    }

    /// Rows as the step that makes the table leaves them.
    #[cfg(test)]
    pub(crate) async fn forget_words(&self) {
        sqlx::query("UPDATE history SET seed = '', adapters = '', words = NULL")
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// How the database executes a search.
    #[cfg(test)]
    pub(crate) async fn plan_of_search(&self, filter: &HistoryFilter) -> String {
        use super::Kind;

        let (text, texts) = search(filter);
        let (explain, column) = match self.kind {
            Kind::Sqlite => ("EXPLAIN QUERY PLAN ", 3),
            Kind::Postgres => ("EXPLAIN ", 0),
        };
        let mut query = sqlx::query(sql(format!("{explain}{text}")))
            .bind(&filter.visitor)
            .bind(filter.from)
            .bind(filter.before);
        for text in texts {
            query = query.bind(text);
        }
        let rows = query.bind(filter.limit).fetch_all(&self.pool).await.unwrap();
        let lines = rows.iter().map(|row| sqlx::Row::get::<String, _>(row, column));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Writes `count` images of a visitor in one transaction; every hundredth is starred.
    #[cfg(test)]
    pub(crate) async fn insert_many_images(
        &self,
        visitor: &str,
        count: i64,
        example: &adire_protocol::ImageRecord,
    ) {
        let mut change = self.change().await.unwrap();
        let recipe = super::encode(&example.recipe).unwrap();
        let numbers = match self.kind {
            super::Kind::Sqlite => {
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) SELECT i FROM n"
            }
            super::Kind::Postgres => "SELECT i FROM generate_series(1, $2) AS s (i)",
        };
        let many = format!(
            "INSERT INTO images (generation, position, hash, visitor, recipe, infotext, created_at, event) \
                            SELECT $1, n.i, 'h' || n.i, $3, $4, '', n.i, n.i FROM ({numbers}) AS n"
        );
        sqlx::query(sql(many))
            .bind(&example.generation)
            .bind(count)
            .bind(visitor)
            .bind(recipe)
            .execute(&mut *change)
            .await
            .unwrap();
        sqlx::query(
            "INSERT INTO history (generation, position, visitor, created_at, seed, adapters, words, starred) \
             SELECT generation, position, visitor, created_at, '' || position, ' adire adire@v1 ', \
             CASE WHEN position % 1000 = 0 THEN ' rare stars on cloth ' ELSE ' plain moons on cloth ' END, \
             CASE WHEN position % 100 = 0 THEN 1 ELSE 0 END FROM images WHERE visitor = $1 AND position > 0",
        )
        .bind(visitor)
        .execute(&mut *change)
        .await
        .unwrap();
        change.commit().await.unwrap();
        sqlx::query("ANALYZE").execute(&self.pool).await.unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_like_are_escaped() {
        assert_eq!(escaped("a_b%!"), "a!_b!%!!");
    }
}
