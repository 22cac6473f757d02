"""Tables of images as people write them: comma, tab or semicolon, with damaged rows among good ones."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpa.datasets.listing import MissingSourceError, Problems

MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class Row:
    """One row: the line it starts at (the header is 1) and its cells by column."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class CsvFile:
    """A CSV file as read: column names, and the rows that fit them."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def column(self, wanted: str | None, known: Sequence[str], purpose: str) -> str | None:
        """The name of a column: the one the user named, or the first known one that is there, whatever its case.

        Raises:
            ValueError: the named column is not there.
        """
        if wanted is not None:
            if wanted not in self.columns:
                raise ValueError(f"{self.path}: no column {wanted!r} for {purpose}; there are {list(self.columns)}")
            return wanted
        by_lower = {name.lower(): name for name in reversed(self.columns)}
        return next((by_lower[name.lower()] for name in known if name.lower() in by_lower), None)


def read_csv(path: Path, problems: Problems) -> CsvFile:
    """Read a CSV file; the mark between cells is the one of comma, tab and semicolon that the header holds most.

    Rows with another number of cells than the header go into `problems` as `malformed_row`; blank lines do not.

    Raises:
        ValueError: missing, not text, without a header, or with a column name twice.
    """
    if not path.is_file():
        raise MissingSourceError(f"{path}: there is no such CSV file; set source.csv")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes is too large for a table of images")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not a text file in UTF-8; expected a CSV file") from None
    header = next((line for line in text.splitlines() if line.strip()), "")
    mark = max(",\t;", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    columns: tuple[str, ...] | None = None
    rows = []
    last = 0
    try:
        for cells in reader:
            line, last = last + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                columns = tuple(cell.strip() for cell in cells)
                continue
            if len(cells) != len(columns):
                detail = f"expected {len(columns)} cells, but got {len(cells)}"
                problems.add(cells[0].strip()[:80], "malformed_row", detail, line)
                continue
            rows.append(Row(line, dict(zip(columns, (cell.strip() for cell in cells), strict=True))))
    except csv.Error as error:
        raise ValueError(f"{path}: cannot be read as CSV from line {last + 1} on ({error})") from None
    if columns is None:
        raise ValueError(f"{path}: is empty; expected a header line and one line per image")
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}: the columns {repeated} occur more than once")
    return CsvFile(path, columns, tuple(rows))
