//! From columns to the types of the house. A value that does not read back is damage, never a default.

use crate::StoreError;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row, sqlite::SqliteRow};
use std::str::FromStr;
use tender_base::{BlobRef, MicroUsd, Timestamp};

/// An enum's name on the wire, as its `serde` attributes give it.
pub(crate) fn word<T: Serialize>(value: T) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        other => Err(StoreError::invalid(format!("expected a plain name, not {other:?}"))),
    }
}

pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::invalid(format!("it cannot be written as JSON: {error}")))
}

pub(crate) fn from_json<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::corrupt(format!("{what}: {error}")))
}

pub(crate) fn integer(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::invalid("a number is larger than 2^63"))
}

/// Reading a row, with errors that name the column.
pub(crate) trait Columns {
    /// An enum stored by its name.
    fn word<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError>;
    /// An identifier, digest or key stored as text.
    fn text<T: FromStr>(&self, column: &str) -> Result<T, StoreError>;
    fn text_or_none<T: FromStr>(&self, column: &str) -> Result<Option<T>, StoreError>;
    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError>;
    fn json_or_none<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError>;
    fn time(&self, column: &str) -> Result<Timestamp, StoreError>;
    fn time_or_none(&self, column: &str) -> Result<Option<Timestamp>, StoreError>;
    fn money(&self, column: &str) -> Result<MicroUsd, StoreError>;
    fn money_or_none(&self, column: &str) -> Result<Option<MicroUsd>, StoreError>;
    /// The columns `<name>_sha256` and `<name>_bytes`.
    fn blob(&self, name: &str) -> Result<Option<BlobRef>, StoreError>;
}

impl Columns for SqliteRow {
    fn word<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        let text: String = self.try_get(column)?;
        serde_json::from_value(serde_json::Value::String(text))
            .map_err(|error| StoreError::corrupt(format!("column {column}: {error}")))
    }

    fn text<T: FromStr>(&self, column: &str) -> Result<T, StoreError> {
        let text: &str = self.try_get(column)?;
        text.parse().map_err(|_| StoreError::corrupt(format!("column {column} holds {text:?}")))
    }

    fn text_or_none<T: FromStr>(&self, column: &str) -> Result<Option<T>, StoreError> {
        let text: Option<&str> = self.try_get(column)?;
        text.map(|text| text.parse().map_err(|_| StoreError::corrupt(format!("column {column} holds {text:?}"))))
            .transpose()
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        from_json(self.try_get(column)?, column)
    }

    fn json_or_none<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError> {
        let text: Option<&str> = self.try_get(column)?;
        text.map(|text| from_json(text, column)).transpose()
    }

    fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        Ok(Timestamp::from_millis(self.try_get(column)?))
    }

    fn time_or_none(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_millis))
    }

    fn money(&self, column: &str) -> Result<MicroUsd, StoreError> {
        Ok(MicroUsd(self.try_get(column)?))
    }

    fn money_or_none(&self, column: &str) -> Result<Option<MicroUsd>, StoreError> {
        Ok(self.try_get::<Option<i64>, _>(column)?.map(MicroUsd))
    }

    fn blob(&self, name: &str) -> Result<Option<BlobRef>, StoreError> {
        let Some(sha256) = self.text_or_none(&format!("{name}_sha256"))? else { return Ok(None) };
        let bytes: i64 = self.try_get(format!("{name}_bytes").as_str())?;
        let bytes =
            u64::try_from(bytes).map_err(|_| StoreError::corrupt(format!("column {name}_bytes is negative")))?;
        Ok(Some(BlobRef { sha256, bytes }))
    }
}
