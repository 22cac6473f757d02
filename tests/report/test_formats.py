"""Numbers as a person reads them: the edges that the examples in the docstrings leave out."""

import pytest

from hpa.report.formats import compact, count_of, duration, number, percent, shorten


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 0 s"), (3599.6, "1 h 0 min"), (86_400, "1 d 0 h")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_percent_rounds_up_to_a_whole_number() -> None:
    assert percent(0.0996) == "10 %"
    assert percent(0.00949) == "0.95 %"


def test_counts() -> None:
    assert compact(9949) == "9.9k"
    assert compact(9950) == "10k"
    assert count_of(0, "image") == "0 images"
    assert number(float("inf")) == "inf"


def test_shorten_keeps_what_fits() -> None:
    assert shorten("exact", 5) == "exact"
    assert shorten("a  b\n c", 9) == "a b c"
