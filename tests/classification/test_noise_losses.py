import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.classification.class_weights import InverseFrequency
from hpa.classification.losses import BinaryLoss, CrossEntropyLoss, LossConfig, build_loss
from hpa.classification.noise_losses import (
    BootstrappingLoss,
    GeneralizedCrossEntropyLoss,
    SymmetricCrossEntropyLoss,
)
from hpa.config import Config, load_config
from hpa.labels import ClassList

MULTI = ClassList(names=("a", "b", "c", "d"))
SINGLE = ClassList(names=("a", "b", "c", "d"), multi_label=False)
TRAINING = np.array([[1, 0, 0, 0]] * 6 + [[0, 1, 0, 0]] * 3 + [[0, 0, 1, 0], [0, 0, 0, 1]], np.float32)
ALL = [
    GeneralizedCrossEntropyLoss(),
    GeneralizedCrossEntropyLoss(q=0.2),
    SymmetricCrossEntropyLoss(),
    SymmetricCrossEntropyLoss(alpha=1.0, beta=0.5, log_zero=-6.0),
    BootstrappingLoss(),
    BootstrappingLoss(answer="hard"),
]


def logits_of(seed=0, count=7, dtype=torch.float64):
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 3


def hard(seed=0, count=7):
    return (torch.rand(count, 4, generator=torch.Generator().manual_seed(seed + 50)) < 0.4).double()


def one_class(seed=0, count=7):
    return torch.eye(4).double()[torch.randint(4, (count,), generator=torch.Generator().manual_seed(seed + 7))]


def generalized_of_the_paper(p, q):
    """Equation 6 of Zhang and Sabuncu: p is the probability of the given label."""
    return (1 - p**q) / q


def symmetric_of_the_paper(p, alpha, beta, log_zero):
    """Equations 5 to 7 of Wang et al.: -alpha log p - beta Σ p_k log q_k, and log q_k is 0 for the label itself."""
    return -alpha * math.log(p) - beta * (1 - p) * log_zero


def of_given_labels(config, p, single):
    match config:
        case GeneralizedCrossEntropyLoss(q=q):
            return generalized_of_the_paper(p, q or (0.7 if single else 0.3))
        case SymmetricCrossEntropyLoss(alpha=alpha, beta=beta, log_zero=log_zero):
            return symmetric_of_the_paper(p, alpha or (0.1 if single else 1.0), beta, log_zero)


@pytest.mark.parametrize("config", ALL[:4])
def test_the_papers_formulas_where_an_image_has_one_class(config):
    probabilities = logits_of().softmax(dim=1)
    expected = [
        of_given_labels(config, float(row[label]), True)
        for row, label in zip(probabilities, one_class().argmax(dim=1), strict=True)
    ]
    found = build_loss(config, TRAINING, SINGLE)(logits_of(), one_class(), reduction="none")
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("config", ALL[:4])
def test_with_several_classes_each_is_a_question_of_two_answers(config):
    expected = []
    for row, labels in zip(logits_of().sigmoid().tolist(), hard().tolist(), strict=True):
        costs = [of_given_labels(config, p if label else 1 - p, False) for p, label in zip(row, labels, strict=True)]
        expected.append(sum(costs) / 4)
    found = build_loss(config, TRAINING, MULTI)(logits_of(), hard(), reduction="none")
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_generalized_cross_entropy_ends_in_cross_entropy_and_absolute_error():
    for classes, plain, labels in ((SINGLE, CrossEntropyLoss(), one_class()), (MULTI, BinaryLoss(), hard())):
        near = build_loss(GeneralizedCrossEntropyLoss(q=1e-6), TRAINING, classes)(logits_of(), labels)
        torch.testing.assert_close(near, build_loss(plain, TRAINING, classes)(logits_of(), labels), rtol=1e-4, atol=0)
    absolute = (logits_of().softmax(dim=1) - one_class()).abs().sum(dim=1).mean() / 2
    torch.testing.assert_close(
        build_loss(GeneralizedCrossEntropyLoss(q=1.0), TRAINING, SINGLE)(logits_of(), one_class()), absolute
    )


@pytest.mark.parametrize("given_share", [None, 0.6])
@pytest.mark.parametrize("answer", ["soft", "hard"])
def test_bootstrapping_is_the_papers(answer, given_share):
    """Equations 6 and 7 of Reed et al., number by number."""
    config = BootstrappingLoss(answer=answer, given=given_share)
    beta = given_share or {"soft": 0.95, "hard": 0.8}[answer]
    expected = []
    for logits, label in zip(logits_of(), one_class(), strict=True):
        q = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum()
        own = q if answer == "soft" else np.eye(4)[q.argmax()]
        expected.append(-sum((beta * t + (1 - beta) * z) * math.log(p) for t, z, p in zip(label, own, q, strict=True)))
    found = build_loss(config, TRAINING, SINGLE)(logits_of(), one_class(), reduction="none")
    assert found.tolist() == pytest.approx([float(value) for value in expected], rel=1e-9)
    expected = []
    for row, labels in zip(logits_of().sigmoid().tolist(), hard().tolist(), strict=True):
        for p, label in zip(row, labels, strict=True):
            blend = beta * label + (1 - beta) * (p if answer == "soft" else float(p > 0.5))
            expected.append(-blend * math.log(p) - (1 - blend) * math.log(1 - p))
    found = build_loss(config, TRAINING, MULTI)(logits_of(), hard())
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-9)


