"""`annotators`: how far several annotators agree, soft labels from their votes, and which images are hard for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa.arrays import Bool, Float64, Int64, Targets
from hpa.artifacts import build, is_finished, make_record, write_json, write_text
from hpa.evaluation.kappa import Agreement, cohen_kappa, fleiss_kappa, vote_counts
from hpa.labels import ClassList, LabelError
from hpa.progress import say
from hpa.pseudolabels.annotators import Consensus, disagreement, soft_labels
from hpa.report.annotators import annotators_report
from hpa.report.gallery import Example, make_example
from hpa.stages.anomalies.annotators_config import AnnotatorsConfig
from hpa.stages.data import index
from hpa.stages.data.indexed_images import IndexedImages, open_index
from hpa.tables import align, class_table, class_values, read_table, write_table

__all__ = ["AnnotatorsConfig", "run"]

STAGE = "annotators"
DECISIONS, FINDINGS, PAIRS = "decisions.parquet", "findings.parquet", "pairs.csv"
PER_CLASS, METRICS, REPORT = "per_class.csv", "metrics.json", "report.html"

_UNCHANGED = 0.01
"""A soft label as near to the given one as this, in every class, is the given one."""


def run(config: AnnotatorsConfig) -> Path:
    """Compare the annotators of a data set, indexing its images first where that is missing.

    Returns:
        `config.out`: `decisions.parquet` (image_id; action: keep, relabel, weight or drop; weight; one float32 column
        per class, the soft labels; reason), which training reads as `decisions=<out>/decisions.parquet`;
        `findings.parquet` (image_id, annotators_score: their disagreement in [0, 1], is_annotators: whether the image
        is hard), which `denoise` reads as `findings`; `pairs.csv` (Cohen's kappa of every pair of annotators, and of
        each with the data set's labels), `per_class.csv` (Fleiss's kappa of each class), `metrics.json` and
        `report.html`.

    Raises:
        ArtifactError: something else stands in the folder.
        ValueError: no such column, a vote that is no class, or no image with two votes.
    """
    indexed = open_index(index.run(config.data))
    record = make_record(STAGE, config.content(), {"index": indexed.fingerprint})
    if is_finished(config.out, record):
        say(f"{config.out}: made before, nothing to do")
        return config.out
    if indexed.classes.multi_label:
        raise ValueError(f"{config.data.index_folder}: expected a task with one class per image, but it allows several")
    votes = read_votes(config, indexed)
    labels = read_table(config.data.index_folder / index.LABELS)
    given = class_values(align(indexed.table, labels), indexed.classes) if len(labels) else None
    agreement = fleiss_kappa(vote_counts(votes, len(indexed.classes)))
    found = soft_labels(votes, len(indexed.classes), config.labels)
    score = disagreement(votes, len(indexed.classes))
    is_hard: Bool[np.ndarray, " items"] = score > config.hard
    learned = found.labels
    if given is not None:
        # An image that nobody voted on keeps the label that it has.
        is_soft = (votes >= 0).any(axis=1) & (np.abs(learned - given).max(axis=1) > _UNCHANGED)
        learned = np.where(is_soft[:, None], learned, given).astype(np.float32)
    annotators = _Annotators(config, indexed, votes, given, agreement, found, score, is_hard, learned)
    with build(config.out, record) as folder:
        write_table(folder / DECISIONS, annotators.decisions())
        findings = pd.DataFrame(
            {
                "image_id": indexed.table["image_id"],
                "annotators_score": score.astype(np.float32),
                "is_annotators": is_hard,
            }
        )
        write_table(folder / FINDINGS, findings)
        write_text(folder / PAIRS, annotators.pairs().to_csv(index=False, lineterminator="\n"))
        write_text(folder / PER_CLASS, annotators.per_class().to_csv(index=False, lineterminator="\n"))
        write_json(folder / METRICS, annotators.metrics())
        annotators_report(
            folder / REPORT,
            metrics=annotators.metrics(),
            pairs=annotators.pairs(),
            per_class=annotators.per_class(),
            confusions={name: found.confusions[number] for number, name in enumerate(config.columns)},
            classes=indexed.classes.names,
            channels=indexed.reader.channels,
            examples=annotators.examples(),
            summary={"votes": ", ".join(config.columns), "soft labels": config.labels.kind, "folder": str(config.out)},
        )
    say(f"{config.out}: {int(is_hard.sum())} of {len(votes)} images are hard; Fleiss's kappa {agreement.kappa:.3f}")
    return config.out


def read_votes(config: AnnotatorsConfig, indexed: IndexedImages) -> Int64[np.ndarray, "items annotators"]:
    """The annotators' class numbers, -1 for an empty text; rows as in the image table.

    Raises:
        ValueError: no such column, or a text that is no class.
    """
    missing = [name for name in config.columns if name not in indexed.table]
    if missing:
        raise ValueError(
            f"columns: {missing} are not in the image table; a source keeps the columns of its own table "
            f"(there are {list(indexed.table.columns)})"
        )
    columns = [_numbers(indexed.table[name].astype(str).tolist(), name, indexed.classes) for name in config.columns]
    votes: Int64[np.ndarray, "items annotators"] = np.stack(columns, axis=1)
    return votes


def _numbers(texts: Sequence[str], column: str, classes: ClassList) -> Int64[np.ndarray, " items"]:
    known: dict[str, int] = {"": -1}
    for text in dict.fromkeys(texts):
        if text.strip():
            try:
                (known[text],) = classes.parse(text)
            except LabelError as error:
                raise ValueError(f"columns: {column} holds {text!r}, which is no class ({error})") from None
        else:
            known[text] = -1
    return np.array([known[text] for text in texts], np.int64)


@dataclass(frozen=True, eq=False)
class _Annotators:
    """Everything that was found."""

    config: AnnotatorsConfig
    indexed: IndexedImages
    votes: Int64[np.ndarray, "items annotators"]
    given: Targets | None
    agreement: Agreement
    consensus: Consensus
    score: Float64[np.ndarray, " items"]
    is_hard: Bool[np.ndarray, " items"]
    learned: Targets

    def decisions(self) -> pd.DataFrame:
        """What training reads."""
        weight = np.where(self.is_hard, self.config.hard_weight, 1.0).astype(np.float32)
        changed = np.ones(len(weight), bool)
        if self.given is not None:
            changed = (self.learned != self.given).any(axis=1)
        action = np.select([weight == 0, changed, weight < 1], ["drop", "relabel", "weight"], default="keep")
        names = np.array(self.config.columns)
        table = pd.DataFrame({"image_id": self.indexed.table["image_id"], "action": action, "weight": weight})
        table = class_table(table, self.learned, self.indexed.classes)
        reasons = []
        for own, hard in zip(self.votes, self.score, strict=True):
            said = [
                f"{name}: {self.indexed.classes.names[vote]}"
                for name, vote in zip(names, own, strict=True)
                if vote >= 0
            ]
            reasons.append(f"disagreement {hard:.2f} ({', '.join(said)})" if hard > 0 else "")
        return table.assign(reason=reasons)

    def pairs(self) -> pd.DataFrame:
        """Cohen's kappa of all pairs, the data set's own labels among them."""
        columns = list(zip(self.config.columns, self.votes.T, strict=True))
        if self.given is not None:
            columns.append(("given label", self.given.argmax(axis=1).astype(np.int64)))
        rows = []
        for number, (first, one) in enumerate(columns):
            for second, other in columns[number + 1 :]:
                both = (one >= 0) & (other >= 0)
                rows.append(
                    {
                        "first": first,
                        "second": second,
                        "items": int(both.sum()),
                        "agree": float((one == other)[both].mean()) if both.any() else np.nan,
                        "kappa": cohen_kappa(one, other),
                    }
                )
        return pd.DataFrame(rows)

    def per_class(self) -> pd.DataFrame:
        """Of each class: votes, images that some annotator gave it, how many of those all did, and Fleiss's kappa."""
        counts = vote_counts(self.votes, len(self.indexed.classes))
        total = counts.sum(axis=1, keepdims=True)
        some = (counts > 0).sum(axis=0)
        return pd.DataFrame(
            {
                "class": list(self.indexed.classes.names),
                "votes": counts.sum(axis=0),
                "images": some,
                "unanimous": ((counts == total) & (total > 0)).sum(axis=0),
                "kappa": self.agreement.per_class,
            }
        )

    def metrics(self) -> dict[str, Any]:
        """The figures for metrics.json."""
        found = self.agreement
        relabelled = (self.decisions()["action"] == "relabel").to_numpy()
        corrected = relabelled
        if self.given is not None:
            # Of classes that are as likely, the given one stands.
            corrected = self.learned.max(axis=1) > (self.learned * self.given).sum(axis=1)
        return {
            "images": len(self.votes),
            "items": found.items,
            "fleiss_kappa": None if np.isnan(found.kappa) else found.kappa,
            "observed": found.observed,
            "expected": found.expected,
            "unanimous": found.unanimous,
            "hard": int(self.is_hard.sum()),
            "relabelled": int(relabelled.sum()),
            "corrected": int(corrected.sum()),
            "votes_of_annotators": dict(zip(self.config.columns, (self.votes >= 0).sum(axis=0).tolist(), strict=True)),
            "accuracy_of_annotators": {
                name: float(np.diagonal(matrix) @ self.learned.mean(axis=0, dtype=np.float64))
                for name, matrix in zip(self.config.columns, self.consensus.confusions, strict=True)
            },
        }

    def examples(self) -> list[tuple[Example, float]]:
        """The hardest images with their votes and how hard they are; those that cannot be read are left out."""
        rows = np.flatnonzero(self.is_hard)
        shown: list[tuple[Example, float]] = []
        names = self.indexed.classes.names
        for row in rows[np.argsort(-self.score[rows], kind="stable")][: self.config.examples].tolist():
            try:
                pixels = self.indexed.reader(tuple(self.indexed.table["paths"].iloc[row]))
            except ValueError as error:
                say(f"not shown: {error}")
                continue
            true = () if self.given is None else (names[int(self.given[row].argmax())],)
            said = tuple(
                f"{name}: {names[vote] if vote >= 0 else 'none'}"
                for name, vote in zip(self.config.columns, self.votes[row].tolist(), strict=True)
            )
            image_id = str(self.indexed.table["image_id"].iloc[row])
            soft = dict(zip(names, map(float, self.learned[row]), strict=True))
            example = make_example(image_id, pixels, self.indexed.reader.channels, true, said, soft)
            shown.append((example, float(self.score[row])))
        return shown
