//! What was earned and spent, and what earning it cost.

use serde::{Deserialize, Serialize};
use tender_base::Book;

api_types! {
    /// Which days of which book.
    pub struct EarningsQuery {
        /// Real or demonstration money; real when absent.
        #[cfg_attr(test, ts(type = "'real' | 'demo' | null"))]
        pub book: Option<Book>,
        /// How many days back, today included; 30 when absent, 366 at most.
        pub days: Option<u32>,
    }

    /// Money earned and spent, by day.
    pub struct Earnings {
        /// Which book.
        #[cfg_attr(test, ts(type = "'real' | 'demo'"))]
        pub book: Book,
        /// Oldest first, every day present.
        pub days: Vec<EarningsDay>,
        /// Every hour of a week, Monday's first hour first, by the owner's clock (`utc_offset_minutes`).
        pub hours: Vec<EarningsHour>,
        /// There were more contracts than are read at once: costs, what is left, and hours lack the oldest of them.
        pub truncated: bool,
        /// What peers owe now.
        pub owed_to_us_micro_usd: i64,
        /// What is owed to peers now.
        pub owed_by_us_micro_usd: i64,
        /// Delivered but not accepted yet.
        pub delivered_micro_usd: i64,
        /// Paid to us in all.
        pub paid_to_us_micro_usd: i64,
        /// Paid by us in all.
        pub paid_by_us_micro_usd: i64,
        /// By peer.
        pub by_peer: Vec<PeerBalance>,
        /// Whether every entry and the whole ledger balance.
        pub ledger_balances: bool,
    }

    /// One day. What its sold work cost is reckoned at the machine and the tariff that are set now.
    pub struct EarningsDay {
        /// Date, UTC, `2026-11-21`.
        pub day: String,
        /// Accepted deliveries sold.
        pub earned_micro_usd: i64,
        /// Accepted deliveries bought.
        pub spent_micro_usd: i64,
        /// How many sold.
        pub jobs_sold: u32,
        /// How many bought.
        pub jobs_bought: u32,
        /// Electricity of the work sold, rejected deliveries included, at the tariff of the hour; absent where the use of
        /// some of it is not known, and of a rented machine.
        pub electricity_micro_usd: Option<i64>,
        /// Wear of that work: capital and maintenance, or the rent; absent where the time of some of it is not known.
        pub wear_micro_usd: Option<i64>,
        /// Earned, less both; absent where either is not known.
        pub net_micro_usd: Option<i64>,
        /// What the proposals promised of the same work: their price, less what the estimated time costs.
        pub predicted_micro_usd: Option<i64>,
        /// Whether a sensor measured the draw behind all of the electricity; otherwise it is as stated or assumed.
        pub measured: bool,
    }

    /// One hour of the week.
    pub struct EarningsHour {
        /// 0 for Monday to 6 for Sunday.
        pub weekday: u32,
        /// 0 to 23.
        pub hour: u32,
        /// Accepted deliveries that ended in it.
        pub earned_micro_usd: i64,
        /// How many.
        pub jobs: u32,
    }

    /// What is owed between us and one peer.
    pub struct PeerBalance {
        /// The peer.
        pub did: String,
        /// Its name.
        pub name: String,
        /// It owes us.
        pub owes_us_micro_usd: i64,
        /// We owe it.
        pub we_owe_micro_usd: i64,
    }

    /// The same, one line per contract.
    pub struct EarningsLines {
        /// Comma-separated values with a line of names.
        pub csv: String,
        /// How many contracts.
        pub lines: u32,
        /// There are more, older ones than are read at once.
        pub truncated: bool,
    }
}
