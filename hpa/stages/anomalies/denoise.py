"""`denoise`: findings and a policy made into a decision table, which training reads."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from hpa.anomaly.denoising import decisions_table, limit, moves_table, propose
from hpa.anomaly.denoising_policy import needs_correction
from hpa.anomaly.label_evidence import LabelEvidence, weigh_evidence
from hpa.anomaly.label_votes import group_votes, neighbour_votes
from hpa.anomaly.neighbours import nearest
from hpa.arrays import Targets
from hpa.artifacts import ArtifactError, build, file_digest, is_finished, make_record, read_record, write_json
from hpa.labels import ClassList
from hpa.progress import say
from hpa.report.denoising import DecidedExample, denoising_report
from hpa.report.gallery import make_example
from hpa.stages.anomalies.denoise_config import DenoiseConfig
from hpa.stages.cell_level.fuse import find_scores
from hpa.stages.data import index
from hpa.stages.data.dataset_config import SimulatedSource
from hpa.stages.data.indexed_images import IndexedImages, open_index
from hpa.tables import IMAGE_KEY, align, class_values, read_embeddings, read_table, write_table

__all__ = ["DenoiseConfig", "run"]

STAGE = "denoise"
DECISIONS, METRICS, REPORT = "decisions.parquet", "metrics.json", "report.html"

SHOWN = 0.1
"""Least corrected label that a picture's text names."""

DETECTION, FINDINGS = "detect_anomalies", "findings.parquet"


def run(config: DenoiseConfig) -> Path:
    """Decide about every image of the data set.

    Returns:
        `config.out`: `decisions.parquet` (image_id; action: keep, drop, weight or relabel; weight, 0 = not learned
        from; one float32 column per class, the labels to learn from in [0, 1]; reason), `metrics.json` and
        `report.html`: what became of the images of each class; of a simulated atlas also how many wrong labels were
        met.

    Raises:
        ArtifactError: the index, the findings or what labels are corrected with is missing, or something else stands in
            the folder.
        ValueError: images without labels, findings of other images or of cells, or without a detector that the policy
            names.
    """
    indexed = open_index(config.data.index_folder)
    files = {"findings": _findings_file(config)}
    corrects = needs_correction(config.policy)
    if corrects and config.probabilities is not None:
        files["probabilities"] = find_scores(config.probabilities, "image")
    if corrects and config.embedding is not None:
        files |= {f"embedding {name}": config.embedding / name for name in ("values.npy", "keys.parquet")}
    missing = [path for path in files.values() if not path.is_file()]
    if missing:
        raise ArtifactError(f"{missing[0]}: is not there; give another path, or make it first")
    inputs = {"index": indexed.fingerprint} | {name: file_digest(path) for name, path in files.items()}
    record = make_record(STAGE, config.content(), inputs)
    if is_finished(config.out, record):
        say(f"{config.out}: made before, nothing to do")
        return config.out
    labels = read_table(config.data.index_folder / index.LABELS)
    if labels.empty:
        raise ValueError(f"{config.data.index_folder}: the images have no labels, so there is nothing to decide")
    targets = class_values(align(indexed.table, labels), indexed.classes)
    findings = _read_findings(files["findings"], indexed.table)
    evidence = _evidence(config, files, indexed, targets) if corrects else None
    proposal = propose(config.policy, findings, targets, None if evidence is None else evidence.corrected)
    decisions = decisions_table(
        indexed.table, limit(proposal, targets, config.limits, indexed.classes), indexed.classes
    )
    if not (decisions["weight"] > 0).any():
        raise ValueError(f"{config.out}: no image would be left to learn from; let the policy or the limits keep more")
    moves = moves_table(decisions, targets, indexed.classes)
    actions = decisions["action"].value_counts()
    metrics: dict[str, Any] = {"images": len(decisions)}
    metrics |= {action: int(actions.get(action, 0)) for action in ("keep", "drop", "weight", "relabel")}
    metrics |= {"weight": float(decisions["weight"].sum()), "limited": int(_held(decisions).sum())}
    if evidence is not None:
        metrics |= {"estimated_noise": evidence.noise, "weights_of_sources": list(evidence.weights)}
    truth = _truth(config, indexed)
    if truth is not None:
        metrics["truth"] = _against_truth(decisions, targets, truth, indexed.classes)
    metrics["per_class"] = moves.to_dict("records")
    with build(config.out, record) as folder:
        write_table(folder / DECISIONS, decisions)
        write_json(folder / METRICS, metrics)
        denoising_report(
            folder / REPORT,
            decisions=decisions,
            moves=moves,
            classes=indexed.classes.names,
            channels=indexed.reader.channels,
            examples=_examples(config, indexed, decisions, targets),
            truth=metrics.get("truth"),
            summary={
                "policy": _plain(config.policy),
                "limits": _plain(config.limits),
                "findings": str(config.findings),
            },
        )
    say(f"{config.out}: " + ", ".join(f"{int(count)} {action}" for action, count in actions.items()))
    return config.out


def _findings_file(config: DenoiseConfig) -> Path:
    """The table of findings; a folder must be one of `detect_anomalies`."""
    if config.findings.is_file():
        return config.findings
    read_record(config.findings, DETECTION)
    return config.findings / FINDINGS


