//! A receipt decided again: whether it comes out the same, and what another policy would have done.

use super::Receipt;
use crate::explore::Policy;
use serde::Serialize;
use tender_base::Problem;

/// A receipt, decided again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Again {
    /// Whether deciding again gave the same receipt bit for bit.
    pub same_bits: bool,
    /// What is wrong where it did not.
    pub problem: Option<Problem>,
    /// Who was chosen.
    pub chosen: Option<String>,
    /// What the other policy would have done, where one was named and the receipt is sound.
    pub instead: Option<Instead>,
}

/// What another policy would have done with the same knowledge and the same draws.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Instead {
    /// The policy.
    pub policy: String,
    /// Whom it chooses.
    pub chosen: Option<String>,
    /// Whether it chooses the same place.
    pub same: bool,
    /// Its whole decision.
    pub receipt: Receipt,
}

impl Receipt {
    /// Decides again, and by `policy` where one is named.
    ///
    /// # Errors
    /// Those of [`Receipt::under`] for the other policy; that the receipt itself is not sound is in the answer.
    pub fn again(&self, policy: Option<Policy>) -> Result<Again, Problem> {
        let problem = self.replay().err();
        let chosen = self.chosen_name();
        let instead = match policy.filter(|_| problem.is_none()) {
            Some(policy) => {
                let receipt = self.under(policy)?;
                let place = |receipt: &Self| receipt.choice.map(|choice| choice.chosen);
                let same = place(&receipt) == place(self);
                Some(Instead { policy: policy.to_string(), chosen: receipt.chosen_name(), same, receipt })
            }
            None => None,
        };
        Ok(Again { same_bits: problem.is_none(), problem, chosen, instead })
    }

    /// How the alternative taken is called; `None` when none could be considered.
    #[must_use]
    pub fn chosen_name(&self) -> Option<String> {
        self.chosen().map(|alternative| alternative.source.label().to_owned())
    }
}

impl Instead {
    /// What it would have done beside `chosen`, in a sentence.
    #[must_use]
    pub fn verdict(&self, chosen: Option<&str>) -> String {
        let (took, takes) = (chosen.unwrap_or("nobody"), self.chosen.as_deref().unwrap_or("nobody"));
        if self.same {
            format!("Policy {} takes {takes}, too.", self.policy)
        } else {
            format!("Policy {} takes {takes} instead of {took}.", self.policy)
        }
    }
}
