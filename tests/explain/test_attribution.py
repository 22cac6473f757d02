import copy
import typing

import numpy as np
import pytest
import torch

from hpa.classification import ModelConfig, build_model
from hpa.explain.attribution import Attribution, attribute
from hpa.explain.cams import class_activation_maps
from hpa.explain.gradient_config import (
    GradCam,
    GradientConfig,
    HiResCam,
    IntegratedGradients,
    PlainGradient,
    SmoothGrad,
)
from hpa.explain.perturbation_config import (
    BackgroundMeanBaseline,
    BlurredBaseline,
    CellSegments,
    GradientShap,
    Lime,
    PerturbationConfig,
)
from hpa.labels import ClassList

IMAGES = torch.randint(0, 256, (3, 4, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([[0, 2], [1, 0], [2, 1]])
METHODS = [kind() for kind in typing.get_args(GradientConfig) if kind is not IntegratedGradients]
METHODS += [IntegratedGradients(steps=4, max_steps=8), GradientShap(samples=4), Lime(samples=8)]


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build_model(ModelConfig(name="test_resnet"), 4, ClassList(names=tuple("abc")))
    with torch.no_grad():
        model.head.weight.abs_()  # rectified maps are then not empty
    return model


def _marked(model):
    """A copy in mixed modes, with parts that do not learn, and gradients that somebody put there."""
    model = copy.deepcopy(model).train()
    model.backbone.layer1.eval()
    model.backbone.layer2.requires_grad_(False)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    return model


def _assert_as_marked(model, before, modes):
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all((parameter.grad == 7).all() for parameter in model.parameters())
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if name.startswith("backbone.layer2.")}
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    assert not any(getattr(module, name) for module in model.modules() for name in hooks)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
def test_every_method_gives_maps_and_leaves_the_network_as_it_was(model, method):
    model = _marked(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random_state = torch.get_rng_state()
    found = attribute(model, IMAGES[:2], CLASSES[:2], method, background=IMAGES)
    _assert_as_marked(model, before, modes)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert isinstance(found, Attribution)
    assert found.method == method.kind
    assert found.maps.dtype == np.float32
    assert found.maps.shape in ((4, 1, 48, 48), (4, 4, 48, 48))
    assert np.isfinite(found.maps).all()
    assert found.maps.any()
    assert (found.images.tolist(), found.classes.tolist()) == ([0, 0, 1, 1], [0, 2, 1, 0])
    assert len(found) == 4
    assert found.seconds > 0
    assert all(values.shape == (4,) for values in found.extra.values())


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
def test_after_an_error_the_network_is_as_it_was(model, method):
    model = _marked(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    with pytest.raises(ValueError, match="class numbers from 0 to 2"):
        attribute(model, IMAGES[:2], CLASSES[:2] + 1, method, background=IMAGES)
    breaks = model.backbone.layer4.register_forward_hook(lambda module, inputs, output: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        attribute(model, IMAGES[:2], CLASSES[:2], method, background=IMAGES)
    breaks.remove()
    _assert_as_marked(model, before, modes)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
def test_batches_do_not_change_maps(model, method):
    together = attribute(model, IMAGES, CLASSES, method, background=IMAGES)
    small = attribute(model, IMAGES, CLASSES, method, background=IMAGES, batch_size=2)
    # Between modes of convolution sums differ by rounding, which a rectified map of nothing would show alone.
    scale = float(np.abs(together.maps).max())
    np.testing.assert_allclose(together.maps, small.maps, rtol=1e-2, atol=1e-3 * scale)


def test_items_are_those_of_the_pure_functions(model):
    maps = class_activation_maps(model, IMAGES, CLASSES).numpy()
    found = attribute(model, IMAGES, CLASSES, GradCam(), batch_size=2)
    for item, (image, number) in enumerate(zip(found.images, found.classes, strict=True)):
        choice = CLASSES[image].tolist().index(number)
        np.testing.assert_allclose(found.maps[item], maps[image, choice], rtol=1e-4, atol=1e-7)
    one = attribute(model, IMAGES, CLASSES[:, 0], GradCam())
    np.testing.assert_allclose(one.maps, found.maps[::2], rtol=1e-4, atol=1e-7)
    assert one.classes.tolist() == CLASSES[:, 0].tolist()


def test_settings_reach_the_methods(model):
    early, late = (attribute(model, IMAGES, CLASSES, HiResCam(layer=f"backbone.layer{n}")).maps for n in (2, 4))
    assert not np.allclose(early, late, rtol=0.1)
    against = copy.deepcopy(model)
    with torch.no_grad():
        against.head.weight.neg_()
    signed = attribute(against, IMAGES, CLASSES, HiResCam(rectify=False)).maps
    np.testing.assert_allclose(signed, -late, rtol=1e-4, atol=1e-7)
    assert not attribute(against, IMAGES, CLASSES, HiResCam()).maps.any()
    plain = attribute(model, IMAGES, CLASSES, PlainGradient()).maps
    little = attribute(model, IMAGES, CLASSES, SmoothGrad(noise=1e-6, samples=1)).maps
    np.testing.assert_allclose(little, plain, rtol=0, atol=0.05 * np.abs(plain).max())
    noisy = attribute(model, IMAGES, CLASSES, SmoothGrad(noise=0.5, samples=1)).maps
    assert np.abs(noisy - plain).max() > 0.1 * np.abs(plain).max()


@pytest.mark.parametrize("baseline", [BlurredBaseline(), BackgroundMeanBaseline()])
def test_figures_of_integrated_gradients_belong_to_their_items(model, baseline):
    config = IntegratedGradients(baseline=baseline, steps=4, max_steps=8)
    found = attribute(model, IMAGES, CLASSES, config, background=IMAGES, batch_size=2)
    sums = found.maps.sum(axis=(1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(sums - found.extra["difference"], found.extra["gap"], atol=1e-5)
    assert set(found.extra["steps"]) <= {4, 8}
    assert (found.extra["completeness_error"] >= 0).all()


def test_a_baseline_of_other_images_needs_them(model):
    with pytest.raises(ValueError, match="background sample, but none was given"):
        attribute(model, IMAGES, CLASSES, IntegratedGradients(baseline=BackgroundMeanBaseline()))


def test_cells_are_segments_and_their_values_are_kept(model):
    cell_maps = np.zeros((3, 48, 48), np.uint16)
    cell_maps[:, 5:20, 5:20], cell_maps[:, 25:40, 25:40] = 3, 8
    found = attribute(model, IMAGES, CLASSES, Lime(segments=CellSegments(), samples=32), segments=list(cell_maps))
    assert found.segments is not None
    assert set(found.segments["cell_id"]) == {0, 3, 8}
    assert len(found.segments) == 6 * 3
    assert len(found.segment_numbers) == 3
    assert set(found.extra) == {"base", "output", "error", "fit", "segments", "evaluations"}


@pytest.mark.parametrize("kind", typing.get_args(PerturbationConfig), ids=lambda kind: kind.__name__)
def test_methods_by_perturbation_are_given_everything(model, monkeypatch, kind):
    asked = []

    def explain(*arguments):
        asked.append(arguments)
        raise KeyError

    monkeypatch.setattr("hpa.explain.attribution.explain_by_perturbation", explain)
    with pytest.raises(KeyError):
        attribute(model, IMAGES, CLASSES, kind(), [], IMAGES, 5)
    (network, images, classes, config, segments, background, batch_size), *_ = asked
    assert network is model
    assert torch.equal(images, IMAGES.float())
    assert torch.equal(classes, CLASSES)
    assert torch.equal(background, IMAGES)
    assert (config, segments, batch_size) == (kind(), [], 5)


def test_a_batch_without_images_is_an_error(model):
    with pytest.raises(ValueError, match="batch_size=0"):
        attribute(model, IMAGES, CLASSES, GradCam(), batch_size=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_maps(model):
    with torch.backends.cudnn.flags(enabled=False):  # which would round to fewer bits
        for method in METHODS:
            ours = attribute(model, IMAGES, CLASSES, method, background=IMAGES).maps
            theirs = attribute(copy.deepcopy(model).cuda(), IMAGES, CLASSES, method, background=IMAGES).maps
            np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-2 * float(np.abs(ours).max()))