def _read_findings(path: Path, images: pd.DataFrame) -> pd.DataFrame:
    findings = read_table(path, IMAGE_KEY)
    if "cell_id" in findings.columns:
        raise ValueError(f"{path}: holds findings of cells; give those of images (detect_anomalies level=image)")
    try:
        return align(images, findings)
    except ValueError as error:
        raise ValueError(f"{path}: does not belong to the images: {error}") from None


def _evidence(config: DenoiseConfig, files: dict[str, Path], indexed: IndexedImages, targets: Targets) -> LabelEvidence:
    """What out-of-fold probabilities, neighbours and groups say about the labels."""
    sources, groups = [], indexed.table["group"].astype(str).tolist()
    if "probabilities" in files:
        table = read_table(files["probabilities"], IMAGE_KEY)
        if "fold" not in table.columns:
            say(f"{files['probabilities']}: does not say its folds; make sure that the probabilities are out of fold")
        try:
            sources.append(class_values(align(indexed.table, table), indexed.classes))
        except ValueError as error:
            raise ValueError(f"{files['probabilities']}: does not belong to the images: {error}") from None
    if config.embedding is not None:
        keys, values = read_embeddings(config.embedding)
        rows = pd.Index(keys["image_id"]).get_indexer(indexed.table["image_id"])
        if (rows < 0).any() or not keys["image_id"].is_unique or "cell_id" in keys.columns:
            raise ValueError(
                f"{config.embedding}: expected one embedding for every image of the data set; embed it again"
            )
        in_order = values if np.array_equal(rows, np.arange(len(values))) else np.ascontiguousarray(values[rows])
        neighbours = min(config.vote.neighbours, len(rows) - 1)
        distances, found = nearest(in_order, None, neighbours, config.search)
        apart = groups if config.vote.other_groups else None
        sources.append(neighbour_votes(targets, distances, found, config.vote.weighting, apart))
    if config.group_votes:
        sources.append(group_votes(targets, groups))
    return weigh_evidence(targets, sources, indexed.classes.multi_label)


def _truth(config: DenoiseConfig, indexed: IndexedImages) -> Targets | None:
    """True labels of a simulated atlas."""
    path = config.data.simulate_folder / "truth" / "images.parquet"
    if not isinstance(config.data.source, SimulatedSource) or not path.is_file():
        return None
    table = read_table(path, ("image_id", "true_label")).set_index("image_id")["true_label"]
    if not indexed.table["image_id"].isin(table.index).all():
        return None
    return indexed.classes.encode([indexed.classes.parse(text) for text in table.loc[indexed.table["image_id"]]])


def _against_truth(
    decisions: pd.DataFrame, targets: Targets, truth: Targets, classes: ClassList
) -> dict[str, int | float]:
    """How many wrong labels the decisions met, and how wrong the labels are before and after."""
    wrong = (targets != truth).any(axis=1)
    changed = (decisions["action"] != "keep").to_numpy()
    weights = decisions["weight"].to_numpy(np.float64)
    after = np.square(class_values(decisions, classes) - truth).sum(axis=1) @ weights
    return {
        "wrong": int(wrong.sum()),
        "wrong_changed": int((wrong & changed).sum()),
        "right_changed": int((~wrong & changed).sum()),
        "squared_error_before": float(np.square(targets - truth).sum() / len(targets)),
        "squared_error_after": float(after / weights.sum()),
    }


def _held(decisions: pd.DataFrame) -> "pd.Series[bool]":
    return decisions["reason"].str.contains("has lost enough", regex=False)


def _examples(
    config: DenoiseConfig, indexed: IndexedImages, decisions: pd.DataFrame, targets: Targets
) -> list[DecidedExample]:
    """The first images of every kind of decision, the most changed first; those that cannot be read are left out."""
    cv2.setNumThreads(1)
    names = np.asarray(indexed.classes.names, object)
    labels = class_values(decisions, indexed.classes)
    change = np.abs(labels - targets).sum(axis=1) + (1 - decisions["weight"].to_numpy(np.float64))
    kinds = decisions["action"].mask(_held(decisions), "limited")
    examples = []
    for kind in ("drop", "relabel", "weight", "limited"):
        rows = np.flatnonzero(kinds == kind)
        for row in rows[np.argsort(-change[rows], kind="stable")][: config.examples].tolist():
            image_id = str(decisions["image_id"].iloc[row])
            try:
                pixels = indexed.reader(tuple(indexed.table["paths"].iloc[row]))
            except ValueError as error:
                say(f"not shown: {error}")
                continue
            shown = make_example(image_id, pixels, indexed.reader.channels, names[targets[row] > 0].tolist())
            likely = [k for k in np.argsort(-labels[row], kind="stable").tolist() if labels[row, k] >= SHOWN]
            learned = {str(names[k]): float(labels[row, k]) for k in likely}
            weight, reason = float(decisions["weight"].iloc[row]), str(decisions["reason"].iloc[row])
            examples.append(DecidedExample(kind, shown, learned, weight, reason))
    return examples


def _plain(section: Any) -> str:
    return ", ".join(f"{key}: {value}" for key, value in section.model_dump(mode="json").items())
