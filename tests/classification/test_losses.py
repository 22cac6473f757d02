import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import sigmoid_focal_loss

from hpa.classification.class_weights import InverseFrequency
from hpa.classification.losses import (
    AsymmetricLoss,
    AutomaticLoss,
    BinaryLoss,
    CrossEntropyLoss,
    FocalLoss,
    LossConfig,
    build_loss,
)
from hpa.config import Config, load_config
from hpa.labels import ClassList

MULTI = ClassList(names=("a", "b", "c", "d"))
SINGLE = ClassList(names=("a", "b", "c", "d"), multi_label=False)
TRAINING = np.array([[1, 0, 0, 0]] * 6 + [[0, 1, 0, 0]] * 3 + [[0, 0, 1, 0], [0, 0, 0, 1]], np.float32)
BINARY = [BinaryLoss(), FocalLoss(), FocalLoss(gamma=0.5, alpha=0.25), AsymmetricLoss(), AsymmetricLoss(margin=0.0)]


def logits_of(seed=0, count=7, dtype=torch.float64):
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 3


def hard(seed=0, count=7):
    return (torch.rand(count, 4, generator=torch.Generator().manual_seed(seed + 50)) < 0.4).double()


def soft(seed=0, count=7):
    return torch.rand(count, 4, generator=torch.Generator().manual_seed(seed + 99), dtype=torch.float64)


def one_class(seed=0, count=7):
    return torch.eye(4).double()[torch.randint(4, (count,), generator=torch.Generator().manual_seed(seed + 7))]


@pytest.mark.parametrize("targets", [hard(), soft()])
def test_bce_is_torchs(targets):
    ours = build_loss(BinaryLoss(), TRAINING, MULTI)(logits_of(), targets)
    torch.testing.assert_close(ours, F.binary_cross_entropy_with_logits(logits_of(), targets))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_is_torchvisions_on_hard_labels(gamma, alpha):
    ours = build_loss(FocalLoss(gamma=gamma, alpha=alpha), TRAINING, MULTI)(logits_of(), hard())
    theirs = sigmoid_focal_loss(
        logits_of(), hard(), alpha=-1 if alpha is None else alpha, gamma=gamma, reduction="mean"
    )
    torch.testing.assert_close(ours, theirs)


def asymmetric_of_the_paper(logits, targets, gamma_positive, gamma_negative, margin):
    """Equations 4, 5 and 7 of Ridnik et al., number by number."""
    total = 0.0
    for logit, target in zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True):
        p = 1 / (1 + np.exp(-logit))
        shifted = max(p - margin, 0)
        positive = (1 - p) ** gamma_positive * np.log(p)
        negative = shifted**gamma_negative * np.log(1 - shifted)
        total -= target * positive + (1 - target) * negative
    return total / logits.numel()


@pytest.mark.parametrize("targets", [hard(), soft()])
@pytest.mark.parametrize(("positive", "negative", "margin"), [(1.0, 4.0, 0.05), (0.0, 2.0, 0.2), (0.5, 0.5, 0.0)])
def test_asymmetric_is_the_papers(targets, positive, negative, margin):
    config = AsymmetricLoss(gamma_positive=positive, gamma_negative=negative, margin=margin)
    ours = build_loss(config, TRAINING, MULTI)(logits_of(), targets).item()
    assert ours == pytest.approx(asymmetric_of_the_paper(logits_of(), targets, positive, negative, margin), rel=1e-6)


