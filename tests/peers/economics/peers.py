"""What independent libraries say: pymcdm and scikit-criteria of TOPSIS, mabwiser of UCB1.

Reads {"matrices": [{"values", "weights", "directions", "normalisation"}], "bandits": [{"counts", "means"}]} and prints
{"pymcdm": [[closeness]], "skcriteria": [[closeness] | null], "mabwiser": [[upper bound]]}. scikit-criteria compares the
vector norm only: its other scaler treats costs differently, outside the method itself.
"""

import json
import sys

import numpy as np
from mabwiser.mab import MAB, LearningPolicy
from pymcdm import normalizations
from pymcdm.methods import TOPSIS
from skcriteria import mkdm
from skcriteria.agg.topsis import TOPSIS as Similarity
from skcriteria.preprocessing.scalers import VectorScaler


def pymcdm(case):
    norm = {"vector": vector, "minmax": normalizations.minmax_normalization}[case["normalisation"]]
    types = np.array([1 if direction == "benefit" else -1 for direction in case["directions"]])
    return TOPSIS(norm)(np.array(case["values"]), np.array(case["weights"]), types).tolist()


def vector(column, cost=False):
    """The classical norm. pymcdm's own turns costs into 1 - x, which leaves every distance as it is."""
    return normalizations.vector_normalization(column, cost)


def skcriteria(case):
    if case["normalisation"] != "vector":
        return None
    objectives = [max if direction == "benefit" else min for direction in case["directions"]]
    problem = mkdm(case["values"], objectives, weights=case["weights"])
    ranked = Similarity().evaluate(VectorScaler(target="matrix").transform(problem))
    return ranked.e_.similarity.tolist()


def mabwiser(case):
    """Its upper bounds after rewards that have exactly these means."""
    arms = list(range(len(case["counts"])))
    decisions = [arm for arm, count in enumerate(case["counts"]) for _ in range(count)]
    rewards = [mean for count, mean in zip(case["counts"], case["means"]) for _ in range(count)]
    bandit = MAB(arms, LearningPolicy.UCB1(alpha=1.0))
    bandit.fit(decisions, rewards)
    expected = bandit.predict_expectations()
    return [float(expected[arm]) for arm in arms]


def main():
    asked = json.load(sys.stdin)
    json.dump(
        {
            "pymcdm": [pymcdm(case) for case in asked["matrices"]],
            "skcriteria": [skcriteria(case) for case in asked["matrices"]],
            "mabwiser": [mabwiser(case) for case in asked["bandits"]],
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
