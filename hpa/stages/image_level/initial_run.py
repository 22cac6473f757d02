"""A finished run whose weights another training begins with, fold by fold, so that none has seen what is held out."""

from collections.abc import Sequence
from pathlib import Path

from hpa.artifacts import ArtifactError, read_json, read_record
from hpa.classification import ImageClassifier
from hpa.labels import ClassList
from hpa.stages.image_level.trained_run import CONTENT
from hpa.training import BEST, load_weights


def initial_fingerprint(
    folder: Path, stages: Sequence[str], folds: Sequence[int], fold_fingerprint: str, classes: ClassList
) -> str:
    """Fingerprint of such a run, after a look that none of its networks saw what is held out.

    Args:
        folder: of the run.
        stages: commands whose networks can be begun with.
        folds: that will be held out.
        fold_fingerprint: of the artifact that says which images they hold.
        classes: of the training.

    Raises:
        ArtifactError: no finished run.
        ValueError: a run of another command, of other folds or classes.
    """
    try:
        content = read_json(folder / CONTENT)
        stage, there = str(content["stage"]), set(content["folds"])
        found = ClassList.model_validate(content["classes"])
    except (OSError, KeyError, TypeError, ValueError):
        raise ArtifactError(f"init: {folder} is no finished run; `hpa {stages[0]}` makes one") from None
    if stage not in stages:
        raise ValueError(f"init: expected a run of {' or '.join(stages)}, but {stage} made {folder}")
    record = read_record(folder, stage)
    missing = [number for number in folds if number not in there]
    if record.inputs.get("fold") != fold_fingerprint or missing:
        why = f"it has no network for the folds {missing}" if missing else "it was trained on other folds"
        raise ValueError(
            f"init: {folder} cannot be begun with: {why}, so its weights may know the cells that are held out here"
        )
    if found != classes:
        raise ValueError(f"init: {folder} has another class list than the images to learn from")
    return record.fingerprint


def load_initial(folder: Path, fold: int, model: ImageClassifier) -> None:
    """Give a network the weights of the run's network that held the same fold out.

    Raises:
        CheckpointError: it is another network.
    """
    load_weights(folder / f"fold{fold}" / BEST, model)
    model.initialisation = f"weights of {folder}, of the same fold"
