"""Easy, hard and wrongly labelled images told apart by how a training went with them, and labels corrected by it.

In the spirit of Zhu et al., "Hard sample aware noise robust learning for histopathology image classification" (2021):
wrong labels have a great loss, but so have hard images, from which a network learns most; what tells them apart is the
training's history. Here the history is the mean and the spread, over the epochs, of the probability that the network
gave each label (Swayamdipta et al., "Dataset cartography", 2020), and a mixture of normal distributions takes the place
of their learned detector.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
from pydantic import Field
from sklearn.mixture import GaussianMixture

from hpa.arrays import Bool, Float32, Float64, Int64, Targets
from hpa.config import Config

Category: TypeAlias = Literal["easy", "hard", "noisy"]
CATEGORIES: tuple[Category, ...] = ("easy", "hard", "noisy")

LEAST_MEMBERS = 10
"""A class's usual confidence is blended with that of all classes as if these many labels had the latter."""

History: TypeAlias = Float64[np.ndarray, "items classes"]
Values: TypeAlias = Float64[np.ndarray, " items"]


class TwoPhaseConfig(Config):
    """A first training whose history tells easy, hard and noisy images apart, and a second on corrected labels.

    Attributes:
        epochs: of the first training; None takes half of the second's. It should end before wrong labels are learned
            by heart.
        from_epoch: epochs, from 0, before the history begins; less than `epochs`.
        certainty: probability of being noisy from which an image is.
        most: greatest share of any class's images that may be noisy; those doubted least are hard instead.
        correction: share of the network's answer in the labels of a noisy image, times that probability.
        noisy_weight: how much noisy images count in the second training; 0 leaves them out.
        hard_weight: how much hard images count.
    """

    kind: Literal["two_phase"] = "two_phase"
    epochs: Annotated[int, Field(ge=1)] | None = None
    from_epoch: Annotated[int, Field(ge=0)] = 1
    certainty: Annotated[float, Field(gt=0, lt=1)] = 0.5
    most: Annotated[float, Field(ge=0, le=1)] = 0.5
    correction: Annotated[float, Field(ge=0, le=1)] = 1.0
    noisy_weight: Annotated[float, Field(ge=0)] = 1.0
    hard_weight: Annotated[float, Field(gt=0)] = 1.0


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a training's history says of its images.

    Attributes:
        categories: number in CATEGORIES of each image.
        doubt: probability of being noisy, in [0, 1].
        margin: how much more the network held on average with the given classes than with the likeliest other one, in
            [-1, 1].
        spread: standard deviation over the epochs of the given classes' probability.
        targets: corrected labels in [0, 1]; those of images that are not noisy are as given.
        weights: of the images, in the second training.
    """

    categories: Int64[np.ndarray, " items"]
    doubt: Float32[np.ndarray, " items"]
    margin: Float32[np.ndarray, " items"]
    spread: Float32[np.ndarray, " items"]
    targets: Targets
    weights: Float32[np.ndarray, " items"]


def judge_history(
    means: History, squares: History, targets: Targets, multi_label: bool, config: TwoPhaseConfig, seed: int = 0
) -> Judgement:
    """Tell the images of a training apart by its history.

    Where images may have several classes, a probability is divided by the class's usual confidence first, as the
    probabilities of rare classes stay low (Northcutt et al., "Confident learning", 2021).

    Args:
        means: mean probability of each class over the epochs.
        squares: mean squared probability.
        targets: the given labels in [0, 1]; from 0.5 on a class counts as given.
        multi_label: whether an image may have several classes.
        config: what is done with which images.
        seed: of the mixture's first guess.

    Raises:
        ValueError: there are no images.
    """
    if not len(targets):
        raise ValueError("expected the history of at least one image, but got none")
    assert means.shape == squares.shape == targets.shape
    given = targets >= 0.5
    usual = usual_confidence(means, given) if multi_label else np.ones(targets.shape[1])
    answers = np.minimum(means / usual, 1)
    spreads = np.sqrt(np.maximum(squares - means**2, 0)) / usual
    count = np.maximum(given.sum(axis=1), 1)
    spread = np.where(given, spreads, 0).sum(axis=1) / count
    others = np.where(given, 0, answers).max(axis=1)
    margin = np.where(given, answers, 0).sum(axis=1) / count - others
    is_easy, doubt = split_history(margin, spread, seed)
    is_noisy = limit_per_class((doubt >= config.certainty) & (margin < 0), doubt, given, config.most)
    categories = np.where(is_noisy, 2, np.where(is_easy, 0, 1))
    share = np.where(is_noisy, config.correction * doubt, 0)[:, None]
    corrected = (1 - share) * targets + share * answers
    if not multi_label:
        corrected /= np.maximum(corrected.sum(axis=1, keepdims=True), 1e-6)
    weights = np.array([1.0, config.hard_weight, config.noisy_weight])[categories]
    return Judgement(
        categories=categories,
        doubt=doubt.astype(np.float32),
        margin=margin.astype(np.float32),
        spread=spread.astype(np.float32),
        targets=np.where(is_noisy[:, None], corrected, targets).astype(np.float32),
        weights=weights.astype(np.float32),
    )


def usual_confidence(means: History, given: Bool[np.ndarray, "items classes"]) -> Float64[np.ndarray, " classes"]:
    """Mean probability of each class where it is given, in (0, 1]; that of few labels is drawn to all classes'.

    >>> usual_confidence(np.array([[0.8, 0.1]] * 90), np.array([[True, False]] * 90)).round(2).tolist()
    [0.8, 0.8]
    """
    counts = given.sum(axis=0)
    total = (means * given).sum(axis=0)
    overall = total.sum() / max(1, counts.sum())
    return np.asarray(np.maximum((total + LEAST_MEMBERS * overall) / (counts + LEAST_MEMBERS), 1e-6))


def split_history(margin: Values, spread: Values, seed: int) -> tuple[Bool[np.ndarray, " items"], Values]:
    """Which images are easy, and how likely each is noisy.

    A mixture of one to three normal distributions of margin and spread, as many as the Bayesian information criterion
    asks for. Images are noisy in the distribution with the lowest margin, if that is below 0 on average, and in others
    that are nearer to it than to 0; easy are those of the one with the greatest margin, and all where there is but one.
    Images are never noisy where margins do not differ.
    """
    count = len(margin)
    scale = np.array([margin.std(), spread.std()])
    features = (np.stack([margin, spread], axis=1) - [margin.mean(), spread.mean()]) / np.maximum(scale, 1e-9)
    features = features[:, scale > 1e-6]
    everyone = np.ones(count, bool)
    if count < 3 * LEAST_MEMBERS or scale[0] <= 1e-6:
        return everyone, np.zeros(count)
    fits = [GaussianMixture(parts, n_init=3, reg_covar=1e-3, random_state=seed).fit(features) for parts in (1, 2, 3)]
    best = min(fits, key=lambda fit: float(fit.bic(features)))
    if best.n_components == 1:
        return everyone, np.zeros(count)
    centres = best.means_[:, 0] * scale[0] + margin.mean()
    belongs = best.predict_proba(features)
    lowest = float(centres.min())
    # Nearer to the lowest distribution than to 0, where the network stands between two answers.
    doubt = belongs[:, centres <= lowest / 2].sum(axis=1) if lowest < 0 else np.zeros(count)
    # The tail of a wide distribution reaches beyond its neighbours: nobody is easier than the easiest one's middle.
    is_easy = (belongs.argmax(axis=1) == centres.argmax()) | (margin >= centres.max())
    return is_easy, np.where(margin >= centres.max(), 0, doubt)


def limit_per_class(
    chosen: Bool[np.ndarray, " items"], doubt: Values, given: Bool[np.ndarray, "items classes"], most: float
) -> Bool[np.ndarray, " items"]:
    """The chosen images without those that would take more than a share of a class's images; the surest stay.

    >>> given = np.array([[True], [True], [True]])
    >>> limit_per_class(np.array([True, True, True]), np.array([0.7, 0.9, 0.8]), given, 0.7).tolist()
    [False, True, True]
    """
    kept = chosen.copy()
    for members in given.T:
        taken = np.flatnonzero(members & chosen)
        allowed = int(most * members.sum())
        kept[taken[np.argsort(-doubt[taken], kind="stable")][allowed:]] = False
    return kept
