//! Structs that a query's rows become.

/// Makes a struct that is read from a row by its columns' names. It does what sqlx's `FromRow` derive does; that one
/// would have sqlx and SQLite built a second time, for the compiler's own use.
macro_rules! row {
    ($(#[$attribute:meta])* $visible:vis struct $name:ident { $($seen:vis $field:ident: $kind:ty),+ $(,)? }) => {
        $(#[$attribute])*
        $visible struct $name { $($seen $field: $kind),+ }

        impl sqlx::FromRow<'_, sqlx::any::AnyRow> for $name {
            fn from_row(row: &sqlx::any::AnyRow) -> Result<Self, sqlx::Error> {
                Ok(Self { $($field: sqlx::Row::try_get(row, stringify!($field))?),+ })
            }
        }
    };
}
