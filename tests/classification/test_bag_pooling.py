import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from hpa.classification import bag_pooling
from hpa.classification.bag_pooling import (
    AttentionPooling,
    GatedAttention,
    LogSumExpPooling,
    MeanPooling,
    Pooling,
    pool,
    pool_images,
    spread,
)

POOLINGS = [MeanPooling(), LogSumExpPooling(sharpness=3), AttentionPooling(), AttentionPooling(per_class=False)]
COUNTS = (1, 4, 2)


def bags(counts=COUNTS, classes=3, seed=0, columns=None):
    """Logits, evidence and places of some bags, with nonsense where there is no cell."""
    draws = np.random.default_rng(seed)
    shape = (len(counts), max(counts))
    present = torch.tensor(np.arange(shape[1]) < np.array(counts)[:, None])
    logits = torch.tensor(draws.normal(0, 4, (*shape, classes)), dtype=torch.float32)
    evidence = torch.tensor(draws.normal(0, 2, (*shape, columns or classes)), dtype=torch.float32)
    logits[~present], evidence[~present] = torch.nan, torch.inf
    return logits, evidence, present


def reference(logits, evidence, pooling):
    """The pooling of one bag without padding, in numpy."""
    logits, evidence = logits.double().numpy(), evidence.double().numpy()
    match pooling:
        case MeanPooling():
            return logits.mean(axis=0)
        case LogSumExpPooling(sharpness=sharpness):
            return np.log(np.exp(sharpness * logits).mean(axis=0)) / sharpness
        case AttentionPooling():
            weights = np.exp(evidence) / np.exp(evidence).sum(axis=0)
            return (weights * logits).sum(axis=0)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_bags_are_pooled_by_the_formulas_whatever_the_padding(pooling):
    columns = 1 if isinstance(pooling, AttentionPooling) and not pooling.per_class else None
    logits, evidence, present = bags(columns=columns)
    found = pool(logits, evidence, present, pooling)
    for bag, count in enumerate(COUNTS):
        expected = reference(logits[bag, :count], evidence[bag, :count], pooling)
        np.testing.assert_allclose(found[bag].numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_bag_of_one_cell_has_that_cells_logits(pooling):
    logits, evidence, present = bags((1, 1))
    torch.testing.assert_close(pool(logits, evidence, present, pooling), logits[:, 0])


@pytest.mark.parametrize("pooling", POOLINGS)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_the_order_of_cells_does_not_matter_and_the_result_lies_among_them(pooling, data):
    count = data.draw(st.integers(1, 6))
    logits, evidence, present = bags((count,), seed=data.draw(st.integers(0, 99)))
    shuffled = data.draw(st.permutations(range(count)))
    ours = pool(logits, evidence, present, pooling)
    torch.testing.assert_close(pool(logits[:, shuffled], evidence[:, shuffled], present, pooling), ours)
    assert (ours >= logits[0].amin(dim=0) - 1e-4).all()
    assert (ours <= logits[0].amax(dim=0) + 1e-4).all()


def test_sharpness_leads_from_the_mean_to_the_maximum():
    logits, evidence, present = bags((5,))
    flat, sharp = (pool(logits, evidence, present, LogSumExpPooling(sharpness=r)) for r in (1e-3, 100))
    torch.testing.assert_close(flat, logits.mean(dim=1), atol=2e-2, rtol=0)
    torch.testing.assert_close(sharp, logits.amax(dim=1), atol=2e-2, rtol=0)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_are_finite_and_stay_with_the_cells_that_are_there(pooling):
    logits, evidence, present = bags()
    logits, evidence = (values.nan_to_num(0, 0, 0).requires_grad_() for values in (logits, evidence))
    pool(logits * 50, evidence, present, pooling).sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[~present] == 0).all()
    assert (logits.grad[present] != 0).any()
    if isinstance(pooling, AttentionPooling):
        assert (evidence.grad[~present] == 0).all()
        assert (evidence.grad[present] != 0).any()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("at_once", [1, 2, 256])
def test_images_of_any_number_of_cells_are_pooled_as_one_by_one(pooling, at_once, monkeypatch):
    monkeypatch.setattr(bag_pooling, "IMAGES_AT_ONCE", at_once)
    counts = (3, 1, 7, 2, 2)
    logits, evidence, present = bags(counts)
    found = pool_images(logits[present], evidence[present], counts, pooling)
    torch.testing.assert_close(found, pool(logits, evidence, present, pooling))


def test_spread_puts_rows_in_their_places():
    present = torch.tensor([[True, False], [True, True]])
    values = torch.tensor([[1.0], [2.0], [3.0]])
    assert spread(values, present).squeeze(2).tolist() == [[1, 0], [2, 3]]


def test_gated_attention_is_that_of_ilse_and_others():
    torch.manual_seed(0)
    attention = GatedAttention(features=5, hidden=4, outputs=2)
    cells = torch.randn(3, 5)
    v, u, w = attention.value, attention.gate, attention.score
    for row, h in enumerate(cells.detach().double().numpy()):
        tanh = np.tanh(v.weight.detach().numpy() @ h + v.bias.detach().numpy())
        gate = 1 / (1 + np.exp(-(u.weight.detach().numpy() @ h + u.bias.detach().numpy())))
        np.testing.assert_allclose(
            attention(cells)[row].detach().numpy(), w.weight.detach().numpy() @ (tanh * gate), atol=1e-6
        )


def test_poolings_are_chosen_by_kind():
    read = TypeAdapter(Pooling).validate_python
    assert read({"kind": "lse", "sharpness": 5}) == LogSumExpPooling(sharpness=5)
    assert isinstance(read({"kind": "mean"}), MeanPooling)
    for wrong in ({"kind": "max"}, {"kind": "lse", "sharpness": 0}, {"kind": "attention", "hidden": 0}):
        with pytest.raises(ValueError, match=r"kind|greater than"):
            read(wrong)
