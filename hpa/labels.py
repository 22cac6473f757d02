"""Class lists: which classes a task has, whether an image may have several, and how their labels are written."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pydantic

from hpa.arrays import Targets
from hpa.config import Config


class LabelError(ValueError):
    """A label that is malformed, outside the class list, or in contradiction with another."""


class ClassList(Config):
    """The classes of a task.

    Attributes:
        names: in the order of their numbers, from 0.
        multi_label: whether an image may have several classes.
        exclusive: the class that never occurs with another ("Negative"), if there is one.
    """

    names: tuple[str, ...] = pydantic.Field(min_length=2)
    multi_label: bool = True
    exclusive: str | None = None

    @pydantic.model_validator(mode="after")
    def _check(self) -> "ClassList":
        repeated = {name for name in self.names if self.names.count(name) > 1}
        if repeated:
            raise ValueError(f"expected every class name once, but {sorted(repeated)} repeat")
        if self.exclusive is not None and self.exclusive not in self.names:
            raise ValueError(f"expected `exclusive` to be one of the names, but got {self.exclusive!r}")
        return self

    def __len__(self) -> int:
        return len(self.names)

    def parse(self, text: str) -> tuple[int, ...]:
        """Class numbers of a label as CSV files write it: numbers or names, separated by `|`, `;` or blanks.

        A label that is a class name as a whole is taken as that name, so that names may hold blanks.

        Raises:
            LabelError: empty, malformed, outside the list, several classes where one is allowed, or the
                exclusive class together with another.

        >>> HPA2021.parse("8|5|0")
        (0, 5, 8)
        >>> HPA2021.parse("Golgi apparatus")
        (7,)
        """
        text = text.strip()
        if not text:
            raise LabelError("the label is empty")
        if text in self.names:
            return (self.names.index(text),)
        by_mark = [part.strip() for part in re.split(r"[|;]", text)]
        parts = by_mark if len(by_mark) > 1 else text.split()
        return self.check(self._number(part, text) for part in parts)

    def check(self, numbers: Iterable[int]) -> tuple[int, ...]:
        """Sorted class numbers, each once; raises LabelError as `parse` does."""
        classes = tuple(sorted(set(numbers)))
        outside = [number for number in classes if not 0 <= number < len(self)]
        if outside:
            raise LabelError(f"class {outside[0]} is outside the list (0 to {len(self) - 1})")
        if not classes:
            raise LabelError("the label is empty")
        if len(classes) > 1 and not self.multi_label:
            raise LabelError(f"several classes {classes}, but the task allows one per image")
        if len(classes) > 1 and self.exclusive and self.names.index(self.exclusive) in classes:
            raise LabelError(f"{self.exclusive!r} together with another class")
        return classes

    def _number(self, part: str, text: str) -> int:
        if part in self.names:
            return self.names.index(part)
        if part.isascii() and part.isdigit():
            return int(part)
        raise LabelError(f"{text!r} is neither numbers nor names of the class list")

    def encode(self, labels: Sequence[Sequence[int]]) -> Targets:
        """One row per item, 1 where the item has the class and 0 elsewhere.

        >>> ClassList(names=("a", "b")).encode([[0], [0, 1]]).tolist()
        [[1.0, 0.0], [1.0, 1.0]]
        """
        targets = np.zeros((len(labels), len(self)), np.float32)
        for row, classes in enumerate(labels):
            targets[row, list(classes)] = 1
        return targets


HPA2021 = ClassList(
    names=(
        "Nucleoplasm",
        "Nuclear membrane",
        "Nucleoli",
        "Nucleoli fibrillar center",
        "Nuclear speckles",
        "Nuclear bodies",
        "Endoplasmic reticulum",
        "Golgi apparatus",
        "Intermediate filaments",
        "Actin filaments",
        "Microtubules",
        "Mitotic spindle",
        "Centrosome",
        "Plasma membrane",
        "Mitochondria",
        "Aggresome",
        "Cytosol",
        "Vesicles and punctate cytosolic patterns",
        "Negative",
    ),
    exclusive="Negative",
)
"""Kaggle "HPA - Single Cell Classification" (2021)."""

HPA2018 = ClassList(
    names=(
        "Nucleoplasm",
        "Nuclear membrane",
        "Nucleoli",
        "Nucleoli fibrillar center",
        "Nuclear speckles",
        "Nuclear bodies",
        "Endoplasmic reticulum",
        "Golgi apparatus",
        "Peroxisomes",
        "Endosomes",
        "Lysosomes",
        "Intermediate filaments",
        "Actin filaments",
        "Focal adhesion sites",
        "Microtubules",
        "Microtubule ends",
        "Cytokinetic bridge",
        "Mitotic spindle",
        "Microtubule organizing center",
        "Centrosome",
        "Lipid droplets",
        "Plasma membrane",
        "Cell junctions",
        "Mitochondria",
        "Aggresome",
        "Cytosol",
        "Cytoplasmic bodies",
        "Rods & rings",
    )
)
"""Kaggle "Human Protein Atlas Image Classification" (2018)."""

HPA2018_TO_2021: tuple[int | None, ...] = (
    *(0, 1, 2, 3, 4, 5, 6, 7),  # Nucleoplasm to Golgi apparatus keep their numbers
    *(17, 17, 17),  # peroxisomes, endosomes and lysosomes are vesicles
    *(8, 9, 9),  # intermediate filaments; actin filaments and focal adhesion sites
    *(10, None, None, 11),  # microtubules; no class for their ends and the bridge; mitotic spindle
    *(12, 12, 17),  # organizing center and centrosome; lipid droplets
    *(
        13,
        13,
        14,
        15,
        16,
        17,
        None,
    ),  # plasma membrane and junctions to cytoplasmic bodies; rods & rings: none
)
"""For each class of 2018 its class of 2021, None where there is none.

Read off the 21,806 images that both competitions' train.csv list: of the images with one 2018 label, at least 92 % of
every mapped class carry the 2021 class named here. Microtubule ends (12 images), cytokinetic bridge (358) and rods &
rings (6) have no class that follows them.
"""