def test_a_wrong_label_pulls_less_than_at_cross_entropy():
    """The gradient at an image whose label the network is sure to be wrong."""
    pulls = {}
    for config in (CrossEntropyLoss(), *ALL[:4]):
        logits = torch.tensor([[8.0, 0.0, 0.0, 0.0]], requires_grad=True)
        build_loss(config, TRAINING, SINGLE)(logits, torch.tensor([[0.0, 1.0, 0.0, 0.0]])).backward()
        pulls[config] = logits.grad[0, 1].abs().item()
    plain = pulls.pop(CrossEntropyLoss())
    assert plain > 0.99
    assert pulls[GeneralizedCrossEntropyLoss()] < 0.01
    assert pulls[SymmetricCrossEntropyLoss()] == pytest.approx(0.1, abs=0.01)


@settings(max_examples=20)
@given(share=st.floats(0, 1), seed=st.integers(0, 20))
@pytest.mark.parametrize("classes", [MULTI, SINGLE])
@pytest.mark.parametrize("config", ALL)
def test_the_loss_of_a_blend_is_the_blend_of_losses(config, classes, share, seed):
    labels = one_class if classes is SINGLE else hard
    loss = build_loss(config, TRAINING, classes)
    logits, first, second = logits_of(seed), labels(seed), labels(seed + 1)
    together = loss(logits, share * first + (1 - share) * second)
    torch.testing.assert_close(together, share * loss(logits, first) + (1 - share) * loss(logits, second))


@pytest.mark.parametrize("classes", [MULTI, SINGLE])
@pytest.mark.parametrize("config", ALL)
def test_gradients_are_finite_and_those_of_finite_differences(config, classes):
    loss = build_loss(config, TRAINING, classes)
    logits = logits_of(count=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: loss(values, one_class(count=3)), (logits,))
    for dtype in (torch.float32, torch.float16):
        far = torch.tensor([[-300.0, 300.0, 0.0, -90.0]], dtype=dtype, requires_grad=True)
        for row in range(4):
            value = loss(far, torch.eye(4)[row : row + 1])
            value.backward()
            assert value.isfinite()
            assert far.grad.isfinite().all()


@pytest.mark.parametrize("classes", [MULTI, SINGLE])
@pytest.mark.parametrize("config", ALL)
def test_weights_smoothing_and_workers(config, classes):
    config = config.model_copy(update={"class_weights": InverseFrequency(), "smoothing": 0.2})
    loss = build_loss(config, TRAINING, classes)
    each = loss(logits_of(), one_class(), reduction="none")
    weights = torch.tensor([0, 1, 0.5, 2, 0, 0, 1])
    torch.testing.assert_close(loss(logits_of(), one_class(), weights), (each * weights).sum() / 7)
    assert pickle.loads(pickle.dumps(loss))(logits_of(), one_class()) == each.mean()
    centre = 0.5 if classes is MULTI else 0.25
    plain = build_loss(config.model_copy(update={"smoothing": 0.0}), TRAINING, classes)
    torch.testing.assert_close(each.mean(), plain(logits_of(), one_class() * 0.8 + 0.2 * centre))


def test_labels_that_are_not_kept_cost_nothing():
    loss = build_loss(BinaryLoss(), TRAINING, MULTI)
    kept = hard(3)
    logits = logits_of().requires_grad_()
    loss(logits, hard(), kept=kept).backward()
    assert ((logits.grad != 0) == (kept != 0)).all()
    torch.testing.assert_close(loss(logits, hard(), kept=torch.ones_like(kept)), loss(logits, hard()))


def test_the_configuration_chooses_by_kind():
    class Run(Config):
        loss: LossConfig = BinaryLoss()

    chosen = load_config(Run, overrides=["loss.kind=generalized_cross_entropy", "loss.q=0.5"])
    assert chosen.loss == GeneralizedCrossEntropyLoss(q=0.5)
    assert load_config(Run, overrides=["loss.kind=bootstrapping"]).loss == BootstrappingLoss()
    assert load_config(Run, overrides=["loss.kind=symmetric_cross_entropy"]).loss == SymmetricCrossEntropyLoss()
