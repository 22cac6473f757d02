"""One weight per member under which the labels are most likely: a linear opinion pool."""

from collections.abc import Sequence

import numpy as np

from hpa.arrays import Float64, Probabilities, Targets

_SMALLEST = 1e-9


def pool_weights(
    values: Sequence[Probabilities], targets: Targets, multi_label: bool, rounds: int = 1000, tolerance: float = 1e-9
) -> Float64[np.ndarray, " members"]:
    """Weights of sum 1 that maximise the likelihood of the labels under the weighted mean of the members' scores.

    The likelihood is concave in the weights, and expectation maximisation over the members, begun at equal weights,
    rises to its maximum: a member's weight becomes its mean share in the probability of what was observed (Dempster,
    Laird and Rubin 1977; for pools of forecasts Raftery et al. 2005, "Using Bayesian model averaging to calibrate
    forecast ensembles", section 2b).

    Args:
        values: of every member, float32 (items, classes) in [0, 1].
        targets: labels of the same items; soft ones count by their parts.
        multi_label: every class of an item is then an observation of its own; otherwise the item is one.
        rounds: at most.
        tolerance: the largest change of a weight at which it ends.

    >>> good, bad = np.float32([[0.9, 0.1], [0.2, 0.8]]), np.float32([[0.4, 0.6], [0.7, 0.3]])
    >>> pool_weights([bad, good], np.eye(2, dtype=np.float32), multi_label=False).round(3).tolist()
    [0.0, 1.0]
    """
    scores = np.stack([one.astype(np.float64) for one in values], axis=-1)
    truth = targets.astype(np.float64)[:, :, None]
    if multi_label:
        # Of soft labels, an observation is there in part and not there for the rest.
        outcomes = np.concatenate([scores, 1 - scores]).reshape(-1, len(values))
        counts = np.concatenate([truth, 1 - truth]).ravel()
    else:
        outcomes, counts = scores.reshape(-1, len(values)), truth.ravel()
    outcomes, counts = np.maximum(outcomes[counts > 0], _SMALLEST), counts[counts > 0]
    weights: Float64[np.ndarray, " members"] = np.full(len(values), 1 / len(values))
    for _ in range(rounds):
        shares = outcomes * weights
        shares /= shares.sum(axis=1, keepdims=True)
        better = counts @ shares / counts.sum()
        done = np.abs(better - weights).max() < tolerance
        weights = better
        if done:
            break
    return weights
