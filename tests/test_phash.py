from itertools import combinations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.images import CHANNELS, read_image, resize
from hpa.phash import connected, hash_text, near_duplicates, parse_hashes, perceptual_hash


def scene(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (2, 96, 128)).astype(np.uint8)
    return np.stack([cv2.GaussianBlur(plane, (0, 0), 6) for plane in noise])


def bits(first, second):
    return np.bitwise_count(first ^ second).max()


def test_the_hash_survives_scaling_brightness_and_compression():
    for seed in range(5):
        image = scene(seed)
        start = perceptual_hash(image)
        again = [resize(image, 64, "stretch"), (image * 0.7 + 20).astype(np.uint8)]
        coded = [cv2.imdecode(cv2.imencode(".jpg", plane, [1, 70])[1], 0) for plane in image]
        for other in [*again, np.stack(coded)]:
            assert bits(start, perceptual_hash(other)) <= 6
        assert bits(start, perceptual_hash(scene(seed + 100))) > 12


def test_flat_images_hash_alike():
    flat = [perceptual_hash(np.full((1, 28, 28), value, np.uint8)) for value in (0, 7, 255)]
    assert np.unique(flat).tolist() == [0]


def test_text_and_back():
    hashes = np.array([[1, 2**63 + 5], [0, 2**64 - 1]], np.uint64)
    texts = [hash_text(row) for row in hashes]
    assert [len(text) for text in texts] == [32, 32]
    assert np.array_equal(parse_hashes(texts), hashes)


def brute_force(hashes, distance):
    pairs = [
        (i, j)
        for i, j in combinations(range(len(hashes)), 2)
        if (np.bitwise_count(hashes[i] ^ hashes[j]) <= distance).all()
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


@given(st.integers(0, 60), st.integers(1, 3), st.integers(0, 12), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_near_duplicates_connect_what_brute_force_connects(images, channels, distance, seed):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**63, (max(images // 4, 1), channels)).astype(np.uint64)
    hashes = base[rng.integers(0, len(base), images)]
    for _ in range(8):  # a few bits of each hash flip, so that distances lie around the threshold
        flips = np.uint64(1) << rng.integers(0, 64, hashes.shape).astype(np.uint64)
        hashes = np.where(rng.random(hashes.shape) < 0.4, hashes ^ flips, hashes)
    found = near_duplicates(hashes, distance)
    expected = brute_force(hashes, distance)
    assert {tuple(pair) for pair in found.tolist()} <= {tuple(pair) for pair in expected.tolist()}
    assert np.array_equal(connected(images, found), connected(images, expected))


def test_many_equal_hashes_take_little_work():
    pairs = near_duplicates(np.zeros((50_000, 4), np.uint64), 3)
    assert len(pairs) == 49_999
    assert len(np.unique(connected(50_000, pairs))) == 1


def test_every_channel_must_be_near():
    hashes = np.array([[5, 0], [5, 0xFFFF]], np.uint64)
    assert len(near_duplicates(hashes, 3)) == 0
    assert near_duplicates(hashes[:, :1], 3).tolist() == [[0, 1]]


def test_distances_out_of_range():
    for distance in (-1, 32):
        with pytest.raises(ValueError, match="0 to 31"):
            near_duplicates(np.zeros((1, 1), np.uint64), distance)


def test_components_are_numbered_by_their_first_item():
    assert connected(4, np.array([[1, 3]], np.int64)).tolist() == [0, 1, 2, 1]


def test_different_real_images_are_far_apart(sample_data):
    train = sample_data / "hpa2018" / "train"
    names = sorted({path.name.rsplit("_", 1)[0] for path in train.iterdir()})[:20]
    images = [read_image([train / f"{name}_{c}.png" for c in CHANNELS], CHANNELS) for name in names]
    hashes = np.stack([perceptual_hash(image) for image in images])
    assert min(bits(a, b) for a, b in combinations(hashes, 2)) > 20
    smaller = np.stack([perceptual_hash(resize(image, 256, "stretch")) for image in images])
    assert np.bitwise_count(hashes ^ smaller).max() <= 3
