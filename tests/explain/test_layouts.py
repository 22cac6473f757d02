import pytest
import torch

from hpa.classification import ModelConfig, build_model
from hpa.explain.layouts import Layout, find_layout, prefix_tokens
from hpa.labels import ClassList


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((2, 64, 4, 4), (128, 128), Layout("channels_first", 4, 4)),
        ((2, 4, 4, 64), (128, 128), Layout("channels_last", 4, 4)),
        ((2, 4, 4, 4), (128, 128), Layout("channels_first", 4, 4)),  # both fit
        ((2, 1280, 4, 3), (100, 96), Layout("channels_first", 4, 3)),  # rounded up at one side
        ((2, 2, 8, 96), (64, 256), Layout("channels_last", 2, 8)),
        ((2, 51, 32), (80, 160), Layout("tokens", 5, 10, 1)),
        ((2, 512, 1, 1), (32, 32), Layout("channels_first", 1, 1)),
    ],
)
def test_maps_are_told_by_the_images_shape(shape, size, expected):
    assert find_layout(shape, size, expected.prefix) == expected


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 64), (64, 64)),
        ((2, 17, 32), (64, 64)),
        ((2, 3, 4, 17, 8), (64, 64)),
        ((2, 8, 2, 30), (64, 64)),
        ((2,), (9, 9)),
    ],
)
def test_what_is_no_map(shape, size):
    assert find_layout(shape, size) is None


def test_a_map_holds_the_same_values():
    values = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)  # (batch, features, height, width)
    last = values.permute(0, 2, 3, 1)
    tokens = torch.cat([torch.full((2, 1, 3), -1.0), last.flatten(1, 2)], dim=1)
    assert torch.equal(Layout("channels_first", 4, 5).to_map(values), values)
    assert torch.equal(Layout("channels_last", 4, 5).to_map(last), values)
    assert torch.equal(Layout("tokens", 4, 5, 1).to_map(tokens), values)


@pytest.mark.parametrize(("name", "expected"), [("test_resnet", 0), ("test_vit", 1)])
def test_class_tokens_of_timms_transformers(name, expected):
    assert prefix_tokens(build_model(ModelConfig(name=name), 3, ClassList(names=tuple("ab")))) == expected
