import pytest

from hpa.datasets.csv_file import read_csv
from hpa.datasets.listing import MissingSourceError, Problems


def read(tmp_path, text, problems=None):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_csv(path, problems if problems is not None else Problems())


@pytest.mark.parametrize("mark", [",", "\t", ";"])
def test_the_mark_between_cells_is_found(tmp_path, mark):
    table = read(tmp_path, f"ID{mark}Label\na{mark}8|5|0\n")
    assert table.columns == ("ID", "Label")
    assert table.rows[0].cells == {"ID": "a", "Label": "8|5|0"}


def test_byte_order_mark_blank_lines_carriage_returns_and_quotes(tmp_path):
    table = read(tmp_path, b'\xef\xbb\xbfID,Label\r\n\r\n a ,"x, y"\r\nb,"two\r\nlines"\r\nc,z\r\n')
    assert [row.cells["ID"] for row in table.rows] == ["a", "b", "c"]
    assert table.rows[0].cells["Label"] == "x, y"
    assert [row.line for row in table.rows] == [3, 4, 6]


def test_rows_of_another_length_are_problems(tmp_path):
    problems = Problems()
    table = read(tmp_path, "ID,Label\na,1\nb\nc,1,2\nd,3\n", problems)
    assert [row.cells["ID"] for row in table.rows] == ["a", "d"]
    found = problems.table()
    assert found["problem"].tolist() == ["malformed_row"] * 2
    assert found["row"].tolist() == [3, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        (b"\xff\xfe\x00binary", "not a text file"),
        ("ID,ID\n", "more than once"),
        ('ID,Label\na,"' + "x" * 200_000, "cannot be read as CSV from line 2"),
    ],
)
def test_what_cannot_be_read(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_a_missing_file(tmp_path):
    with pytest.raises(MissingSourceError, match=r"set source\.csv"):
        read_csv(tmp_path / "none.csv", Problems())


def test_columns_are_found_by_name(tmp_path):
    table = read(tmp_path, "id,Target,label\n")
    assert table.column(None, ("ID",), "ids") == "id"
    assert table.column(None, ("Label", "Target"), "labels") == "label"
    assert table.column("Target", (), "labels") == "Target"
    assert table.column(None, ("x",), "labels") is None
    with pytest.raises(ValueError, match=r"no column 'x' for labels; there are \['id', 'Target', 'label'\]"):
        table.column("x", (), "labels")
