"""`explain`: attribution maps of what a finished training says about images or cells, judged, and pages to look at."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from hpa.artifacts import build, is_finished, make_record, read_json, write_json, write_text
from hpa.progress import say, track
from hpa.stages.explanation import explained_pages
from hpa.stages.explanation.explain_config import ExplainConfig
from hpa.stages.explanation.explained_comparison import compare_methods
from hpa.stages.explanation.explained_items import UNKNOWN, Explainable, open_explainable
from hpa.stages.explanation.explained_parts import MAPS, ROWS, Explainer, is_done
from hpa.stages.explanation.explained_questions import Subject, choose
from hpa.stages.explanation.explained_regions import open_regions, require_cells
from hpa.stages.explanation.explained_tables import (
    AGREEMENT,
    COMPARISON,
    ITEMS,
    METRICS,
    QUESTIONS,
    RANDOMIZATION,
    REPORT,
    SCORES,
    SETTINGS,
)
from hpa.tables import write_table
from hpa.training import make_accelerator

__all__ = ["ExplainConfig", "run"]

STAGE = "explain"


def run(config: ExplainConfig) -> Path:
    """Explain some images or cells, going on where a killed run stopped.

    Returns:
        `config.out`: `maps/<item>.npz` (`hpa.explain.saved_maps`), `items.json`, `questions.parquet` (per explained
        class its status, probability and the value of each channel), `scores.parquet` (per map its cost, its channels'
        shares, and where asked for what it is worth), `agreement.parquet`, `randomization.parquet`, `comparison.csv`
        and `metrics.json` (the methods beside each other), `report.html` and `pages/<item>.html`. Maps and figures are
        the same after a kill, seconds are not.

    Raises:
        ArtifactError: the run or an input is missing, or something else stands in the folder.
        ValueError: run and data do not belong together, or a method cannot explain this network.
    """
    found = open_explainable(config)
    regions, more = open_regions(config, found)
    record = make_record(STAGE, config.content(), found.inputs | more)
    if is_finished(config.out, record):
        if explained_pages.are_current(config.out, config.pages):
            say(f"{config.out} stands already, made from the same configuration")
        else:
            explained_pages.render(config.out, config.pages)
            say(f"{config.out}: pages made again")
        return config.out
    subjects = choose(config, found)
    if not subjects:
        raise ValueError(
            f"{config.data.out}: there is nothing to explain, no {config.level} was held out by {config.run}"
        )
    require_cells(config, regions, subjects)
    device = make_accelerator().device
    with build(config.out, record) as folder:
        for name in (MAPS, ROWS):
            (folder / name).mkdir(parents=True, exist_ok=True)
        todo = [subject for subject in subjects if not is_done(folder, subject)]
        explainer = Explainer(config, found, regions, folder, device)
        with track(f"explained {config.level}s", len(subjects), len(subjects) - len(todo)) as advance:
            for fold, network in found.networks({subject.fold for subject in todo}):
                background = _background(config, found, fold, subjects).to(device)
                network.to(device).eval()
                for subject in todo:
                    if subject.fold == fold:
                        explainer.explain(network, [subject], background)
                        advance(1)
        _gather(folder, config, found, subjects)
        explained_pages.render(folder, config.pages)
        shutil.rmtree(folder / ROWS)
    say(f"{len(subjects)} {config.level}s explained by {len(config.methods)} methods; report: {config.out / REPORT}")
    return config.out


def _background(config: ExplainConfig, found: Explainable, fold: int, subjects: list[Subject]) -> torch.Tensor:
    """Items that the network learned from, or, of new ones, any others; spread evenly: uint8."""
    if config.out_of_fold:
        assert found.items.folds is not None
        others = np.flatnonzero(found.items.folds != fold)
    else:
        others = np.setdiff1d(np.arange(len(found.items)), [subject.row for subject in subjects])
    if len(others) == 0:
        others = np.flatnonzero(found.explained_by != UNKNOWN)
    places = np.unique(np.linspace(0, len(others) - 1, min(config.background, len(others))).round().astype(np.int64))
    return torch.from_numpy(found.read(others[places]))


def _gather(folder: Path, config: ExplainConfig, found: Explainable, subjects: list[Subject]) -> None:
    """Join the rows of all items, in their order, and compare the methods."""
    rows = [read_json(folder / ROWS / f"{subject.file}.json") for subject in subjects]
    tables = {
        name: pd.DataFrame([row for own in rows for row in own.get(name, [])])
        for name in ("questions", "scores", "agreement", "randomization")
    }
    write_json(folder / ITEMS, [own["item"] for own in rows])
    for name, file in (("questions", QUESTIONS), ("scores", SCORES)):
        write_table(folder / file, tables[name])
    for name, file in (("agreement", AGREEMENT), ("randomization", RANDOMIZATION)):
        if len(tables[name]):
            write_table(folder / file, tables[name])
    comparison = compare_methods(**tables)
    write_text(folder / COMPARISON, comparison.to_csv(index=False, lineterminator="\n"))
    write_json(
        folder / METRICS,
        {
            "items": len(subjects),
            "questions": len(tables["questions"]),
            "methods": [
                {name: value for name, value in row.items() if value == value}  # NaN is not itself
                for row in comparison.to_dict("records")
            ],
        },
    )
    settings = config.model_dump(mode="json")
    write_text(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    content = {
        "level": config.level,
        "run": str(config.run),
        "out_of_fold": config.out_of_fold,
        "channels": list(found.items.channels),
        "network": _network_name(found),
        "views": found.run.content.tta,
        "is_simulated": config.data.source.kind == "simulated",
        "methods": dict(zip(config.method_names, settings["methods"], strict=True)),
        "judging": settings["judging"] if config.judge else None,
    }
    write_json(folder / SETTINGS, content)


def _network_name(found: Explainable) -> str:
    model = found.run.content.model
    return str(getattr(model, "name", None) or getattr(model, "backbone").name)  # noqa: B009 - of bags
