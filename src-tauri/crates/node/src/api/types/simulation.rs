//! The simulator. The contracts of `tender simulate`, field by field, and what is published about the same scenarios.

use serde::{Deserialize, Serialize};

api_types! {
    /// What can be simulated.
    pub struct SimulationPresets {
        /// In the order of their documentation.
        pub presets: Vec<SimulationPreset>,
        /// Most runs of one simulation.
        pub max_runs: u32,
    }

    /// A world.
    pub struct SimulationPreset {
        /// Its name.
        pub name: String,
        /// What happens in it, in a sentence.
        pub about: String,
        /// Ways of deciding that it can follow, its own first; none when it compares rules instead.
        pub policies: Vec<String>,
    }

    /// A simulation to run.
    pub struct SimulationInput {
        /// Name of the world.
        pub preset: String,
        /// Way of deciding; the preset's own when absent.
        pub policy: Option<String>,
        /// Runs per scenario.
        pub runs: u32,
        /// Seed of all draws: the same seed, the same figures.
        pub seed: u64,
    }

    /// Mean and spread over runs.
    pub struct Spread {
        /// Mean.
        pub mean: f64,
        /// Sample standard deviation; none for a single run.
        pub sd: Option<f64>,
    }

    /// Which share of the decisions each kind of place won, in per cent.
    pub struct Won {
        /// The own card.
        pub local: f64,
        /// Peers.
        pub peer: f64,
        /// Clouds.
        pub cloud: f64,
    }

    /// One scenario over all runs.
    pub struct SimulationRow {
        /// Which scenario.
        pub id: String,
        /// Client agents.
        pub clients: u32,
        /// Contractors.
        pub contractors: u32,
        /// Days simulated.
        pub days: u32,
        /// Runs started.
        pub runs: u32,
        /// Runs that ended.
        pub runs_ok: u32,
        /// Cost reduction as the paper counts it.
        pub cost_reduction_pct: Option<Spread>,
        /// Time savings, counted in the same way.
        pub time_savings_pct: Option<Spread>,
        /// Share of decisions for a peer or a cloud.
        pub outsourced_pct: Option<f64>,
        /// Mean closeness of the places that were bought from.
        pub topsis_mean: Option<f64>,
        /// Who won.
        pub won_pct: Option<Won>,
        /// 1 − actual total/all-local total, losses counted.
        pub honest_saving_pct: Option<f64>,
        /// The same for always taking the lowest bill.
        pub cheapest_saving_pct: Option<f64>,
        /// The same for knowing every true parameter.
        pub oracle_saving_pct: Option<f64>,
        /// Mean decisions of a run.
        pub decisions: f64,
        /// Share of decisions that explored.
        pub explored_pct: Option<f64>,
        /// Runs whose rate of exploration was not what the policy announced.
        pub exploration_alarms: u32,
        /// Share of a pool's hours that were used.
        pub utilisation_pct: Option<f64>,
        /// What the paper and its authors' code say; in the paper's world only.
        pub published: Option<PublishedRow>,
    }

    /// What is known of a scenario of the paper's, in per cent.
    pub struct PublishedRow {
        /// Cost reduction that the paper prints.
        pub paper_cost: Spread,
        /// Time savings that the paper prints.
        pub paper_time: Spread,
        /// Cost reduction of the authors' code, run again.
        pub peer_cost: Spread,
        /// Time savings of the same.
        pub peer_time: Spread,
        /// Honest saving of the same.
        pub peer_honest: f64,
        /// What the same would have been with the cheapest place per task.
        pub peer_oracle: f64,
    }

    /// What a simulation says.
    pub struct Simulation {
        /// One row per scenario, or per rule.
        pub rows: Vec<SimulationRow>,
    }

    /// A page about a simulation, complete in itself.
    pub struct SimulationReport {
        /// HTML.
        pub page: String,
    }

    /// How far the simulation is that runs.
    pub struct SimulationProgress {
        /// Whether one runs.
        pub running: bool,
        /// Runs begun, over all scenarios.
        pub begun: u32,
        /// Runs in all; none for a page, which compares many simulations.
        pub total: Option<u32>,
    }
}
