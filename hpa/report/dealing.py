"""Groups, duplicates, folds and problems of a dataset, as sections of its page."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hpa.arrays import Targets
from hpa.report.formats import count_of, deviation, percent
from hpa.report.heatmaps import heat_map
from hpa.report.page import Block, Figure, Note, Section, Table

LISTED = 50
"""Most problems shown; problems.csv holds all."""

GROUPS = 12
"""Largest groups listed."""

NARROW = 5
"""Below so many groups a class is called narrow: it cannot be in each of five folds."""


def groups_section(images: pd.DataFrame, targets: Targets | None, classes: Sequence[str]) -> Section:
    """Groups of several images with their classes, and near duplicates where the index looked for them."""
    sizes = images.groupby("group").size().sort_values(ascending=False, kind="stable")
    several = sizes[sizes > 1]
    blocks: list[Block] = []
    if several.empty:
        blocks.append(Note("Every image is a group of its own."))
    else:
        listed = several.head(GROUPS)
        members = images[images["group"].isin(listed.index)].groupby("group")["image_id"]
        first = members.apply(lambda ids: ", ".join([*ids[:4], *(["…"] if len(ids) > 4 else [])]))
        table = pd.DataFrame(
            {
                "group": listed.index,
                "images": [f"{size:,}" for size in listed],
                "such as": [first[g] for g in listed.index],
            }
        )
        if targets is not None:
            table.insert(
                2,
                "classes",
                [_classes_of(targets[(images["group"] == name).to_numpy()], classes) for name in listed.index],
            )
        caption = f"{count_of(len(several), 'group')} of several images; the largest {len(listed)} are listed."
        blocks.append(Table("Groups of several images", table, caption, ["images"]))
        blocks += _narrow(images, targets, classes)
    if "duplicate_set" in images:
        sets = images.loc[images["duplicate_set"].fillna("") != ""].groupby("duplicate_set")["image_id"].apply(list)
        if len(sets):
            shown = sets.head(LISTED)
            table = pd.DataFrame(
                {"images": [f"{len(ids)}" for ids in shown], "which": [", ".join(ids) for ids in shown]}
            )
            caption = (
                f"{count_of(len(sets), 'set')} of images that look almost the same in every channel (by perceptual "
                "hash). They share a group, so that no copy of a training image is used to judge the model."
            )
            blocks.append(Table("Near duplicates", table, caption, ["images"]))
        else:
            blocks.append(Note("No near duplicates were found."))
    return Section(
        "Groups and duplicates",
        blocks,
        "Images of one group (a sample, an antibody, a patient, copies of each other) always share a fold: otherwise a "
        "model would be judged on images it has in effect seen.",
    )


def _classes_of(targets: Targets, classes: Sequence[str]) -> str:
    """The classes of a group's images, the most frequent first."""
    counts = targets.sum(axis=0).astype(int)
    found = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]
    more = ["…"] if len(found) > 4 else []
    return ", ".join([*(f"{classes[k]} ({counts[k]})" for k in found[:4]), *more])


def _narrow(images: pd.DataFrame, targets: Targets | None, classes: Sequence[str]) -> list[Block]:
    """A note on the classes that come from few groups."""
    if targets is None:
        return []
    groups = images["group"].to_numpy()
    numbers = {name: len(np.unique(groups[targets[:, k] > 0])) for k, name in enumerate(classes)}
    narrow = [f"{name} ({number})" for name, number in numbers.items() if 0 < number < NARROW]
    if not narrow:
        return []
    return [
        Note(
            f"Classes that come from fewer than {NARROW} groups: {', '.join(narrow)}. A model may learn what a group "
            "looks like instead of the class, and only images of other groups can tell."
        )
    ]


def folds_section(folds: pd.DataFrame) -> Section:
    """How near each fold comes to its share of each class."""
    counts = folds.pivot_table(index="class", columns="fold", values="count", sort=False)
    away = folds.pivot_table(index="class", columns="fold", values="deviation", sort=False).to_numpy(float)
    kept = counts.sum(axis=1).to_numpy() > 0
    texts = [
        [f"{int(count):,}  ({deviation(off)})" for count, off in zip(*rows, strict=True)]
        for rows in zip(counts.to_numpy()[kept], away[kept], strict=True)
    ]
    names = counts.index[kept].tolist()
    heads = [f"fold {fold}" for fold in counts.columns]
    caption = (
        "How to read it: images of the class in each fold, and how far that is from an equal share. Pale is good; "
        "a dark cell is a fold that holds clearly more or fewer images of the class than the others. "
        "Classes without images are left out."
    )
    blocks: list[Block] = [
        Figure(
            "folds",
            heat_map(np.abs(away[kept]), names, heads, texts, "", "", "distance from an equal share", 0.5),
            "Images per class and fold",
            caption,
        )
    ]
    if "ungrouped_deviation" in folds:
        mine, other = (folds[name].abs().mean() for name in ("deviation", "ungrouped_deviation"))
        blocks.append(
            Note(
                f"Mean distance from an equal share: {percent(float(mine))}. Folds that tear groups apart would reach "
                f"{percent(float(other))}; the difference is the price of keeping groups whole."
            )
        )
    lead = "Each fold is held out once, to judge a model trained on the others; so each should be a fair sample."
    return Section("Folds", blocks, lead)


def problems_section(problems: pd.DataFrame) -> Section:
    """What was left out and why."""
    if problems.empty:
        return Section("Problems", [Note("Every entry could be used.")])
    counts = problems["problem"].value_counts()
    kinds = pd.DataFrame({"problem": counts.index, "entries": [f"{count:,}" for count in counts]})
    shown = problems.head(LISTED)
    kept = [name for name in ("image_id", "problem", "detail", "row") if name in shown]
    rest = (
        f"The first {LISTED} of {len(problems):,}; problems.csv of the index holds all."
        if len(problems) > LISTED
        else ""
    )
    lead = "Left out: none of these takes part in training."
    listed = shown[kept].astype(object).where(shown[kept].notna(), "").rename(columns={"row": "row of the table"})
    return Section("Problems", [Table("By kind", kinds, "", ["entries"]), Table("Which", listed, rest)], lead)
