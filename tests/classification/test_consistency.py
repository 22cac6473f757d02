import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpa.classification.consistency import (
    ConsistencyConfig,
    cell_codes,
    consistency_loss,
    draw_groups,
    merge_maps,
    take_parts,
)
from hpa.classification.losses import BinaryLoss, build_loss
from hpa.config import ConfigError, validate
from hpa.labels import ClassList

CLASSES = ClassList(names=("a", "b", "c"))
LOSS = build_loss(BinaryLoss(), np.eye(3, dtype=np.float32), CLASSES)


def config(**settings):
    return validate(ConsistencyConfig, {"cells": "cells", **settings})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def code_maps(images=3, size=12, cells=7, seed=0):
    return torch.randint(0, cells + 1, (images, size, size), generator=generator(seed), dtype=torch.uint8)


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=600, unique=True))
def test_codes_count_the_cells_in_rising_order(numbers):
    codes = cell_codes(np.array([numbers], np.uint16))[0]
    cells = sorted(set(numbers) - {0})
    expected = {cell: rank % 255 + 1 for rank, cell in enumerate(cells)} | {0: 0}
    assert codes.tolist() == [expected[number] for number in numbers]
    assert codes.dtype == np.uint8


@pytest.mark.parametrize("groups", [2, 3, 8])
def test_cells_are_dealt_evenly_and_what_is_absent_is_in_no_group(groups):
    codes = code_maps(images=4, cells=9)
    codes[1] = 0  # no cell
    codes[2] = codes[2].clamp(max=1)  # one cell
    assignment = draw_groups(codes, groups, generator())
    for image, row in zip(codes, assignment, strict=True):
        present = sorted(set(image.flatten().tolist()) - {0})
        assert (torch.flatten((row >= 0).nonzero()).tolist()) == present
        sizes = [int((row == group).sum()) for group in range(groups)]
        assert sum(sizes) == len(present)
        assert max(sizes) - min(sizes) <= 1


def test_groups_are_drawn_by_the_generator_alone_and_newly_each_time():
    codes = code_maps(images=8)
    draws = generator(1)
    first, second = draw_groups(codes, 2, draws), draw_groups(codes, 2, draws)
    assert torch.equal(first, draw_groups(codes, 2, generator(1)))
    assert not torch.equal(first, second)
    # Each cell is in each group about equally often, the single cell of an image too.
    alone = torch.ones(1, 2, 2, dtype=torch.uint8).repeat(400, 1, 1)
    assert 140 < int((draw_groups(alone, 2, draws)[:, 1] == 0).sum()) < 260


@pytest.mark.parametrize("groups", [2, 3])
def test_parts_show_each_cell_once_and_no_background(groups):
    images = torch.randint(1, 256, (3, 4, 12, 12), dtype=torch.uint8, generator=generator())
    codes = code_maps()
    assignment = draw_groups(codes, groups, generator())
    parts = take_parts(images, codes, assignment, groups)
    assert parts.images.dtype == torch.uint8
    by_group = parts.images.unflatten(0, (groups, 3))
    assert torch.equal(by_group.sum(dim=0), images * (codes > 0)[:, None])
    assert torch.equal(parts.masks.sum(dim=0), (codes > 0).float())
    for group in range(groups):
        for image in range(3):
            shown = set(codes[image][by_group[group, image, 0] > 0].tolist())
            assert shown == set(torch.flatten((assignment[image] == group).nonzero()).tolist())


def test_merging_takes_each_group_where_its_cells_are():
    masks = torch.zeros(2, 1, 8, 8)
    masks[0, :, :4] = 1
    masks[1, :, 4:, :4] = 1
    maps = torch.stack([torch.full((1, 3, 2, 2), 5.0), torch.full((1, 3, 2, 2), -3.0)])
    merged = merge_maps(maps, masks)
    expected = torch.tensor([[5.0, 5.0], [-3.0, 1.0]])  # the last place is background
    torch.testing.assert_close(merged, expected.expand(1, 3, 2, 2), atol=0.02, rtol=0)
    shared = torch.zeros(2, 1, 2, 2)
    shared[0, 0, 0, :], shared[1, 0, 1, :] = 1, 1
    torch.testing.assert_close(merge_maps(maps[..., :1, :1], shared), torch.full((1, 3, 1, 1), 1.0))


