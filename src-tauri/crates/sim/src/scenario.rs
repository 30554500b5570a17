//! The thirteen scenarios of the COALESCE paper's Table I, and what is known of them.

/// Mean and sample standard deviation over runs, in per cent.
pub type Published = (f64, f64);

/// One row of Table I: its size, and what the paper and its authors' code say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scenario {
    /// The paper's name for it.
    pub id: &'static str,
    /// Days simulated.
    pub days: u32,
    /// Client agents.
    pub clients: usize,
    /// Contractors.
    pub contractors: usize,
    /// Cost reduction that the paper prints.
    pub paper_cost: Published,
    /// Time savings that the paper prints.
    pub paper_time: Published,
    /// Cost reduction of the authors' code, seeded, over 20 runs.
    pub peer_cost: Published,
    /// Time savings of the same.
    pub peer_time: Published,
    /// 1 − actual total/all-local total of the same, in per cent.
    pub peer_honest: f64,
    /// What the same would have been with the cheapest place per task, in per cent.
    pub peer_oracle: f64,
}

const fn row(
    id: &'static str,
    size: (u32, usize, usize),
    paper: [Published; 2],
    peer: [Published; 2],
    honest: f64,
    oracle: f64,
) -> Scenario {
    let (days, clients, contractors) = size;
    Scenario {
        id,
        days,
        clients,
        contractors,
        paper_cost: paper[0],
        paper_time: paper[1],
        peer_cost: peer[0],
        peer_time: peer[1],
        peer_honest: honest,
        peer_oracle: oracle,
    }
}

/// Table I. "Peer" is the authors' code at commit 6928e5e, seeded from outside, re-run for this comparison.
pub const TABLE: [Scenario; 13] = [
    row("dur_01", (1, 15, 30), [(27.1, 10.2), (33.0, 9.7)], [(34.3, 10.1), (38.1, 11.5)], 21.5, 77.0),
    row("dur_02", (3, 15, 30), [(35.2, 10.7), (42.7, 6.0)], [(42.2, 11.2), (46.4, 7.4)], 23.8, 73.7),
    row("dur_03", (5, 15, 30), [(40.5, 5.7), (46.2, 5.1)], [(44.3, 14.2), (48.0, 12.2)], 24.4, 72.9),
    row("dur_04", (7, 15, 30), [(41.3, 23.0), (41.2, 5.3)], [(44.0, 12.8), (47.4, 11.7)], 24.5, 72.8),
    row("dur_05", (10, 15, 30), [(38.0, 3.1), (44.1, 3.1)], [(43.3, 13.1), (47.7, 11.9)], 24.2, 72.6),
    row("agt_01", (7, 5, 10), [(70.9, 26.2), (53.5, 14.1)], [(73.1, 32.5), (51.5, 15.4)], 40.2, 98.9),
    row("agt_02", (7, 10, 20), [(59.7, 48.3), (42.9, 4.6)], [(84.6, 73.9), (48.0, 14.3)], 36.3, 88.2),
    row("agt_03", (7, 15, 30), [(40.9, 12.6), (44.9, 6.6)], [(44.0, 12.8), (47.4, 11.7)], 24.5, 72.8),
    row("agt_04", (7, 20, 40), [(40.7, 6.0), (45.3, 3.2)], [(40.0, 6.9), (45.1, 6.9)], 23.4, 73.1),
    row("agt_05", (7, 25, 50), [(40.3, 2.5), (44.7, 2.4)], [(38.4, 4.7), (43.4, 3.8)], 22.8, 73.7),
    row("agt_06", (7, 30, 60), [(39.1, 4.7), (46.8, 4.2)], [(37.5, 3.4), (42.1, 3.0)], 22.5, 73.9),
    row("agt_07", (7, 40, 80), [(35.8, 2.2), (42.4, 3.3)], [(36.6, 3.1), (42.2, 3.0)], 22.0, 74.2),
    row("agt_08", (7, 50, 100), [(35.4, 4.3), (41.0, 3.0)], [(37.8, 3.8), (43.0, 3.1)], 22.7, 74.7),
];
