import copy

import numpy as np
import pytest
import torch
from torch import nn

from hpa.explain.randomization import cascade, randomization


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def network():
    torch.manual_seed(0)
    layers = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)),
        *(nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    )
    for norm in (layers[1], layers[4]):
        nn.init.uniform_(norm.weight, 0.5, 2)
        norm.running_var.uniform_(0.5, 2)
    return layers.eval()


def pictures():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 255


def changed(before, after):
    return [name for name, values in after.state_dict().items() if not torch.equal(values, before.state_dict()[name])]


def test_layers_become_random_from_the_head_downwards():
    model = network()
    stages = [(part, copy.deepcopy(random)) for part, random in cascade(model, pictures(), levels=3)]
    assert [part for part, _ in stages] == [0.2, 0.6, 1.0]
    found = [{name.split(".")[0] for name in changed(model, random)} for _, random in stages]
    assert found == [{"8"}, {"8", "4", "3"}, {"8", "4", "3", "1", "0"}]
    assert not any(module.training for module in stages[-1][1].modules())
    # What was randomised before stays as it was then.
    assert torch.equal(stages[0][1][8].weight, stages[2][1][8].weight)


def test_the_order_is_that_in_which_the_layers_run():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.body = nn.Linear(3, 2), nn.Conv2d(3, 3, 1)

        def forward(self, images):
            return self.head(self.body(images).mean(dim=(2, 3)))

    model = Backwards()
    _, random = next(cascade(model, pictures(), levels=2))
    assert {name.split(".")[0] for name in changed(model, random)} == {"head"}


def test_parameters_without_first_weights_of_their_own_are_shuffled():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.arange(30.0))

        def forward(self, images):
            return images.mean(dim=(2, 3)).sum(dim=1, keepdim=True) * self.scale

    model = Scaled()
    _, random = next(cascade(model, pictures(), levels=1))
    assert not torch.equal(random.scale, model.scale)
    assert torch.equal(random.scale.sort().values, model.scale)


def test_norms_of_random_layers_know_what_they_see():
    model = network()
    *_, (_, random) = cascade(model, pictures(), levels=2)
    seen = []
    random[1].register_forward_hook(lambda module, given, made: seen.append(made))
    with torch.no_grad():
        random(pictures())
    torch.testing.assert_close(seen[0].mean(dim=(0, 2, 3)), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen[0].std(dim=(0, 2, 3)), torch.ones(8), atol=0.01, rtol=0)
    assert random[1].momentum == model[1].momentum


def test_the_network_and_the_random_numbers_are_as_before():
    model = network()
    before, state = copy.deepcopy(model), torch.random.get_rng_state()
    weights = [copy.deepcopy(random) for _, random in cascade(model, pictures(), levels=3, seed=1)]
    assert not changed(before, model)
    assert torch.equal(state, torch.random.get_rng_state())
    again = [copy.deepcopy(random) for _, random in cascade(model, pictures(), levels=3, seed=1)]
    assert all(not changed(one, other) for one, other in zip(weights, again, strict=True))
    other = next(cascade(model, pictures(), levels=3, seed=2))[1]
    assert changed(weights[0], other)


def test_a_map_of_the_image_alone_stays_and_one_of_the_weights_does_not():
    def of_the_image(model):
        return pictures().mean(dim=1).numpy()

    def of_the_weights(model):
        images = pictures().requires_grad_()
        model(images)[:, 0].sum().backward()
        return (images.grad * images).sum(dim=1).detach().numpy()

    constant = randomization(network(), pictures(), of_the_image, levels=2, square=1)
    np.testing.assert_allclose(constant["rank_correlation"], 1)
    np.testing.assert_allclose(constant["structural_similarity"], 1)
    assert constant["item"].tolist() == [0, 1, 2] * 2
    assert constant["level"].tolist() == [1] * 3 + [2] * 3
    found = randomization(network(), pictures(), of_the_weights, levels=2, square=1)
    assert found[found["level"] == 2]["rank_correlation"].abs().mean() < 0.5
    assert found["structural_similarity"].max() < 0.9


def test_what_cannot_be_randomised_is_refused():
    with pytest.raises(ValueError, match="at least one level"):
        next(cascade(network(), pictures(), levels=0))
    with pytest.raises(ValueError, match="network with weights"):
        next(cascade(nn.Flatten(), pictures(), levels=1))