def test_asymmetric_without_asymmetry_is_the_focal_loss():
    asymmetric = AsymmetricLoss(gamma_positive=2.0, gamma_negative=2.0, margin=0.0)
    torch.testing.assert_close(
        build_loss(asymmetric, TRAINING, MULTI)(logits_of(), soft()),
        build_loss(FocalLoss(gamma=2.0), TRAINING, MULTI)(logits_of(), soft()),
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs(smoothing):
    loss = build_loss(CrossEntropyLoss(smoothing=smoothing), TRAINING, SINGLE)
    blend = 0.3 * one_class(1) + 0.7 * one_class(2)
    for targets in (one_class(), blend):
        theirs = F.cross_entropy(logits_of(), targets, label_smoothing=smoothing)
        torch.testing.assert_close(loss(logits_of(), targets), theirs)


def test_class_weights_are_those_of_torch():
    config = CrossEntropyLoss(class_weights=InverseFrequency(), smoothing=0.1)
    loss = build_loss(config, TRAINING, SINGLE)
    weight = loss.class_weights.double()
    assert weight.tolist() == pytest.approx(np.array([1 / 6, 1 / 3, 1, 1]) / 0.625, rel=1e-6)
    theirs = F.cross_entropy(logits_of(), one_class(), weight=weight, label_smoothing=0.1, reduction="none")
    torch.testing.assert_close(loss(logits_of(), one_class(), reduction="none"), theirs)

    loss = build_loss(BinaryLoss(class_weights=InverseFrequency()), TRAINING, MULTI)
    theirs = F.binary_cross_entropy_with_logits(logits_of(), hard(), weight=weight)
    torch.testing.assert_close(loss(logits_of(), hard()), theirs)


@pytest.mark.parametrize("config", BINARY)
def test_smoothing_moves_labels_towards_one_half(config):
    smooth = build_loss(config.model_copy(update={"smoothing": 0.2}), TRAINING, MULTI)
    plain = build_loss(config, TRAINING, MULTI)
    torch.testing.assert_close(smooth(logits_of(), hard()), plain(logits_of(), hard() * 0.8 + 0.1))


@given(share=st.floats(0, 1), seed=st.integers(0, 20))
@pytest.mark.parametrize("config", [*BINARY, CrossEntropyLoss()])
def test_the_loss_of_a_blend_is_the_blend_of_losses(config, share, seed):
    """What mixup relies on."""
    classes = SINGLE if isinstance(config, CrossEntropyLoss) else MULTI
    labels = one_class if classes is SINGLE else hard
    loss = build_loss(config, TRAINING, classes)
    logits, first, second = logits_of(seed), labels(seed), labels(seed + 1)
    together = loss(logits, share * first + (1 - share) * second)
    torch.testing.assert_close(together, share * loss(logits, first) + (1 - share) * loss(logits, second))


@pytest.mark.parametrize("config", [*BINARY, CrossEntropyLoss()])
def test_one_value_per_image_and_weights_that_scale_it(config):
    classes = SINGLE if isinstance(config, CrossEntropyLoss) else MULTI
    targets = one_class() if classes is SINGLE else hard()
    loss = build_loss(config, TRAINING, classes)
    each = loss(logits_of(), targets, reduction="none")
    assert each.shape == (7,)
    for row in range(7):
        torch.testing.assert_close(each[row], loss(logits_of()[row : row + 1], targets[row : row + 1]))
    weights = torch.tensor([0, 1, 0.5, 2, 0, 0, 1])
    torch.testing.assert_close(loss(logits_of(), targets, weights), (each * weights).sum() / 7)
    # A batch that two processes share has the same loss.
    halves = [loss(logits_of()[part], targets[part], weights[part]) for part in (slice(0, 3), slice(3, 7))]
    torch.testing.assert_close(loss(logits_of(), targets, weights), halves[0] * 3 / 7 + halves[1] * 4 / 7)


@pytest.mark.parametrize(
    "config", [*BINARY, FocalLoss(gamma=0.3), AsymmetricLoss(gamma_negative=0.5), CrossEntropyLoss()]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_extreme_logits_have_finite_losses_and_gradients(config, dtype):
    classes = SINGLE if isinstance(config, CrossEntropyLoss) else MULTI
    loss = build_loss(config, TRAINING, classes)
    logits = torch.tensor([[-300.0, 300.0, 0.0, -90.0]], dtype=dtype, requires_grad=True)
    for row in range(4):
        value = loss(logits, torch.eye(4)[row : row + 1])
        value.backward()
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize("config", [*BINARY, CrossEntropyLoss()])
def test_gradients_are_those_of_finite_differences(config):
    classes = SINGLE if isinstance(config, CrossEntropyLoss) else MULTI
    loss = build_loss(config, TRAINING, classes)
    logits = logits_of(count=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: loss(values, soft(count=3)), (logits,))


def test_the_automatic_loss_follows_the_class_list():
    for classes, config in ((MULTI, BinaryLoss(smoothing=0.1)), (SINGLE, CrossEntropyLoss(smoothing=0.1))):
        automatic = build_loss(AutomaticLoss(smoothing=0.1), TRAINING, classes)
        torch.testing.assert_close(
            automatic(logits_of(), one_class()), build_loss(config, TRAINING, classes)(logits_of(), one_class())
        )


def test_a_loss_can_be_sent_to_a_worker():
    for config in BINARY:
        loss = build_loss(config, TRAINING, MULTI)
        assert pickle.loads(pickle.dumps(loss))(logits_of(), hard()) == loss(logits_of(), hard())


def test_cross_entropy_on_several_labels_and_another_class_list_are_errors():
    with pytest.raises(ValueError, match="use bce"):
        build_loss(CrossEntropyLoss(), TRAINING, MULTI)
    with pytest.raises(ValueError, match="4 columns, but got 2"):
        build_loss(BinaryLoss(), TRAINING[:, :2], MULTI)


def test_the_configuration_chooses_by_kind():
    class Run(Config):
        loss: LossConfig = AutomaticLoss()

    chosen = load_config(
        Run, overrides=["loss.kind=focal", "loss.gamma=1.5", "loss.class_weights.kind=inverse_frequency"]
    )
    assert chosen.loss == FocalLoss(gamma=1.5, class_weights=InverseFrequency())
