//! [`wire`](super) with serde's derives: each record is read as `protocol` declares it.

use serde::de::DeserializeOwned;

/// Records have derived readers.
macro_rules! records {
    ($($listed:tt)*) => {};
}
pub(crate) use records;

/// A parsed JSON value.
#[derive(Clone, Debug)]
pub(crate) struct Value(serde_json::Value);

impl Value {
    /// Parses a text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    /// A field; null where it is absent.
    pub(crate) fn get(&self, key: &str) -> Self {
        Self(self.0.get(key).cloned().unwrap_or_default())
    }

    /// The value as a record; `None` when anything in it is missing or of another type.
    pub(crate) fn read<T: Wire>(&self) -> Option<T> {
        T::deserialize(&self.0).ok()
    }
}

/// Types that can be read from a [`Value`].
pub(crate) trait Wire: DeserializeOwned {}

impl<T: DeserializeOwned> Wire for T {}
