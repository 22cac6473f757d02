"""Numbers and names as a person reads them."""

import math

import numpy as np


def number(value: float | int | np.integer | None, digits: int = 3) -> str:
    """A rate with three decimals, a count in full with separators, a dash where undefined.

    >>> number(0.12345), number(21806), number(None), number(float("nan"))
    ('0.123', '21,806', '–', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    return f"{value:,.{digits}f}"


def percent(share: float | int | None) -> str:
    """A share as a percentage with two significant digits or so.

    >>> percent(0.4774), percent(0.0016), percent(0), percent(1), percent(None)
    ('48 %', '0.16 %', '0 %', '100 %', '–')
    """
    if share is None or math.isnan(share):
        return "–"
    value = 100 * share
    if value == 0 or value >= 9.95:
        return f"{value:.0f} %"
    return f"{value:.1f} %" if value >= 0.95 else f"{value:.2g} %"


def duration(seconds: float | int) -> str:
    """A time span in its two largest units.

    >>> duration(7.25), duration(192), duration(7380), duration(200_000)
    ('7.2 s', '3 min 12 s', '2 h 3 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, smaller, its_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // smaller} {its_name}"
    raise AssertionError(seconds)


def shorten(text: str, limit: int) -> str:
    """Cut a long name, with an ellipsis.

    >>> shorten("Vesicles and punctate cytosolic patterns", 22)
    'Vesicles and punctate…'
    """
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def count_of(items: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun.

    >>> count_of(1, "image"), count_of(1200, "image"), count_of(2, "class", "classes")
    ('1 image', '1,200 images', '2 classes')
    """
    return f"{items:,} {noun if items == 1 else plural or noun + 's'}"


def compact(items: int) -> str:
    """A count for a narrow cell, in thousands from 1,000 on, empty for none.

    >>> compact(0), compact(999), compact(1262), compact(10412)
    ('', '999', '1.3k', '10k')
    """
    if items < 1000:
        return str(items) if items else ""
    return f"{items / 1000:.1f}k" if items < 9950 else f"{items / 1000:.0f}k"


def deviation(share: float) -> str:
    """A relative deviation with its sign.

    >>> deviation(0.251), deviation(-0.06), deviation(0.001)
    ('+25 %', '−6 %', '±0 %')
    """
    whole = round(100 * share)
    return f"{'+' if whole > 0 else '−' if whole < 0 else '±'}{abs(whole)} %"
