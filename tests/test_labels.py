import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa.labels import HPA2018, HPA2018_TO_2021, HPA2021, ClassList, LabelError

SINGLE = ClassList(names=("normal", "pneumonia"), multi_label=False)


@given(st.sets(st.integers(0, 17), min_size=1), st.sampled_from(["|", " ", ";", " | "]))
def test_numbers_in_any_notation(classes, separator):
    assert HPA2021.parse(separator.join(map(str, classes))) == tuple(sorted(classes))


@pytest.mark.parametrize("text", ["Golgi apparatus|Nucleoli", "7;2", "Nucleoli|7"])
def test_names(text):
    assert HPA2021.parse(text) == (2, 7)


@pytest.mark.parametrize(
    ("classes", "text", "message"),
    [
        (HPA2021, "", "empty"),
        (HPA2021, "   ", "empty"),
        (HPA2021, "|", "neither numbers nor names"),
        (HPA2021, "19", "outside"),
        (HPA2021, "-1", "neither"),
        (HPA2021, "1.0", "neither"),
        (HPA2021, "²", "neither"),
        (HPA2021, "nan", "neither"),
        (HPA2021, "18|0", "'Negative' together with another class"),
        (SINGLE, "0|1", "one per image"),
        (SINGLE, "bacteria", "neither"),
    ],
)
def test_bad_labels(classes, text, message):
    with pytest.raises(LabelError, match=message):
        classes.parse(text)


def test_class_lists_are_checked():
    with pytest.raises(ValueError, match="repeat"):
        ClassList(names=("a", "a"))
    with pytest.raises(ValueError, match="exclusive"):
        ClassList(names=("a", "b"), exclusive="c")


def test_the_map_from_2018_agrees_with_the_images_in_both_tables(sample_data):
    """The two competitions' tables list the same images; a mapped class must follow from its 2018 label."""
    with (sample_data / "hpa2018" / "train.csv").open() as old, (sample_data / "hpa2021" / "train.csv").open() as new:
        before = {row["Id"]: HPA2018.parse(row["Target"]) for row in csv.DictReader(old)}
        after = {row["ID"]: HPA2021.parse(row["Label"]) for row in csv.DictReader(new)}
    common = before.keys() & after.keys()
    assert len(common) > 20_000
    assert len(HPA2018_TO_2021) == len(HPA2018)
    for number, target in enumerate(HPA2018_TO_2021):
        images = [image for image in common if number in before[image]]
        if target is not None:
            assert sum(target in after[image] for image in images) >= 0.9 * len(images), HPA2018.names[number]
