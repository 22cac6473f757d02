import sys

import numpy as np
import pytest
import torch
from lime.lime_image import LimeImageExplainer
from torch import nn

from hpa.classification import ModelConfig, build_model
from hpa.explain.perturbation import explain_by_perturbation
from hpa.explain.perturbation_config import (
    BackgroundSampleBaseline,
    BlackBaseline,
    CellSegments,
    GradientShap,
    KernelShap,
    Lime,
    PartitionShap,
    SuperpixelSegments,
    WholeImageSegment,
)
from hpa.labels import HPA2021

SEGMENTS = SuperpixelSegments(count=9)
METHODS = [
    GradientShap(samples=4, baseline=BlackBaseline()),
    PartitionShap(evaluations=30, segments=SEGMENTS),
    KernelShap(evaluations=40, segments=SEGMENTS),
    Lime(samples=30, segments=SEGMENTS),
]
SHAP = METHODS[:3]
KINDS = [config.kind for config in METHODS]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(ModelConfig(name="test_resnet"), 4, HPA2021)


def pictures(count=2, side=32):
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (count, 4, side // 8, side // 8)).astype(np.uint8)
    return torch.from_numpy(np.kron(coarse, np.ones((8, 8), np.uint8)))


class Patch(nn.Module):
    """Class 0 is the mean of the green channel in the upper left quarter, class 1 its negative."""

    def forward(self, images):
        quarter = images[:, 1, : images.shape[2] // 2, : images.shape[3] // 2].mean(dim=(1, 2))
        return torch.stack([quarter, -quarter], dim=1)

    def probabilities(self, logits):
        return (logits / 255).sigmoid()


def cells(side=32):
    numbers = np.zeros((side, side), np.uint16)
    numbers[: side // 2, : side // 2] = 12
    numbers[side // 2 :, side // 2 :] = 5
    return numbers


@pytest.mark.parametrize("config", METHODS, ids=KINDS)
def test_forms_of_the_result(model, config):
    found = explain_by_perturbation(model, pictures(), torch.tensor([[3, 0], [18, 5]]), config)
    planes = 4 if config.kind == "gradient_shap" else 1
    assert found.maps.shape == (2, 2, planes, 32, 32)
    assert found.maps.dtype == np.float32
    assert np.isfinite(found.maps).all()
    assert found.summary[["image", "class_number"]].to_numpy().tolist() == [[0, 3], [0, 0], [1, 18], [1, 5]]
    with torch.no_grad():
        logits = model.eval()(pictures().float())
    output = model.probabilities(logits) if config.output == "probability" else logits
    expected = [output[0, 3], output[0, 0], output[1, 18], output[1, 5]]
    np.testing.assert_allclose(found.summary["output"], expected, atol=1e-5)


@pytest.mark.parametrize("config", SHAP, ids=KINDS[:3])
def test_shap_maps_sum_to_output_minus_base(model, config):
    if isinstance(config, GradientShap):
        config = GradientShap(samples=256, baseline=BlackBaseline())
    found = explain_by_perturbation(model, pictures(), torch.tensor([[3, 0], [18, 5]]), config)
    difference = (found.summary["output"] - found.summary["base"]).to_numpy()
    tolerance = 0.02 * abs(difference).max() if isinstance(config, GradientShap) else 1e-5
    np.testing.assert_allclose(found.maps.sum(axis=(2, 3, 4)).ravel(), difference, atol=tolerance)
    np.testing.assert_allclose(found.summary["error"], 0, atol=tolerance)


@pytest.mark.parametrize("config", METHODS, ids=KINDS)
def test_an_image_does_not_depend_on_the_others_or_the_batch_size(model, config):
    both = explain_by_perturbation(model, pictures(), torch.tensor([3, 18]), config)
    alone = explain_by_perturbation(model, pictures()[1:], torch.tensor([18]), config, batch_size=3)
    np.testing.assert_allclose(both.maps[1], alone.maps[0], atol=1e-5 * abs(both.maps).max())
    again = explain_by_perturbation(model, pictures(), torch.tensor([3, 18]), config)
    np.testing.assert_array_equal(both.maps, again.maps)


@pytest.mark.parametrize("config", METHODS, ids=KINDS)
def test_bytes_and_floats_are_the_same_image(model, config):
    one = explain_by_perturbation(model, pictures(), torch.tensor([3, 18]), config)
    two = explain_by_perturbation(model, pictures().float(), torch.tensor([3, 18]), config)
    np.testing.assert_array_equal(one.maps, two.maps)


class Failing(nn.Module):
    """Fails at the third call."""

    def __init__(self, model):
        super().__init__()
        self.model, self.calls = model, 0

    def forward(self, images):
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("out of memory")
        return self.model(images)

    def probabilities(self, logits):
        return self.model.probabilities(logits)


@pytest.mark.parametrize("fails", [False, True], ids=["whole", "fails"])
@pytest.mark.parametrize("config", METHODS, ids=KINDS)
def test_the_network_is_unchanged(config, fails):
    torch.manual_seed(0)
    network = Failing(build_model(ModelConfig(name="test_resnet"), 4, HPA2021))
    network.calls = 0 if fails else 100
    network.train()
    network.model.head.eval()
    network.model.backbone.requires_grad_(False)
    network.model(pictures().float()).sum().backward()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    before = [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in network.parameters()]
    modes = [module.training for module in network.modules()]
    images = pictures()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    if fails:
        with pytest.raises(RuntimeError, match="out of memory"):
            explain_by_perturbation(network, images, torch.tensor([3, 18]), config, batch_size=2)
    else:
        explain_by_perturbation(network, images, torch.tensor([3, 18]), config)
    assert [module.training for module in network.modules()] == modes
    assert not all(modes)
    assert any(modes)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    for parameter, (requires_grad, gradient) in zip(network.parameters(), before, strict=True):
        assert parameter.requires_grad == requires_grad
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    assert torch.equal(images, pictures())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", [PartitionShap, KernelShap, Lime])
def test_what_the_network_sees_is_found_among_cells(kind):
    config = kind(segments=CellSegments(), baseline=BlackBaseline(), output="logit")
    found = explain_by_perturbation(Patch(), pictures(1), torch.tensor([[0, 1]]), config, [cells()])
    table = found.segments.set_index(["class_number", "cell_id"])
    total = found.summary["output"].iloc[0]
    assert total > 50
    tolerance = 0.03 * total if kind is Lime else 1e-4  # LIME's penalty draws its coefficients together
    assert table.loc[(0, 12), "value"] == pytest.approx(total, abs=tolerance)
    assert table.loc[(1, 12), "value"] == pytest.approx(-total, abs=tolerance)
    for other in (0, 5):
        assert table.loc[(0, other), "value"] == pytest.approx(0, abs=tolerance)
    assert table["pixels"].to_dict()[(0, 12)] == 256
    assert found.maps[0, 0, 0, :16, :16].mean() * 256 == pytest.approx(total, abs=tolerance)
    assert found.maps[0, 1, 0, :16, :16].max() < 0
    assert found.numbers[0].shape == (32, 32)


def test_gradients_find_it_pixel_by_pixel():
    config = GradientShap(samples=2, baseline=BlackBaseline())
    maps = explain_by_perturbation(Patch(), pictures(1), torch.tensor([0]), config).maps[0, 0]
    expected = np.zeros((4, 32, 32))
    expected[1, :16, :16] = pictures(1)[0, 1, :16, :16] / 256
    np.testing.assert_allclose(maps, expected, atol=1e-5)


@pytest.mark.parametrize("kind", [PartitionShap, KernelShap, Lime])
def test_channels_apart(kind):
    config = kind(segments=WholeImageSegment(), per_channel=True, baseline=BlackBaseline(), output="logit")
    found = explain_by_perturbation(Patch(), pictures(1), torch.tensor([0]), config)
    assert found.maps.shape == (1, 1, 4, 32, 32)
    assert found.segments["channel"].tolist() == [0, 1, 2, 3]
    total = found.summary["output"].iloc[0]
    np.testing.assert_allclose(found.segments["value"], [0, total, 0, 0], atol=0.03 * total)


def test_values_painted_as_they_are():
    config = KernelShap(segments=CellSegments(), baseline=BlackBaseline(), paint="value")
    found = explain_by_perturbation(Patch(), pictures(1), torch.tensor([0]), config, [cells()])
    np.testing.assert_allclose(found.maps[0, 0, 0, :16, :16], found.summary["output"].iloc[0], rtol=1e-5)


def test_a_background_sample_is_averaged_over():
    sample = pictures(4)[1:]
    config = KernelShap(segments=CellSegments(background="kept"), baseline=BackgroundSampleBaseline())
    found = explain_by_perturbation(Patch(), pictures(1), torch.tensor([0]), config, [cells()], sample)
    base = sample[:, 1, :16, :16].float().mean()
    assert found.summary["base"].iloc[0] == pytest.approx(base.item(), rel=1e-5)
    assert found.summary["evaluations"].iloc[0] == 4 * 3
    assert (found.maps[0, 0, 0][found.numbers[0] < 0] == 0).all()


def test_lime_is_that_of_its_authors_where_theirs_works(monkeypatch):
    """On RGB and with the same draws, coefficients are the same: hiding, distances, weights, regression."""
    size = (24, 24)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.float64)
    numbers = np.kron(np.arange(9).reshape(3, 3), np.ones((8, 8), np.int64))

    class Textured(nn.Module):
        def forward(self, images):
            return torch.stack(
                [images[:, 0].std(dim=(1, 2)), (images[:, 1] * images[:, 2]).mean(dim=(1, 2)) / 255], dim=1
            )

    def classify(pictures):
        return Textured()(torch.from_numpy(np.moveaxis(pictures, -1, 1))).numpy()

    theirs = LimeImageExplainer(random_state=7, verbose=False).explain_instance(
        image,
        classify,
        labels=(0, 1),
        top_labels=None,
        num_samples=80,
        segmentation_fn=lambda _: numbers,
        random_seed=0,
    )

    def same_draws(players, count, seed):
        data = np.random.RandomState(7).randint(0, 2, count * players).reshape(count, players)
        data[0] = 1
        return data == 1

    monkeypatch.setattr("hpa.explain.segment_lime.draw_coalitions", same_draws)
    config = Lime(samples=80, segments=CellSegments(), output="logit")
    pixels = torch.from_numpy(np.moveaxis(image, -1, 0))[None]
    found = explain_by_perturbation(Textured(), pixels, torch.tensor([[0, 1]]), config, [numbers + 1])
    for number in (0, 1):
        expected = [value for _, value in sorted(theirs.local_exp[number])]
        own = found.segments[found.segments["class_number"] == number]
        np.testing.assert_allclose(own["value"], expected, rtol=1e-4, atol=1e-4)
        base = found.summary["base"].iloc[number]
        assert base == pytest.approx(theirs.intercept[number], rel=1e-4)


@pytest.mark.parametrize(
    ("config", "module"),
    [(PartitionShap(), "shap"), (KernelShap(), "shap"), (Lime(), "lime.lime_base")],
    ids=["partition_shap", "kernel_shap", "lime"],
)
def test_a_missing_package_names_the_extra(config, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=r"\.\[explain\]"):
        explain_by_perturbation(Patch(), pictures(1), torch.tensor([0]), config)


def test_probabilities_are_explained_on_demand():
    config = KernelShap(segments=CellSegments(), baseline=BlackBaseline(), output="probability")
    found = explain_by_perturbation(Patch(), pictures(1), torch.tensor([0]), config, [cells()])
    assert found.summary["base"].iloc[0] == pytest.approx(0.5)
    assert 0.5 < found.summary["output"].iloc[0] < 1
    with pytest.raises(ValueError, match="no `probabilities`"):
        explain_by_perturbation(nn.Flatten(), pictures(1), torch.tensor([0]), config, [cells()])


def test_what_does_not_fit_is_refused(model):
    with pytest.raises(ValueError, match=r"from 0 to 18.*\[19\]"):
        explain_by_perturbation(model, pictures(), torch.tensor([0, 19]), KernelShap(evaluations=4))
    with pytest.raises(ValueError, match="for 2 images"):
        explain_by_perturbation(model, pictures(), torch.tensor([0]), KernelShap())
    with pytest.raises(ValueError, match="label map for each of 2 images, but got 1"):
        explain_by_perturbation(model, pictures(), torch.tensor([0, 1]), KernelShap(), [cells()])
    with pytest.raises(ValueError, match="hpa segment_cells"):
        explain_by_perturbation(model, pictures(), torch.tensor([0, 1]), KernelShap(segments=CellSegments()))
    with pytest.raises(ValueError, match="background sample, but none was given"):
        explain_by_perturbation(model, pictures(), torch.tensor([0, 1]), GradientShap())
    with pytest.raises(ValueError, match="batch_size=0"):
        explain_by_perturbation(model, pictures(), torch.tensor([0, 1]), KernelShap(), batch_size=0)


@pytest.mark.parametrize("config", METHODS[1:], ids=KINDS[1:])
def test_what_looks_the_same_hidden_has_no_value(model, config):
    images = pictures(1)
    images[:, :, :, 16:] = 0
    segments = SuperpixelSegments(count=16, compactness=10, sigma=0)
    config = config.model_copy(update={"segments": segments, "baseline": BlackBaseline()})
    found = explain_by_perturbation(model, images, torch.tensor([3]), config)
    assert found.maps[0, 0, 0, :, :16].any()
    assert not found.maps[0, 0, 0][found.numbers[0] < 0].any()
    assert (found.numbers[0][:, 16:] < 0).mean() > 0.5
    assert len(found.segments) == found.numbers[0].max() + 1
