import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpa.classification.mixing import MixingConfig, mix


def batch(dtype=torch.uint8, count=6):
    """Image i is i * 40 everywhere and has class i."""
    images = (torch.arange(count) * 40).to(dtype)[:, None, None, None].expand(-1, 3, 20, 30).contiguous()
    return images, torch.eye(count), torch.arange(count).float()


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
@given(seed=st.integers(0, 200))
def test_mixup_blends_pixels_labels_and_weights_alike(dtype, seed):
    images, targets, weights = batch(dtype)
    mixed, soft, mixed_weights = mix(MixingConfig(mixup=0.4), images, targets, weights, seeded(seed))
    assert mixed.dtype == dtype
    values = torch.arange(6.0) * 40
    torch.testing.assert_close(mixed[:, 0, 0, 0].float(), soft @ values, atol=0.51, rtol=1 / 128)
    torch.testing.assert_close(mixed_weights, soft @ weights)
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(6))
    assert (mixed == mixed[:, :1, :1, :1]).all()


@given(seed=st.integers(0, 200))
def test_cutmix_labels_are_the_parts_of_the_area(seed):
    images, targets, weights = batch()
    mixed, soft, _ = mix(MixingConfig(cutmix=1.0), images, targets, weights, seeded(seed))
    parts = torch.stack([(mixed == 40 * number).float().mean(dim=(1, 2, 3)) for number in range(6)], dim=1)
    torch.testing.assert_close(soft, parts)


def test_the_generators_state_decides():
    config = MixingConfig(mixup=0.4, cutmix=1.0)
    first = mix(config, *batch(), seeded(3))
    torch.rand(4)
    again = mix(config, *batch(), seeded(3))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, again, strict=True))
    assert not torch.equal(first[0], mix(config, *batch(), seeded(4))[0])


def test_inputs_are_not_changed():
    images, targets, weights = batch()
    for seed in range(6):
        mix(MixingConfig(mixup=1.0, cutmix=1.0), images, targets, weights, seeded(seed))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip((images, targets, weights), batch(), strict=True))


def test_off_and_probability():
    images, targets, weights = batch()
    assert mix(MixingConfig(), images, targets, weights, seeded(0))[0] is images
    often = sum(
        mix(MixingConfig(mixup=1.0, probability=0.25), images, targets, None, seeded(seed))[0] is not images
        for seed in range(400)
    )
    assert 60 < often < 140
    assert mix(MixingConfig(mixup=1.0), images, targets, None, seeded(0))[2] is None


def test_both_kinds_are_used():
    images, targets, weights = batch()
    kinds = set()
    for seed in range(30):
        mixed = mix(MixingConfig(mixup=1.0, cutmix=1.0), images, targets, weights, seeded(seed))[0]
        kinds.add(bool((mixed.int() % 40 == 0).all()))
    assert kinds == {True, False}
