import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpa.classification.selection import CoTeachingConfig, keep_images, keep_labels, label_losses


def test_the_share_that_is_left_out_grows_and_stays():
    config = CoTeachingConfig(forget=0.4, ramp=0.5)
    assert [config.forget_at(progress) for progress in (0.0, 0.25, 0.5, 1.0)] == [0, 0.2, 0.4, 0.4]
    assert CoTeachingConfig(forget=0.4, ramp=0).forget_at(0.0) == 0.4


@pytest.mark.parametrize("multi_label", [False, True])
def test_losses_are_cross_entropies(multi_label):
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = torch.eye(3)[[0, 1, 2, 0, 1, 2]]
    usual = torch.tensor([0.5, 0.3, 0.2])
    plain = label_losses(logits, targets, usual, 0.0, multi_label)
    if multi_label:
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
        torch.testing.assert_close(plain, expected)
    else:
        expected = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
        torch.testing.assert_close(plain.sum(dim=1), expected)


def test_a_constant_predictor_loses_nothing_at_full_allowance():
    usual = torch.tensor([0.5, 0.01])
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    constant = usual.logit().expand(3, 2)
    torch.testing.assert_close(label_losses(constant, targets, usual, 1.0, True), torch.zeros(3, 2), atol=1e-6, rtol=0)
    half = label_losses(constant, targets, usual, 0.5, True)
    assert half[1, 1].item() == pytest.approx(-0.5 * math.log(0.01), rel=1e-5)
    alone = label_losses(usual.log().expand(2, 2), torch.eye(2), usual / usual.sum(), 1.0, False)
    torch.testing.assert_close(alone, torch.zeros(2, 2), atol=1e-6, rtol=0)


def test_an_absent_class_never_seen_has_a_finite_loss():
    assert label_losses(torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([0.0, 1.0]), 1.0, True).isfinite().all()


@given(count=st.integers(1, 20), forget=st.floats(0, 0.99), seed=st.integers(0, 50))
def test_the_images_with_the_greatest_losses_are_left_out(count, forget, seed):
    losses = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    factors = keep_images(losses, forget)
    kept, left = losses.sum(dim=1)[factors > 0], losses.sum(dim=1)[factors == 0]
    assert len(left) == min(count - 1, round(forget * count))
    assert not len(left) or kept.max() <= left.min()
    assert factors.mean().item() == pytest.approx(1, rel=1e-5)


@given(count=st.integers(1, 12), forget=st.floats(0, 0.99), seed=st.integers(0, 50))
def test_of_given_and_absent_labels_as_many_are_left_out(count, forget, seed):
    generator = torch.Generator().manual_seed(seed)
    losses = torch.rand(count, 5, generator=generator)
    targets = (torch.rand(count, 5, generator=generator) < 0.3).float()
    kept = keep_labels(losses, targets, forget)
    given_labels, absent = targets == 1, targets == 0
    wanted = round(forget * int(given_labels.sum()))
    for among in (given_labels, absent):
        left = among & (kept == 0)
        assert int(left.sum()) == min(wanted, int(among.sum()))
        if left.any() and (among & (kept == 1)).any():
            assert losses[left].min() >= losses[among & (kept == 1)].max()


def test_nothing_is_left_out_at_first():
    losses = torch.rand(4, 3)
    assert keep_images(losses, 0.0).tolist() == [1, 1, 1, 1]
    assert keep_labels(losses, torch.ones(4, 3), 0.0).all()


def test_equal_losses_keep_the_first_images():
    assert keep_images(torch.zeros(4, 2), 0.5).tolist() == [2, 2, 0, 0]


def test_the_choice_carries_no_gradient():
    logits = torch.zeros(2, 3, requires_grad=True)
    assert not label_losses(logits, torch.eye(3)[:2], torch.full((3,), 0.3), 0.5, True).requires_grad
