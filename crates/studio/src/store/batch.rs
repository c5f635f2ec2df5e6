//! Statements that go to the database together. On SQLite each way to the thread of a connection and back wakes two
//! threads, which takes longer than most statements: there the texts of a whole transaction are one. PostgreSQL takes one
//! statement at a time.

use std::borrow::Cow;

use futures::TryStreamExt;
use sqlx::{
    Any, AnyConnection, Arguments as _, Either, Executor as _, FromRow, Transaction,
    any::{AnyArguments, AnyRow},
};
use tokio::sync::OwnedMutexGuard;

use super::{Kind, Store, sql, storage};
use crate::StudioError;

const BEGIN: &str = "BEGIN IMMEDIATE";
const COMMIT: &str = "COMMIT";

/// A value of a statement.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Option<String>),
    Int(Option<i64>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(Some(text.clone()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

/// A statement with its values, numbered from `$1`.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    text: Cow<'static, str>,
    values: Vec<Value>,
}

impl Statement {
    pub(super) fn of(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), values: Vec::new() }
    }

    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }
}

/// Statements in the order in which they are executed.
#[derive(Debug, Default)]
pub(super) struct Batch(Vec<Statement>);

impl Batch {
    /// The place of the statement, by which its rows are found.
    pub(super) fn add(&mut self, statement: Statement) -> usize {
        self.0.push(statement);
        self.0.len() - 1
    }

    /// Executes all of them on a connection that is in a transaction.
    pub(super) async fn run(self, connection: &mut AnyConnection) -> Result<Rows, StudioError> {
        match Kind::of(connection) {
            Kind::Sqlite => self.run_joined(connection, None, None).await,
            Kind::Postgres => self.run_each(connection, false).await,
        }
        .whole()
    }

    /// As one text, between two that have no values.
    async fn run_joined(
        self,
        connection: &mut AnyConnection,
        before: Option<&str>,
        after: Option<&str>,
    ) -> Ran {
        let (count, mut arguments, mut bound) = (self.0.len(), AnyArguments::default(), 0);
        let mut texts: Vec<String> = before.map(str::to_owned).into_iter().collect();
        let first = texts.len();
        for Statement { text, values } in self.0 {
            texts.push(shifted(&text, bound));
            bound += values.len();
            if let Err(error) = add(&mut arguments, values) {
                return Ran { rows: Vec::new(), done: 0, failed: Some(error) };
            }
        }
        texts.extend(after.map(str::to_owned));
        let mut ran = Ran { rows: (0..count).map(|_| Vec::new()).collect(), done: 0, failed: None };
        // Of the whole text, whose first statement may be none of the batch's.
        let mut place = 0_usize;
        let mut results = connection.fetch_many(sqlx::query_with(sql(texts.join(";\n")), arguments));
        loop {
            match results.try_next().await {
                Ok(Some(Either::Left(_))) => {
                    place += 1;
                    ran.done = place.saturating_sub(first).min(count);
                }
                Ok(Some(Either::Right(row))) => {
                    if let Some(rows) = ran.rows.get_mut(ran.done) {
                        rows.push(row);
                    }
                }
                Ok(None) => return ran,
                Err(error) => return Ran { failed: Some(error), ..ran },
            }
        }
    }

    /// One after the other; with `guarded`, only the first where that gives no row.
    async fn run_each(self, connection: &mut AnyConnection, guarded: bool) -> Ran {
        let mut ran = Ran { rows: Vec::with_capacity(self.0.len()), done: 0, failed: None };
        for Statement { text, values } in self.0 {
            let mut arguments = AnyArguments::default();
            if let Err(error) = add(&mut arguments, values) {
                return Ran { failed: Some(error), ..ran };
            }
            let query = sqlx::query_with(sql(text.into_owned()), arguments);
            match query.fetch_all(&mut *connection).await {
                Ok(rows) => ran.rows.push(rows),
                Err(error) => return Ran { failed: Some(error), ..ran },
            }
            ran.done += 1;
            if guarded && ran.is_refused() {
                return ran;
            }
        }
        ran
    }
}

fn add(arguments: &mut AnyArguments, values: Vec<Value>) -> Result<(), sqlx::Error> {
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text),
            Value::Int(number) => arguments.add(number),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(())
}

/// A text whose values come after `by` others.
fn shifted(text: &str, by: usize) -> String {
    let mut parts = text.split('$');
    let mut shifted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let number = part[..digits].parse::<usize>().map(|number| number + by);
        shifted.push('$');
        shifted.push_str(&number.map_or_else(|_| part[..digits].to_owned(), |number| number.to_string()));
        shifted.push_str(&part[digits..]);
    }
    shifted
}

/// What came of a batch, up to where it failed.
struct Ran {
    rows: Vec<Vec<AnyRow>>,
    /// How many statements were executed.
    done: usize,
    failed: Option<sqlx::Error>,
}

