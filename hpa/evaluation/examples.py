"""Which items to show a person: some that were decided right, and the surest mistakes."""

import numpy as np
import pandas as pd

from hpa.arrays import Bool, Probabilities, Targets


def pick_examples(
    targets: Targets,
    probabilities: Probabilities,
    decisions: Bool[np.ndarray, "items classes"],
    count: int = 12,
    seed: int = 0,
) -> pd.DataFrame:
    """Pick items decided right, at random, and items decided wrong, the surest mistakes first, from many classes.

    How sure a mistake is: the largest distance between probability and truth over the classes decided wrong. Both
    picks go round the true classes (an item stands for its rarest one), so that no frequent class fills the page.

    Args:
        targets: 0 or 1.
        probabilities: in the same order.
        decisions: as `decide` gives them.
        count: at most so many of each kind.
        seed: decides which of the right ones.

    Returns:
        Columns row (number of the item) and right (bool); the right ones first.
    """
    truth = targets > 0
    differs = truth != decisions
    wrong = differs.any(axis=1)
    sureness = (np.abs(targets - probabilities) * differs).max(axis=1)
    generator = np.random.default_rng(seed)
    order_right = generator.permutation(np.flatnonzero(~wrong))
    order_wrong = np.flatnonzero(wrong)[np.argsort(-sureness[wrong], kind="stable")]
    frequency = np.where(truth, truth.sum(axis=0), len(truth) + 1)
    stands_for = np.where(truth.any(axis=1), frequency.argmin(axis=1), -1)
    rows = [_go_round(order, stands_for)[:count] for order in (order_right, order_wrong)]
    return pd.DataFrame({"row": np.concatenate(rows), "right": np.repeat([True, False], [len(r) for r in rows])})


def _go_round(order: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Reorder: the first of every group, then the second of every group, and so on."""
    turn = pd.Series(group[order]).groupby(group[order]).cumcount().to_numpy()
    return order[np.argsort(turn, kind="stable")]
