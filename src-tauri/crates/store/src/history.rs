//! What became of a contractor's earlier deliveries.

use crate::{Store, StoreError, rows};
use sqlx::Row;
use tender_base::{ContractState, Did, JobKind, Role, Sha256};

/// Contracts looked at, newest first. Where one delivery in twenty is checked, four hundred hold twenty checks.
const LOOKED_AT: i64 = 400;

impl Store {
    /// How many deliveries of this contractor were checked and valid since the last that was rejected, for one kind of
    /// work and one model; counted no further than `most`. What was taken on trust or by silence proves nothing and
    /// does not count.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn valid_in_a_row(
        &self,
        contractor: &Did,
        kind: JobKind,
        model: Option<&Sha256>,
        most: u32,
    ) -> Result<u32, StoreError> {
        // A rejection counts however its contract went on: a dispute that nobody resolved ends as failed.
        let states = [ContractState::Accepted, ContractState::Settled, ContractState::Rejected, ContractState::Failed];
        let found = sqlx::query(
            "SELECT rejection.hash IS NOT NULL AS invalid,
                    coalesce(json_array_length(acceptance.body, '$.document.evidence'), 0) > 0 AS valid
             FROM contracts
             JOIN documents AS call ON call.contract = contracts.id AND call.type = 'call'
             LEFT JOIN documents AS acceptance ON acceptance.contract = contracts.id AND acceptance.type = 'acceptance'
             LEFT JOIN documents AS rejection ON rejection.contract = contracts.id AND rejection.type = 'rejection'
             WHERE contracts.peer = ?1 AND contracts.role = ?2 AND contracts.kind = ?3
               AND contracts.state IN (SELECT value FROM json_each(?4))
               AND json_extract(call.body, '$.document.job.work.model.sha256') IS ?5
             ORDER BY contracts.id DESC LIMIT ?6",
        )
        .bind(contractor.to_string())
        .bind(rows::word(Role::Client)?)
        .bind(kind.name())
        .bind(rows::json(&states)?)
        .bind(model.map(ToString::to_string))
        .bind(LOOKED_AT)
        .fetch_all(&mut *self.read().await?)
        .await?;
        let mut valid = 0;
        for row in found {
            if row.try_get("invalid")? || valid >= most {
                break;
            }
            valid += u32::from(row.try_get::<bool, _>("valid")?);
        }
        Ok(valid)
    }
}
