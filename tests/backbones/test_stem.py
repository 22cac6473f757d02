import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.models import adapt_input_conv

from hpa.backbones.stem import adapt_stem, channel_mixing, mix_yellow, stem_names


@given(st.integers(1, 12))
def test_a_filter_that_sees_no_colour_gives_the_same_output_on_a_grey_image(channels):
    weight = torch.randn(5, 1, 3, 3).expand(-1, 3, -1, -1)
    grey = torch.rand(1, 1, 8, 8)
    before = torch.nn.functional.conv2d(grey.expand(-1, 3, -1, -1), weight)
    after = torch.nn.functional.conv2d(grey.expand(-1, channels, -1, -1), adapt_stem(weight, channels))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 9])
def test_repeated_colours_are_adapted_as_timm_does(channels):
    weight = torch.randn(5, 3, 3, 3)
    torch.testing.assert_close(adapt_stem(weight, channels), adapt_input_conv(channels, weight))


def test_yellow_is_half_red_and_half_green():
    weight = torch.randn(5, 3, 3, 3)
    adapted = adapt_stem(weight, 4)
    torch.testing.assert_close(adapted[:, :3], weight * 0.75)
    torch.testing.assert_close(adapted[:, 3], (weight[:, 0] + weight[:, 1]) / 2 * 0.75)


def test_a_model_that_timm_adapted_gets_the_same_yellow():
    model = timm.create_model("test_resnet", in_chans=4)
    (name,) = stem_names(model)
    before = model.get_submodule(name).weight.clone()
    mix_yellow(model)
    after = model.get_submodule(name).weight
    assert torch.equal(after[:, :3], before[:, :3])
    torch.testing.assert_close(after[:, 3], (before[:, 0] + before[:, 1]) / 2)


def test_no_channels_are_refused():
    with pytest.raises(ValueError, match="at least one channel"):
        channel_mixing(0)
