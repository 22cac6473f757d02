import pytest
import torch
from torch import nn

from hpa.explain.gradients import gradient, input_times_gradient, scores_and_gradients, smooth_grad


class Quadratic(nn.Module):
    """Logit k is the sum of weight[k] · image²; its gradient is 2 · weight[k] · image."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(1)))

    def forward(self, images):
        return torch.einsum("bchw,kchw->bk", images.square(), self.weight)


class Linear(Quadratic):
    def forward(self, images):
        return torch.einsum("bchw,kchw->bk", images, self.weight)


IMAGES = torch.rand(2, 4, 5, 6, generator=torch.Generator().manual_seed(0)) * 255
CLASSES = torch.tensor([[0, 2], [1, 1]])


def test_the_gradient_is_that_of_calculus():
    model = Quadratic()
    expected = 2 * model.weight.detach()[CLASSES] * IMAGES[:, None]
    found = scores_and_gradients(model, IMAGES, CLASSES)
    torch.testing.assert_close(found.gradients, expected)
    torch.testing.assert_close(found.scores, model(IMAGES).detach().gather(1, CLASSES))
    torch.testing.assert_close(input_times_gradient(model, IMAGES, CLASSES), expected * IMAGES[:, None])
    torch.testing.assert_close(gradient(model, IMAGES, CLASSES[:, 0]), expected[:, :1])


def test_parameters_keep_their_gradients_and_images_theirs():
    model = Quadratic()
    gradient(model, IMAGES, CLASSES)
    assert model.weight.grad is None
    model.weight.grad = torch.ones_like(model.weight)
    model.weight.requires_grad_(False)
    gradient(model, IMAGES, CLASSES)
    assert (model.weight.grad == 1).all()
    assert not model.weight.requires_grad
    assert not IMAGES.requires_grad


def test_a_network_that_cuts_gradients_off_is_an_error():
    model = Quadratic()
    model.forward = torch.no_grad()(model.forward)
    with pytest.raises(ValueError, match="cuts gradients off"):
        gradient(model, IMAGES, CLASSES)


def test_smoothing_leaves_a_constant_gradient():
    model = Linear()
    torch.testing.assert_close(smooth_grad(model, IMAGES, CLASSES), model.weight.detach()[CLASSES])


def test_noise_has_the_stated_size():
    model = Quadratic()
    noisy = smooth_grad(model, IMAGES, CLASSES, noise=0.05, samples=1)
    noise = noisy / (2 * model.weight.detach()[CLASSES]) - IMAGES[:, None]
    spread = IMAGES.flatten(1).amax(dim=1) - IMAGES.flatten(1).amin(dim=1)
    standard = noise.flatten(1).std(dim=1) / spread
    assert ((standard - 0.05).abs() < 0.01).all()  # 120 draws of each: a standard error of 0.003


def test_noise_depends_on_the_seed_alone():
    model = Quadratic()
    state = torch.get_rng_state()
    together = smooth_grad(model, IMAGES, CLASSES, samples=5, batch_size=4)
    torch.testing.assert_close(smooth_grad(model, IMAGES[1:], CLASSES[1:], samples=5, batch_size=1), together[1:])
    assert not torch.allclose(smooth_grad(model, IMAGES, CLASSES, samples=5, seed=1), together)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_samples_are_an_error():
    with pytest.raises(ValueError, match="samples=0"):
        smooth_grad(Linear(), IMAGES, CLASSES, samples=0)
