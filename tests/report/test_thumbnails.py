"""Thumbnails fit their budget and stand where their places say."""

import cv2
import numpy as np
import pytest

from hpa.report.thumbnails import FORMATS, SheetFormat, choose_format, encode_sheet


def pictures(count, side=64, seed=0):
    """Smooth colours, each picture its own."""
    draws = np.random.default_rng(seed)
    base = draws.integers(30, 220, (count, 1, 1, 3))
    slope = np.linspace(-20, 20, side)[None, :, None, None]
    return list(np.clip(base + slope + np.zeros((1, side, side, 1)), 0, 255).astype(np.uint8))


def textures(count, side=192):
    return list(np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.uint8))


def decode(content):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def test_pictures_stand_at_their_places():
    some = pictures(7)
    layout = SheetFormat(side=32, quality=90, columns=3)
    sheet = decode(encode_sheet(some, layout))
    assert sheet.shape == (96, 96, 3)
    for place, picture in enumerate(some):
        row, column = divmod(place, 3)
        part = sheet[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
        expected = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA).astype(int)
        assert np.abs(part[4:-4, 4:-4] - expected[4:-4, 4:-4]).mean() < 6
    assert sheet[68:, 36:].max() < 12  # places without a picture


def test_same_pictures_same_bytes():
    layout = SheetFormat(side=32, quality=60, columns=3)
    assert encode_sheet(pictures(5), layout) == encode_sheet(pictures(5), layout)
    assert encode_sheet(pictures(5), layout) != encode_sheet(pictures(5, seed=1), layout)


def test_formats_fall_in_bytes():
    examples = textures(9)
    sizes = [len(encode_sheet(examples, SheetFormat(side, quality, 3))) for side, quality in FORMATS]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("budget", [40_000, 200_000, 1_000_000, 20_000_000])
def test_the_budget_holds_and_is_used(budget):
    examples, items = textures(20), 300
    layout = choose_format(examples, items, budget)
    whole = [examples[number % 20] for number in range(items)]
    parts = [whole[start : start + layout.per_sheet] for start in range(0, items, layout.per_sheet)]
    assert sum(len(encode_sheet(part, layout)) for part in parts) <= budget
    better = FORMATS[: FORMATS.index((layout.side, layout.quality))]
    if better:
        side, quality = better[-1]
        assert 15 * len(encode_sheet(examples, SheetFormat(side, quality, 5))) * 1.05 > budget


def test_nothing_is_enlarged_and_few_need_small_sheets():
    assert choose_format(pictures(4, side=50), 4, 10**9).side == 48
    assert choose_format(pictures(4, side=10), 4, 10**9).side == 10
    assert choose_format(textures(4), 4, 10**9, largest=100).side == 96
    assert choose_format(pictures(4), 5, 10**9).columns == 3
    assert choose_format(pictures(4), 10**5, 10**9).columns == 1024 // 64


def test_too_small_a_budget_says_what_to_do():
    with pytest.raises(ValueError, match=r"300 thumbnails do not fit .* show fewer items"):
        choose_format(textures(5), 300, 2000)
