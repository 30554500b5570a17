//! `tender decide`.

use crate::{files, print};
use std::path::Path;
use tender_base::Problem;
use tender_market::topsis::{Matrix, Ranking};

/// Longest matrix that is read: ten million values of twenty characters.
const MAX_BYTES: u64 = 200 << 20;

pub(crate) fn run(matrix: &Path, json: bool) -> Result<(), Problem> {
    let matrix = Matrix::parse(&files::text(matrix, MAX_BYTES)?)?;
    let ranking = matrix.rank()?;
    print::answer(json, &ranking, |ranking| table(&matrix, ranking));
    Ok(())
}

/// The closest first; of equals the first of the file.
fn table(matrix: &Matrix, ranking: &Ranking) -> String {
    let mut scores: Vec<_> = ranking.scores.iter().collect();
    scores.sort_by(|a, b| b.closeness.total_cmp(&a.closeness));
    let scores = scores.iter().map(|score| vec![score.name.clone(), format!("{:.6}", score.closeness)]);
    let weights = matrix.criteria.iter().zip(&ranking.weights);
    let weights = weights.map(|(criterion, weight)| vec![criterion.name.clone(), format!("{weight:.6}")]);
    let head = |left: &str, right: &str| std::iter::once(vec![left.to_owned(), right.to_owned()]);
    format!(
        "{}\n\n{}",
        print::columns(&head("alternative", "closeness").chain(scores).collect::<Vec<_>>()),
        print::columns(&head("criterion", "weight").chain(weights).collect::<Vec<_>>())
    )
}
