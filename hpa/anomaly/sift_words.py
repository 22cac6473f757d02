"""Bags of visual words: SIFT key points of an image, counted by the word that each looks like.

Lowe 2004 for SIFT; Sivic and Zisserman 2003 for words and their weights; Arandjelović and Zisserman 2012 for RootSIFT.
"""

import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import cv2
import numpy as np
import pydantic
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import pairwise_distances_argmin

from hpa.arrays import EmbeddingArray, Float32, Float64, Pixels, UInt8
from hpa.artifacts import atomic_write
from hpa.config import Config

Positive = Annotated[int, pydantic.Field(ge=1)]
Descriptors: TypeAlias = UInt8[np.ndarray, "_ 128"]
"""Of the key points of one channel; images and channels have different numbers of them."""

MOST_DESCRIPTORS = 200_000
"""Key points that the words of a channel are learned from, at most."""


class SiftWordsConfig(Config):
    """How words are learned and counted.

    Attributes:
        words: of each channel.
        key_points: the strongest of an image's channel that count.
        contrast: OpenCV's threshold of contrast; a lower one finds key points in dim images, and in noise.
        root: compare square roots of the descriptors' parts (RootSIFT) instead of the descriptors.
        tf_idf: weigh words by how few images of the sample have them.
        unit_length: bring every channel of an image to length 1, else the counts are parts of 1.
        seed: of the samples and of k-means.
    """

    words: Positive = 256
    key_points: Positive = 500
    contrast: Annotated[float, pydantic.Field(gt=0, lt=1)] = 0.04
    root: bool = True
    tf_idf: bool = True
    unit_length: bool = True
    seed: int = 0


def describe_key_points(pixels: Pixels, config: SiftWordsConfig) -> list[Descriptors]:
    """SIFT descriptors of the key points of each channel, (points, 128); none where a channel shows nothing."""
    detector = cv2.SIFT_create(nfeatures=config.key_points, contrastThreshold=config.contrast)  # type: ignore[attr-defined]
    found = []
    for plane in pixels:
        _, descriptors = detector.detectAndCompute(np.ascontiguousarray(plane), None)
        none = descriptors is None
        found.append(np.zeros((0, 128), np.uint8) if none else np.rint(descriptors).astype(np.uint8))
    return found


class SiftWords:
    """Words of visual appearance, learned from some images; in scikit-learn's form.

    Attributes:
        config: how.
        words_: per channel (words, 128); fewer than wanted where the channel has fewer key points, down to none.
        weights_: (channels, words), what a count is multiplied by.
    """

    def __init__(self, config: SiftWordsConfig) -> None:
        self.config = config

    def fit(self, images: Sequence[Sequence[Descriptors]]) -> "SiftWords":
        """Learn words from images; the same ones with the same seed.

        Args:
            images: for each image what `describe_key_points` gives.

        Raises:
            ValueError: no image has a key point.
        """
        channels = len(images[0]) if images else 0
        if not any(len(found) for image in images for found in image):
            raise ValueError(
                f"expected key points to learn words from, but {len(images)} images have none; lower `contrast`, or "
                "look at the images"
            )
        self.words_: list[np.ndarray] = [
            self._learn(np.concatenate([image[channel] for image in images])) for channel in range(channels)
        ]
        self.weights_: Float64[np.ndarray, "channels words"] = np.ones((channels, self.config.words))
        if self.config.tf_idf:
            present = sum((self._counts(image) > 0).astype(np.float64) for image in images)
            # As scikit-learn smooths it: a word that every image has keeps the weight 1.
            self.weights_ = np.log((1 + len(images)) / (1 + present)) + 1
        return self

    def transform(self, images: Sequence[Sequence[Descriptors]]) -> EmbeddingArray:
        """(images, channels × words), float32; zeros for a channel without key points."""
        return np.stack([self._histogram(image) for image in images])

    def save(self, path: Path) -> None:
        """Write what was learned as npz."""
        arrays: dict[str, Any] = {f"words_{channel}": words for channel, words in enumerate(self.words_)}
        with atomic_write(path, "wb") as stream:
            np.savez(stream, weights=self.weights_, **arrays)

    @classmethod
    def load(cls, path: Path, config: SiftWordsConfig) -> "SiftWords":
        """Read what `save` wrote with the same configuration.

        Raises:
            ValueError: the file cannot be read, or was written with another number of words.
        """
        words = cls(config)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                words.weights_ = arrays["weights"]
                words.words_ = [arrays[f"words_{channel}"] for channel in range(len(words.weights_))]
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: holds no words ({error}); remove it and learn them again") from None
        if words.weights_.shape[1] != config.words:
            raise ValueError(f"{path}: expected {config.words} words, but it has {words.weights_.shape[1]}")
        return words

    def _learn(self, descriptors: Descriptors) -> EmbeddingArray:
        if len(descriptors) > MOST_DESCRIPTORS:
            draws = np.random.default_rng(self.config.seed)
            descriptors = descriptors[np.sort(draws.choice(len(descriptors), MOST_DESCRIPTORS, replace=False))]
        points = self._comparable(descriptors)
        count = min(self.config.words, len(points))
        if not count:
            return np.zeros((0, 128), np.float32)
        means = MiniBatchKMeans(count, random_state=self.config.seed, batch_size=4096, n_init=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fewer different descriptors than words: some words are never met
            means.fit(points)
        return np.asarray(means.cluster_centers_, np.float32)

    def _comparable(self, descriptors: Descriptors) -> Float32[np.ndarray, "points 128"]:
        values = descriptors.astype(np.float32)
        if self.config.root:
            values = np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1))
        return values

    def _counts(self, image: Sequence[Descriptors]) -> Float64[np.ndarray, "channels words"]:
        """How many key points of each channel look like each word."""
        counts = np.zeros((len(self.words_), self.config.words))
        for channel, (found, words) in enumerate(zip(image, self.words_, strict=True)):
            if len(found) and len(words):
                nearest = pairwise_distances_argmin(self._comparable(found), words)
                counts[channel] = np.bincount(nearest, minlength=self.config.words)
        return counts

    def _histogram(self, image: Sequence[Descriptors]) -> Float32[np.ndarray, " features"]:
        counts = self._counts(image) * self.weights_
        totals = np.linalg.norm(counts, axis=1) if self.config.unit_length else counts.sum(axis=1)
        return np.ravel(counts / np.where(totals > 0, totals, 1)[:, None]).astype(np.float32)