impl Ran {
    fn whole(self) -> Result<Rows, StudioError> {
        self.failed.map_or(Ok(Rows(self.rows)), |error| Err(storage(error)))
    }

    /// Whether the first statement found no row.
    fn is_refused(&self) -> bool {
        self.done > 0 && self.rows.first().is_none_or(Vec::is_empty)
    }
}

/// What the statements of a batch returned.
pub(super) struct Rows(Vec<Vec<AnyRow>>);

impl Rows {
    /// The rows of the statement at a place.
    pub(super) fn of<T: for<'r> FromRow<'r, AnyRow>>(&self, place: usize) -> Result<Vec<T>, StudioError> {
        let rows = self.0.get(place).map_or(&[][..], Vec::as_slice);
        rows.iter().map(|row| T::from_row(row)).collect::<Result<_, _>>().map_err(storage)
    }
}

/// SQLite's connection for batches. It is out of its place while one is under way: where that one is broken off, what it
/// has begun ends with the connection.
pub(super) type Lane = OwnedMutexGuard<Option<AnyConnection>>;

/// A transaction that a batch has begun; dropped, it changes nothing.
pub(super) enum Open {
    Lane(Lane, AnyConnection),
    Transaction(Transaction<'static, Any>),
}

impl Open {
    pub(super) fn connection(&mut self) -> &mut AnyConnection {
        match self {
            Self::Lane(_, connection) => connection,
            Self::Transaction(transaction) => transaction,
        }
    }

    pub(super) async fn commit(self) -> Result<(), StudioError> {
        match self {
            Self::Lane(lane, mut connection) => {
                let done = Batch::default().run_joined(&mut connection, None, Some(COMMIT)).await;
                settle(lane, connection, done.failed.is_none()).await;
                done.whole().map(drop)
            }
            Self::Transaction(transaction) => transaction.commit().await.map_err(storage),
        }
    }

    async fn roll_back(self) {
        match self {
            Self::Lane(lane, connection) => settle(lane, connection, false).await,
            Self::Transaction(transaction) => {
                let _ = transaction.rollback().await;
            }
        }
    }
}

/// Puts a connection back. One whose transaction did not end well is out of it first.
async fn settle(mut lane: Lane, mut connection: AnyConnection, ended: bool) {
    if !ended {
        match connection.execute("ROLLBACK").await {
            // Some errors end it by themselves, a full disk for example; then there is none to be rolled back.
            Ok(_) | Err(sqlx::Error::Database(_)) => {}
            Err(_) => return,
        }
    }
    *lane = Some(connection);
}

impl Store {
    /// SQLite's connection for batches, and its place.
    async fn lane(&self) -> Result<(Lane, AnyConnection), StudioError> {
        let mut lane = self.lane.clone().lock_owned().await;
        if self.pool.is_closed() {
            return Err(StudioError::ShuttingDown);
        }
        let connection = match lane.take() {
            Some(connection) => connection,
            None => self.place.connect().await?,
        };
        Ok((lane, connection))
    }

    /// Executes a batch as a transaction of its own; `alone` as in [`Store::change_alone`].
    pub(super) async fn at_once(&self, batch: Batch, alone: bool) -> Result<Rows, StudioError> {
        if self.kind == Kind::Postgres {
            let mut change = if alone { self.change_alone().await? } else { self.change().await? };
            let rows = batch.run(&mut change).await?;
            change.commit().await.map_err(storage)?;
            return Ok(rows);
        }
        let (lane, mut connection) = self.lane().await?;
        let ran = batch.run_joined(&mut connection, Some(BEGIN), Some(COMMIT)).await;
        settle(lane, connection, ran.failed.is_none()).await;
        ran.whole()
    }

    /// Begins a transaction with a batch. `None`: its first statement gave no row, and nothing is changed.
    pub(super) async fn begin_with(&self, batch: Batch) -> Result<Option<(Open, Rows)>, StudioError> {
        let (open, ran) = match self.kind {
            Kind::Sqlite => {
                let (lane, mut connection) = self.lane().await?;
                let ran = batch.run_joined(&mut connection, Some(BEGIN), None).await;
                (Open::Lane(lane, connection), ran)
            }
            Kind::Postgres => {
                let mut change = self.change().await?;
                let ran = batch.run_each(&mut change, true).await;
                (Open::Transaction(change), ran)
            }
        };
        // Those after it may have failed: they are written for the row that is not there.
        if ran.is_refused() {
            open.roll_back().await;
            return Ok(None);
        }
        match ran.whole() {
            Ok(rows) => Ok(Some((open, rows))),
            Err(error) => {
                open.roll_back().await;
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_on() {
        assert_eq!(shifted("SELECT $1, $12 FROM a WHERE b = $2", 3), "SELECT $4, $15 FROM a WHERE b = $5");
        assert_eq!(shifted("$1", 0), "$1");
        assert_eq!(shifted("SELECT 1", 7), "SELECT 1");
    }
}
