"""One row per method of attribution: what its maps are worth on average, and what they cost."""

import numpy as np
import pandas as pd

from hpa.stages.explanation.explained_judging import RANDOM
from hpa.stages.explanation.explained_questions import ANSWERS

CURVES = ("insertion", "deletion")


def compare_methods(
    questions: pd.DataFrame, scores: pd.DataFrame, agreement: pd.DataFrame, randomization: pd.DataFrame
) -> pd.DataFrame:
    """Means over the questions, each with its standard error (`<name>_error`), methods first, controls last.

    Insertion and deletion are of the classes that the network says are there, where any are: of a class with a
    probability near 0 no curve can tell anything. Energy and hits are of those that are there in truth.

    Args:
        questions: item, name (of the class), status.
        scores: item, class, method and figures.
        agreement: item, class, first, second, rank_correlation, top_overlap; may be empty.
        randomization: item, class, method, level, rank_correlation, structural_similarity; may be empty.

    Returns:
        method, questions, insertion, deletion, insertion_gain and deletion_gain (how much better than random places in
        the same image), energy_<region>, area_<region>, hit_<region>, agreement and overlap (mean over the other
        methods), randomized_<level> and similarity_<level> (likeness to the maps of ever more random networks),
        share_<channel>, seconds (per map).
    """
    answered = questions.loc[questions["status"].isin(ANSWERS), ["item", "name"]].rename(columns={"name": "class"})
    told = scores.merge(answered, on=["item", "class"]) if len(answered) else scores
    told = _with_gains(told)
    rows = []
    for method in dict.fromkeys(scores["method"]):
        own, own_told = scores[scores["method"] == method], told[told["method"] == method]
        row: dict[str, object] = {"method": method, "questions": len(own)}
        for name in (*CURVES, *(f"{curve}_gain" for curve in CURVES)):
            row |= _mean(own_told, name, name)
        for name in own.columns:
            if name.startswith(("energy_", "area_", "hit_")):
                row |= _mean(own, name, name)
        if len(agreement):
            pairs = agreement[(agreement["first"] == method) | (agreement["second"] == method)]
            per_question = pairs.groupby(["item", "class"])[["rank_correlation", "top_overlap"]].mean()
            row |= _mean(per_question, "rank_correlation", "agreement") | _mean(per_question, "top_overlap", "overlap")
        if len(randomization):
            of_method = randomization[randomization["method"] == method]
            for level, part in of_method.groupby("level"):
                row |= _mean(part, "rank_correlation", f"randomized_{level}")
                row |= _mean(part, "structural_similarity", f"similarity_{level}")
        for name in own.columns:
            if name.startswith("share_"):
                row |= _mean(own, name, name)
        row |= _mean(own, "seconds", "seconds")
        rows.append(row)
    return pd.DataFrame(rows)


def _with_gains(scores: pd.DataFrame) -> pd.DataFrame:
    if not set(CURVES) <= set(scores.columns):
        return scores
    random = scores.loc[scores["method"] == RANDOM, ["item", "class", *CURVES]]
    beside = scores.merge(random, on=["item", "class"], suffixes=("", "_random"), how="left")
    return beside.assign(
        insertion_gain=beside["insertion"] - beside["insertion_random"],
        deletion_gain=beside["deletion_random"] - beside["deletion"],
    )


def _mean(table: pd.DataFrame, column: str, name: str) -> dict[str, float]:
    """Mean and standard error of the values that are known; nothing where none is."""
    if column not in table:
        return {}
    values = table[column].astype(float).dropna().to_numpy()
    if len(values) == 0:
        return {}
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return {name: float(values.mean()), f"{name}_error": error}
