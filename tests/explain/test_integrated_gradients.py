import captum.attr
import pytest
import torch
from torch import nn

from hpa.classification import ModelConfig, build_model
from hpa.explain.integrated_gradients import SMALLEST_DIFFERENCE, integrated_gradients
from hpa.labels import ClassList

IMAGES = torch.rand(3, 4, 48, 32, generator=torch.Generator().manual_seed(0)) * 255
CLASSES = torch.tensor([[0, 2], [1, 0], [2, 1]])
BLACK = torch.zeros_like(IMAGES)


@pytest.fixture(scope="module")
def smooth():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3))
    model = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2), nn.SiLU(), nn.Conv2d(8, 8, 3, stride=2), nn.SiLU(), head)
    with torch.no_grad():
        model[0].weight *= 0.1
        head[2].weight *= 5
    return model


class Power(nn.Module):
    """Logits of the sum of pixels, to some power, from 0 at black."""

    def __init__(self, power):
        super().__init__()
        self.power = power

    def forward(self, images):
        return (images.mean(dim=(1, 2, 3)) / 100).pow(self.power)[:, None] * torch.tensor([1.0, 2.0, -1.0])


def test_on_a_linear_network_one_step_is_exact():
    found = integrated_gradients(Power(1), IMAGES, CLASSES, BLACK, steps=1, max_steps=1)
    factors = torch.tensor([1.0, 2.0, -1.0])[CLASSES][:, :, None, None, None]
    torch.testing.assert_close(found.maps, factors * IMAGES[:, None] / 100 / IMAGES[0].numel())
    assert found.error.max() < 1e-5
    assert (found.steps == 1).all()


def test_steps_are_doubled_until_the_map_is_complete():
    # The gradient of the eighth power along the way is t^7; trapezoids miss 1 % up to some number of steps.
    counts = (4, 8, 16, 32, 64)
    single = [integrated_gradients(Power(8), IMAGES, CLASSES, BLACK, n, n).error.max().item() for n in counts]
    assert single == sorted(single, reverse=True)
    expected = next(n for n, error in zip(counts, single, strict=True) if error <= 0.01)
    assert expected > 4
    found = integrated_gradients(Power(8), IMAGES, CLASSES, BLACK, steps=4)
    assert (found.steps == expected).all()
    assert found.error.max() <= 0.01
    direct = integrated_gradients(Power(8), IMAGES, CLASSES, BLACK, expected, expected)
    torch.testing.assert_close(found.maps, direct.maps)


class Steep(nn.Module):
    """Logits that rise most next to black."""

    def forward(self, images):
        return (1 + images.mean(dim=(1, 2, 3))).log()[:, None] * torch.tensor([1.0, 2.0, -1.0])


def test_steps_are_small_near_the_baseline():
    found = integrated_gradients(Steep(), IMAGES, CLASSES, BLACK, steps=16, max_steps=16)
    mean = IMAGES.mean(dim=(1, 2, 3)).double()
    whole = (1 + mean).log()
    parts = torch.arange(17) / 16
    equal = torch.trapezoid(mean[:, None] / (1 + mean[:, None] * parts), parts, dim=1)
    assert (found.error < 0.5 * ((equal - whole) / whole).abs()[:, None]).all()


def test_only_images_that_need_it_are_refined_and_batches_do_not_matter(smooth):
    starts = BLACK.clone()
    starts[0] = IMAGES[0] * 0.999  # so near that one part of the way is enough
    found = integrated_gradients(smooth, IMAGES, CLASSES, starts, steps=1, tolerance=1e-4, batch_size=16)
    assert found.steps[0] == 1
    assert (found.steps[1:] > 1).all()
    alone = [
        integrated_gradients(smooth, IMAGES[n : n + 1], CLASSES[n : n + 1], starts[n : n + 1], 1, 512, 1e-4, 3)
        for n in range(3)
    ]
    torch.testing.assert_close(found.maps, torch.cat([each.maps for each in alone]), rtol=1e-4, atol=1e-7)
    assert found.steps.tolist() == [int(each.steps) for each in alone]


def test_maps_are_those_of_captum_and_complete_within_one_percent(smooth):
    found = integrated_gradients(smooth, IMAGES, CLASSES, BLACK, steps=16)
    logits = (smooth(IMAGES) - smooth(BLACK)).detach().gather(1, CLASSES)
    assert (logits.abs() > SMALLEST_DIFFERENCE).all()
    sums = found.maps.sum(dim=(2, 3, 4))
    assert ((sums - logits).abs() <= 0.01 * logits.abs()).all()
    torch.testing.assert_close(found.difference, logits)
    torch.testing.assert_close(found.gap, sums - logits, rtol=1e-3, atol=1e-4)
    oracle = captum.attr.IntegratedGradients(smooth)
    for column, target in enumerate(CLASSES.unbind(1)):
        theirs = oracle.attribute(IMAGES, BLACK, target, n_steps=100, method="gausslegendre").float()
        torch.testing.assert_close(found.maps[:, column], theirs, rtol=0, atol=0.02 * float(theirs.abs().max()))


def test_a_network_of_timm_is_complete_within_one_percent():
    torch.manual_seed(0)
    model = build_model(ModelConfig(name="test_efficientnet"), 4, ClassList(names=tuple("abc"))).eval()
    with torch.no_grad():
        model.head.weight *= 100  # so that differences are not small
    found = integrated_gradients(model, IMAGES, CLASSES, BLACK)
    assert (found.difference.abs() > SMALLEST_DIFFERENCE).any()
    assert (found.error <= 0.01).all()


def test_what_stays_incomplete_is_told():
    found = integrated_gradients(Power(8), IMAGES, CLASSES, BLACK, steps=2, max_steps=4)
    assert (found.steps == 4).all()
    assert found.error.min() > 0.01
    sums = found.maps.sum(dim=(2, 3, 4))
    torch.testing.assert_close(found.gap, sums - found.difference, rtol=1e-3, atol=1e-3)


def test_an_image_that_is_its_baseline_has_an_empty_map(smooth):
    found = integrated_gradients(smooth, IMAGES, CLASSES, IMAGES)
    assert not found.maps.any()
    assert not found.error.any()


def test_no_steps_are_an_error(smooth):
    with pytest.raises(ValueError, match="at least one step"):
        integrated_gradients(smooth, IMAGES, CLASSES, BLACK, steps=0)
