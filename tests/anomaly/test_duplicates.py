import numpy as np
import pytest

from hpa.anomaly.duplicates import (
    ORIENTATIONS,
    SIDE,
    DuplicateConfig,
    _descriptors,
    _turned,
    duplicates,
    similar_pairs,
    thumbnails,
)


def images(count: int = 30, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Smooth random scenes: uint8 (count, channels, 64, 64)."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(0, 200, (count, channels, 8, 8))
    return np.kron(coarse, np.ones((8, 8))).astype(np.uint8)


def changed(pixels: np.ndarray, factor: float = 0.8, noise: float = 6.0, seed: int = 1) -> np.ndarray:
    noisy = pixels * factor + np.random.default_rng(seed).normal(0, noise, pixels.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def find(pixels: np.ndarray, **settings):
    config = DuplicateConfig(**settings)
    names = [f"i{row}" for row in range(len(pixels))]
    return duplicates(names, similar_pairs(thumbnails(pixels), config), config)


def test_noisy_darker_copies_are_found_with_their_originals() -> None:
    pixels = images()
    pixels[[20, 25]] = changed(pixels[[3, 7]])
    found = find(pixels)
    assert found.flags.nonzero()[0].tolist() == [20, 25]
    assert found.details is not None
    assert found.details["duplicates_of"].iloc[[3, 20, 25]].tolist() == ["", "i3", "i7"]
    assert found.details["duplicates_orientation"].iloc[20] == ORIENTATIONS[0]
    assert np.delete(found.scores, [20, 25]).max() < 0.9


@pytest.mark.parametrize("turn", range(8))
def test_turned_and_mirrored_copies_are_found(turn: int) -> None:
    pixels = images()
    pixels[20] = np.rot90(pixels[3, :, :, ::-1] if turn >= 4 else pixels[3], turn % 4, axes=(1, 2))
    found = find(pixels)
    assert found.flags.nonzero()[0].tolist() == [20]
    assert found.details is not None
    assert found.details["duplicates_orientation"].iloc[20] == ORIENTATIONS[turn]
    assert find(pixels, orientations="one").flags.nonzero()[0].tolist() == ([20] if turn == 0 else [])


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        (1, [[2, 4], [1, 3]]),
        (2, [[4, 3], [2, 1]]),
        (3, [[3, 1], [4, 2]]),
        (4, [[2, 1], [4, 3]]),
        (5, [[1, 3], [2, 4]]),
        (6, [[3, 4], [1, 2]]),
        (7, [[4, 2], [3, 1]]),
    ],
)
def test_orientations_have_the_right_names(turn: int, expected: list[list[int]]) -> None:
    """1 2 / 3 4, turned against the clock by 90°, 180°, 270°; mirrored left to right, then turned."""
    plane = np.array([[1, 2], [3, 4]], np.float32)[None, None]
    assert _turned(plane, turn)[0, 0].tolist() == expected


def test_the_first_of_a_set_is_its_original() -> None:
    pixels = images()
    pixels[[10, 20, 29]] = pixels[4]
    found = find(pixels)
    assert found.flags.nonzero()[0].tolist() == [10, 20, 29]
    assert found.details is not None
    assert set(found.details["duplicates_of"][found.flags]) == {"i4"}


def test_what_all_images_share_does_not_make_them_alike() -> None:
    common = images(1, 1, seed=9)[0] // 2
    pixels = common + images(30, 1) // 4
    assert not find(pixels).flags.any()


def test_the_descriptor_bounds_the_distance_and_no_orientation_changes_it() -> None:
    small = np.random.default_rng(0).normal(size=(6, 2, SIDE, SIDE)).astype(np.float32)
    described = _descriptors(small)
    for turn in range(8):
        np.testing.assert_allclose(_descriptors(np.ascontiguousarray(_turned(small, turn))), described, atol=1e-4)
    for one in range(6):
        for other in range(6):
            least = min(float(np.linalg.norm(_turned(small[[one]], turn) - small[[other]])) for turn in range(8))
            assert np.linalg.norm(described[one] - described[other]) <= least + 1e-4


def test_candidates_find_the_pairs_that_comparing_all_finds() -> None:
    pixels = images(40)
    pixels[20:30] = changed(pixels[:10], noise=20)
    small = thumbnails(pixels)
    few, all_pairs = (similar_pairs(small, DuplicateConfig(candidates=count)) for count in (3, 39))
    assert len(all_pairs.later) == 40 * 39 // 2
    high = {(a, b) for a, b, s in zip(all_pairs.later, all_pairs.earlier, all_pairs.similarity, strict=True) if s > 0.8}
    assert high
    assert high <= set(zip(few.later, few.earlier, strict=True))
    assert (few.earlier < few.later).all()


def test_empty_images_are_no_duplicates_of_each_other() -> None:
    """Neither black ones nor those that hold nothing but noise, though the others have something in common."""
    pixels = images(30, 1) // 4 + images(1, 1, seed=9)[0] // 2
    pixels[[3, 8, 9]] = 0
    pixels[[4, 10, 11]] = np.random.default_rng(0).poisson(0.5, (3, 1, 64, 64))
    assert find(pixels).scores[[3, 4, 8, 9, 10, 11]].max() < 0.7


def test_thumbnails_are_free_of_brightness() -> None:
    pixels = images(2)
    small = thumbnails(pixels)
    np.testing.assert_allclose(small.mean(axis=(2, 3)), 0, atol=1e-5)
    assert (small.std(axis=(2, 3)) < 1).all()
    np.testing.assert_allclose(small, thumbnails(pixels // 2), atol=0.2)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images(count: int) -> None:
    found = find(images(2)[:count])
    assert found.scores.shape == (count,)
    assert not found.flags.any()


def test_two_equal_images_alone_are_duplicates_unless_that_is_all_there_is() -> None:
    """With two images alone, what both share is taken for what all images have in common."""
    pixels = images(3)
    pixels[1] = pixels[0]
    assert find(pixels).flags.tolist() == [False, True, False]
