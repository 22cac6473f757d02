"""Bags of visual words on textures that differ."""

import cv2
import numpy as np
import pytest
from sklearn.cluster import KMeans

from hpa.anomaly.sift_words import SiftWords, SiftWordsConfig, describe_key_points

CONFIG = SiftWordsConfig(words=16, key_points=100)


def texture(kind, seed):
    """One channel of 128 pixels: spots, or stripes."""
    draws = np.random.default_rng(seed)
    plane = np.zeros((128, 128), np.uint8)
    for x, y in draws.integers(5, 123, (60, 2)).tolist():
        if kind == "spots":
            cv2.circle(plane, (x, y), 3, 220, -1)
        else:
            cv2.line(plane, (x, y), (x + 30, y + int(draws.integers(-3, 4))), 220, 1)
    return cv2.GaussianBlur(plane, (0, 0), 1)[None]


@pytest.fixture(scope="module")
def described():
    """Descriptors of 10 images of spots and 10 of stripes."""
    return [describe_key_points(texture(kind, seed), CONFIG) for kind in ("spots", "stripes") for seed in range(10)]


def test_images_of_one_texture_have_similar_words(described):
    values = SiftWords(CONFIG).fit(described).transform(described)
    assert values.shape == (20, 16)
    assert values.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, rtol=1e-5)
    likeness = values @ values.T
    np.fill_diagonal(likeness, -1)
    assert (likeness.argmax(axis=1) // 10 == np.arange(20) // 10).all()


def test_the_same_seed_gives_the_same_words_and_another_seed_others(described):
    first, again = (SiftWords(CONFIG).fit(described) for _ in range(2))
    assert np.array_equal(first.words_[0], again.words_[0])
    other = SiftWords(CONFIG.model_copy(update={"seed": 1})).fit(described)
    assert not np.array_equal(first.words_[0], other.words_[0])


def test_a_histogram_is_the_weighted_share_of_each_word(described):
    config = CONFIG.model_copy(update={"unit_length": False, "root": False})
    words = SiftWords(config).fit(described)
    values = words.transform(described)
    np.testing.assert_allclose(values.sum(axis=1), 1, rtol=1e-5)
    found = described[3][0].astype(float)
    nearest = np.linalg.norm(found[:, None] - words.words_[0], axis=2).argmin(axis=1)
    counts = np.bincount(nearest, minlength=16)
    present = np.zeros(16)
    for image in described:
        apart = np.linalg.norm(image[0].astype(float)[:, None] - words.words_[0], axis=2)
        present[np.unique(apart.argmin(axis=1))] += 1
    weighted = counts * (np.log(21 / (1 + present)) + 1)
    np.testing.assert_allclose(values[3], weighted / weighted.sum(), rtol=1e-5)
    plain = SiftWords(config.model_copy(update={"tf_idf": False})).fit(described).transform(described)
    np.testing.assert_allclose(plain[3], counts / counts.sum(), rtol=1e-5)


def test_words_are_about_as_good_as_those_of_full_k_means(described):
    config = CONFIG.model_copy(update={"root": True})
    words = SiftWords(config).fit(described).words_[0]
    points = np.concatenate([image[0] for image in described]).astype(float)
    points = np.sqrt(points / points.sum(axis=1, keepdims=True))
    ours = (np.linalg.norm(points[:, None] - words, axis=2).min(axis=1) ** 2).sum()
    assert ours < 1.1 * KMeans(16, n_init=3, random_state=0).fit(points).inertia_


def test_an_image_without_key_points_has_zeros(described):
    empty = describe_key_points(np.zeros((1, 64, 64), np.uint8), CONFIG)
    assert empty[0].shape == (0, 128)
    words = SiftWords(CONFIG).fit([*described, empty])
    assert (words.transform([empty]) == 0).all()
    assert describe_key_points(np.full((2, 3, 3), 9, np.uint8), CONFIG)[1].shape == (0, 128)


def test_each_channel_has_its_own_words(described):
    pairs = [[image[0], described[-1 - number][0]] for number, image in enumerate(described)]
    words = SiftWords(CONFIG).fit(pairs)
    values = words.transform(pairs)
    assert values.shape == (20, 32)
    single = SiftWords(CONFIG).fit(described).transform(described)
    np.testing.assert_allclose(values[:, :16], single, rtol=1e-6)
    # A channel that never shows anything takes its place all the same.
    dark = [[image[0], np.zeros((0, 128), np.uint8)] for image in described]
    values = SiftWords(CONFIG).fit(dark).transform(dark)
    assert (values[:, 16:] == 0).all()
    np.testing.assert_allclose(values[:, :16], single, rtol=1e-6)


def test_fewer_key_points_than_words_are_words_themselves(described):
    few = [[image[0][:1]] for image in described[:5]]
    words = SiftWords(CONFIG).fit(few)
    assert len(words.words_[0]) == 5
    assert words.transform(few).shape == (5, 16)


def test_words_are_kept_in_a_file(described, tmp_path):
    words = SiftWords(CONFIG).fit(described)
    words.save(tmp_path / "words.npz")
    loaded = SiftWords.load(tmp_path / "words.npz", CONFIG)
    assert np.array_equal(loaded.transform(described), words.transform(described))
    with pytest.raises(ValueError, match="expected 32 words, but it has 16"):
        SiftWords.load(tmp_path / "words.npz", SiftWordsConfig(words=32))
    (tmp_path / "words.npz").write_bytes(b"not this")
    with pytest.raises(ValueError, match=r"words.npz: holds no words"):
        SiftWords.load(tmp_path / "words.npz", CONFIG)


def test_images_that_show_nothing_cannot_be_learned_from():
    dark = [describe_key_points(np.zeros((1, 64, 64), np.uint8), CONFIG)] * 3
    for images in (dark, []):
        with pytest.raises(ValueError, match=f"but {len(images)} images have none; lower `contrast`"):
            SiftWords(CONFIG).fit(images)


def test_strong_key_points_come_first():
    few = describe_key_points(texture("spots", 0), SiftWordsConfig(key_points=10))
    many = describe_key_points(texture("spots", 0), SiftWordsConfig(key_points=1000))
    assert 10 <= len(few[0]) <= 12 < len(many[0])  # of equally strong ones all
    none = describe_key_points(texture("spots", 0) // 50, SiftWordsConfig(contrast=0.2))
    assert len(none[0]) == 0
