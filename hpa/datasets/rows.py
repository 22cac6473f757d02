"""Rows of a table to images: safe and unique ids, and labels that the class list knows."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hpa.datasets.csv_file import Row
from hpa.datasets.files import is_safe_id
from hpa.datasets.listing import RESERVED, Problems
from hpa.labels import LabelError


@dataclass(frozen=True)
class LabelledRow:
    """A row with an id that can be used and a label that is understood; `classes` is None without labels."""

    image_id: str
    row: Row
    classes: tuple[int, ...] | None


def labelled_rows(
    rows: Iterable[Row],
    image_id: Callable[[Row], str],
    label_column: str | None,
    parse: Callable[[str], tuple[int, ...]],
    problems: Problems,
) -> list[LabelledRow]:
    """Sort rows into those that can be used and problems.

    Of rows with one id, the first is used when all have the same label; otherwise none is, as nobody knows which label
    is right. Problems: unsafe_id, duplicate_id, bad_label.

    Args:
        rows: of a table.
        image_id: the id of a row.
        label_column: None when the table has no labels.
        parse: class numbers of a label as written; raises LabelError.
        problems: takes what cannot be used.
    """
    by_id: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        name = image_id(row)
        if is_safe_id(name):
            by_id[name].append(row)
        else:
            problems.add(name[:80], "unsafe_id", "expected an id that is a plain file name", row.line)
    result = []
    for name, same in by_id.items():
        texts = {row.cells[label_column] for row in same} if label_column else {""}
        for row in same[0 if len(texts) > 1 else 1 :]:
            first = same[0].line if row is not same[0] else same[1].line
            differ = "with different labels, so that none is used" if len(texts) > 1 else "and the first is used"
            problems.add(name, "duplicate_id", f"also in line {first}, {differ}", row.line)
        if len(texts) > 1:
            continue
        classes = None
        if label_column is not None:
            try:
                classes = parse(same[0].cells[label_column])
            except LabelError as error:
                problems.add(name, "bad_label", str(error), same[0].line)
                continue
        result.append(LabelledRow(name, same[0], classes))
    return result


def own_columns(columns: Sequence[str], used: Iterable[str | None], group_columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of a table that stay beside its images: neither used up nor with a name of the ImageTable.

    Raises:
        ValueError: a group column is not in the table, or has such a name.
    """
    missing = [name for name in group_columns if name not in columns]
    if missing:
        raise ValueError(f"source.group_columns: {missing} are not in the table; there are {list(columns)}")
    taken = [name for name in group_columns if name in RESERVED and name != "group"]
    if taken:
        raise ValueError(f"source.group_columns: {taken} are names of the image table; rename them in the CSV file")
    spent = set(used) - set(group_columns)
    return tuple(name for name in columns if name not in spent and name not in RESERVED and name.strip())