@given(st.integers(0, 1000), st.integers(2, 4))
def test_groups_that_agree_are_merged_into_what_they_say(seed, groups):
    maps = torch.randn(1, 2, 3, 5, 4, generator=generator(seed)).expand(groups, -1, -1, -1, -1)
    masks = (torch.rand(groups, 2, 20, 16, generator=generator(seed + 1)) > 0.7).float()
    torch.testing.assert_close(merge_maps(maps, masks), maps[0])


def example():
    whole = torch.randn(2, 3, 4, 4, generator=generator(5))
    parts = torch.randn(2, 2, 3, 4, 4, generator=generator(6))
    masks = torch.zeros(2, 2, 4, 4)
    masks[0, :, :2], masks[1, :, 2:] = 1, 1
    targets = torch.tensor([[1.0, 0, 0], [0, 1, 1]])
    bias = torch.tensor([0.5, -0.5, 0.1])
    return whole, parts, masks, bias, targets


def test_the_loss_is_that_of_the_paper():
    whole, parts, masks, bias, targets = example()
    found = consistency_loss(LOSS, whole, parts, masks, bias, targets, None, config(alpha=3, merged=0.7, ramp=0.5), 0.2)
    merged = torch.cat([parts[0, :, :, :2], parts[1, :, :, 2:]], dim=2)
    of_merged = torch.nn.functional.binary_cross_entropy_with_logits(merged.mean(dim=(2, 3)) + bias, targets)
    apart = ((whole - merged).abs() * targets[:, :, None, None]).mean()
    torch.testing.assert_close(found, 0.7 * of_merged + 3 * (0.2 / 0.5) * apart, atol=5e-3, rtol=5e-3)


def test_alpha_rises_and_stays():
    assert [config().alpha_at(part) for part in (0.0, 0.25, 0.5, 0.9)] == [0, 2, 4, 4]
    assert config(ramp=0, alpha=1).alpha_at(0.0) == 1


def test_only_classes_that_an_image_has_are_compared():
    whole, parts, masks, bias, targets = example()
    settings = config(merged=0)
    before = consistency_loss(LOSS, whole, parts, masks, bias, targets, None, settings, 1.0)
    changed = whole + 10 * (targets == 0)[:, :, None, None]
    torch.testing.assert_close(
        consistency_loss(LOSS, changed, parts, masks, bias, targets, None, settings, 1.0), before
    )
    changed = whole + 10 * (targets == 1)[:, :, None, None]
    assert consistency_loss(LOSS, changed, parts, masks, bias, targets, None, settings, 1.0) > before + 1


def test_images_without_cells_and_without_weight_count_nothing():
    whole, parts, masks, bias, targets = example()
    masks[:, 1] = 0
    arguments = (LOSS, whole, parts, masks, bias, targets)
    found = consistency_loss(*arguments, None, config(), 1.0)
    weighted = consistency_loss(*arguments, torch.tensor([1.0, 5.0]), config(), 1.0)
    torch.testing.assert_close(found, weighted)
    assert consistency_loss(*arguments, torch.tensor([0.0, 1.0]), config(), 1.0) == 0


def test_both_sides_learn():
    whole, parts, masks, bias, targets = example()
    whole.requires_grad_()
    parts.requires_grad_()
    bias.requires_grad_()
    consistency_loss(LOSS, whole, parts, masks, bias, targets, None, config(), 1.0).backward()
    for tensor in (whole, parts, bias):
        assert tensor.grad.abs().sum() > 0


@pytest.mark.parametrize("wrong", [{"groups": 1}, {"alpha": -1}, {"ramp": 2}, {"cells": None}, {"merged": -0.5}])
def test_wrong_settings_are_told(wrong):
    with pytest.raises(ConfigError):
        config(**wrong)
