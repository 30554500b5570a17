//! What a simulation says: the JSON of `tender simulate`.

use serde::{Deserialize, Serialize};

/// Mean and spread over runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation; `None` for a single run.
    pub sd: Option<f64>,
}

impl Spread {
    /// Of values that are not empty; `None` otherwise.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        (!values.is_empty()).then(|| Self { mean, sd: (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()) })
    }
}

/// Which share of the decisions each kind of place won, in per cent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Won {
    /// The own card.
    pub local: f64,
    /// Peers.
    pub peer: f64,
    /// Clouds.
    pub cloud: f64,
}

/// One scenario over all runs. Percentages are means over the runs that ended; what does not apply is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which scenario.
    pub id: String,
    /// Client agents.
    pub clients: usize,
    /// Contractors.
    pub contractors: usize,
    /// Days simulated.
    pub days: u32,
    /// Runs started.
    pub runs: u32,
    /// Runs that ended; the authors' code crashes when its very first decision is to outsource.
    pub runs_ok: u32,
    /// Cost reduction as the paper counts it: losses left out, divided by the cost of local tasks only.
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
    /// The same for knowing every true parameter, though not the draw of the noise.
    pub oracle_saving_pct: Option<f64>,
    /// Mean decisions of a run.
    pub decisions: f64,
    /// Share of decisions that explored.
    pub explored_pct: Option<f64>,
    /// Runs whose rate of exploration was not what the policy announced.
    pub exploration_alarms: u32,
    /// Share of a pool's hours that were used.
    pub utilisation_pct: Option<f64>,
}

/// The answer of `tender simulate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// One row per scenario.
    pub rows: Vec<Row>,
}

/// What one run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Run {
    /// False when the emulated crash struck.
    pub ok: bool,
    pub decisions: u32,
    pub explored: u32,
    pub alarm: bool,
    /// Decisions for local, peer, cloud.
    pub won: [u32; 3],
    pub closeness_sum: f64,
    /// As the paper counts, fractions.
    pub cost_reduction: f64,
    pub time_savings: f64,
    /// Totals in USD: what was paid, all local, cheapest, oracle.
    pub actual: f64,
    pub all_local: f64,
    pub cheapest: f64,
    pub oracle: f64,
}

impl Run {
    fn saving(&self, total: f64) -> f64 {
        100.0 * (1.0 - total / self.all_local)
    }
}

/// Folds the runs of a scenario into its row.
pub(crate) fn row(id: &str, clients: usize, contractors: usize, days: u32, runs: &[Run]) -> Row {
    let ok: Vec<&Run> = runs.iter().filter(|run| run.ok && run.decisions > 0 && run.all_local > 0.0).collect();
    let all = |of: &dyn Fn(&Run) -> f64| -> Vec<f64> { ok.iter().map(|run| of(run)).collect() };
    let mean = |of: &dyn Fn(&Run) -> f64| Spread::of(&all(of)).map(|spread| spread.mean);
    let share = |of: fn(&Run) -> u32| mean(&|run: &Run| 100.0 * f64::from(of(run)) / f64::from(run.decisions));
    let bought = |run: &Run| run.won[1] + run.won[2];
    let won = |kind: usize| mean(&|run: &Run| 100.0 * f64::from(run.won[kind]) / f64::from(run.decisions));
    let purchases: u32 = ok.iter().map(|run| bought(run)).sum();
    let closeness: f64 = ok.iter().map(|run| run.closeness_sum).sum();
    Row {
        id: id.to_owned(),
        clients,
        contractors,
        days,
        runs: u32::try_from(runs.len()).unwrap_or(u32::MAX),
        runs_ok: u32::try_from(ok.len()).unwrap_or(u32::MAX),
        cost_reduction_pct: Spread::of(&all(&|run| 100.0 * run.cost_reduction)),
        time_savings_pct: Spread::of(&all(&|run| 100.0 * run.time_savings)),
        outsourced_pct: share(|run| run.won[1] + run.won[2]),
        topsis_mean: (purchases > 0).then(|| closeness / f64::from(purchases)),
        won_pct: won(0).zip(won(1)).zip(won(2)).map(|((local, peer), cloud)| Won { local, peer, cloud }),
        honest_saving_pct: mean(&|run| run.saving(run.actual)),
        cheapest_saving_pct: mean(&|run| run.saving(run.cheapest)),
        oracle_saving_pct: mean(&|run| run.saving(run.oracle)),
        decisions: mean(&|run| f64::from(run.decisions)).unwrap_or(0.0),
        explored_pct: share(|run| run.explored),
        exploration_alarms: ok.iter().map(|run| u32::from(run.alarm)).sum(),
        utilisation_pct: None,
    }
}
