//! The owner needs the machine: what is sold is handed back.
//!
//! One value says whether that is so. All sold work watches it: what runs is dropped at once, what is awarded meanwhile
//! does not begin, and each contract ends by its own signed handback, which is written beside and after the freeing of
//! the card and never before it. A node that is killed between the two has the contract still under way, and at the next
//! start runs it again or hands it back.

use super::opening;
use crate::{metering::WorkMeter, node::Node};
use std::sync::Arc;
use tender_base::{
    Code, ContractState, MicroUsd, Problem, Signed, Work,
    documents::{Handback, HandbackReason, Message},
    ids::ContractId,
};
use tender_engine::Progress;
use tender_market::contract::Step;
use tokio::sync::watch;

/// Why a handed-back contract ended, for its record, its client, and whoever asked in plain A2A.
pub(crate) fn handed_back(reason: HandbackReason) -> Problem {
    let message = format!("handed back: {}", reason.words());
    Problem::new(Code::Unavailable, message, "nothing is owed; try again in a while, or elsewhere")
}

/// Waits until what is sold must be handed back.
pub(super) async fn must_yield(yielding: &mut watch::Receiver<Option<HandbackReason>>) -> HandbackReason {
    match yielding.wait_for(Option::is_some).await.map(|reason| *reason) {
        Ok(Some(reason)) => reason,
        // The node is gone, and with it whoever asked.
        _ => std::future::pending().await,
    }
}

impl Node {
    /// From now on sold work is handed back for this reason, until [`Node::yield_over`]. Returns at once, with how many
    /// contracts are concerned: their work is told before this returns, so that whoever kills the worker next is not
    /// taken for a failure; their documents follow.
    pub(crate) fn yield_all_sold(&self, reason: HandbackReason) -> usize {
        self.yielding.send_replace(Some(reason));
        self.yielding.receiver_count()
    }

    /// Sold work may run again.
    pub(crate) fn yield_over(&self) {
        self.yielding.send_replace(None);
    }

    /// Ends a contract that is under way by a handback. One that ended meanwhile stays as it is.
    ///
    /// # Errors
    /// When it cannot be stored; the contract is then still under way.
    pub(super) async fn hand_back(
        self: &Arc<Self>,
        id: ContractId,
        reason: HandbackReason,
        metering: WorkMeter,
    ) -> Result<(), Problem> {
        // Before the work is forgotten.
        let progress = self.live.progress(id);
        let node = self.clone();
        self.to_the_end(async move {
            let record = node.record(id).await?;
            if !matches!(record.state, ContractState::Awarded | ContractState::Running) {
                return Ok(());
            }
            let (call, _) = opening(&record)?;
            let award = record.award().ok_or_else(|| Problem::new(Code::Internal, "an award is missing", ""))?;
            let work = &call.document.job.work;
            let since = record.times.iter().rev().find(|(state, _)| *state == ContractState::Running);
            let wall = since.map_or(0, |(_, at)| node.now().since(*at).as_millis());
            let metered = node.metered(work.kind(), metering, u64::try_from(wall).unwrap_or(u64::MAX)).await;
            let handback = Handback {
                contract: id,
                contractor: node.did(),
                client: record.peer,
                award: award.hash(),
                reason,
                units: units_done(work, progress.as_ref()),
                meter: metered.meter,
                handed_back_at: node.now(),
            };
            let document = Message::Handback(Signed::new(handback, node.identity.signer.as_ref()));
            node.move_contract(&record, Step::HandBack, vec![document], MicroUsd::ZERO, Some(handed_back(reason))).await
        })
        .await
    }
}

/// Units that are done so far: of a text the prompt and the tokens written, of other work its share.
fn units_done(work: &Work, progress: Option<&Progress>) -> u64 {
    let Some(Progress { done, total, .. }) = progress.filter(|progress| progress.total > 0) else { return 0 };
    let declared = work.units();
    let units = match work {
        Work::Generate(text) => u64::from(text.prompt_tokens) + u64::from(*done),
        _ => u64::try_from(u128::from(declared) * u128::from(*done) / u128::from(*total)).unwrap_or(declared),
    };
    units.min(declared)
}
