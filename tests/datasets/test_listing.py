from hpa.datasets.listing import Entry, Problems, SourceConfig, hash_inputs, make_listing
from hpa.labels import ClassList

CLASSES = ClassList(names=("a", "b"))


def make(entries, problems=None):
    return make_listing(
        entries,
        problems or Problems(),
        source=SourceConfig(bit_depth=16),
        kind="test",
        where="nowhere",
        classes=CLASSES,
        channels=["grey"],
        group_columns=["plate"],
        fingerprint="f",
    )


def test_entries_are_sorted_and_missing_columns_filled():
    listing = make([Entry("y", ("1",), (1,), {"plate": "p"}), Entry("x", ("2",), (0, 1), {})])
    assert listing.images["image_id"].tolist() == ["x", "y"]
    assert listing.images["plate"].tolist() == ["", "p"]
    assert listing.labels[["a", "b"]].to_numpy().tolist() == [[1, 1], [0, 1]]
    assert listing.labels["a"].dtype == "float32"
    assert listing.bit_depth == 16


def test_without_labels_the_table_has_columns_and_no_rows():
    listing = make([Entry("x", ("1",), None, {})])
    assert list(listing.labels.columns) == ["image_id", "a", "b"]
    assert listing.labels.empty


def test_problems_are_sorted_and_may_lack_a_row():
    problems = Problems()
    problems.add("b", "bad_label", "x", 7)
    problems.add("a", "unsafe_id", "y")
    table = problems.table()
    assert table["image_id"].tolist() == ["a", "b"]
    assert table["row"].isna().tolist() == [True, False]
    assert table["row"].dtype == "Int64"


def test_the_hash_covers_names_sizes_and_tables(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x")
    first = hash_inputs([path], {"a": 1, "b": 2})
    assert first == hash_inputs([path], {"b": 2, "a": 1})
    assert first != hash_inputs([path], {"a": 1, "b": 3})
    path.write_text("y")
    assert first != hash_inputs([path], {"a": 1, "b": 2})
