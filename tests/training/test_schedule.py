import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa.training.config import LoopConfig
from hpa.training.schedule import learning_rate_at, learning_rate_factor, training_progress


@given(st.floats(0, 1), st.floats(0, 0.9), st.floats(0, 1))
def test_the_factor_rises_in_the_warm_up_and_then_falls_to_the_end(progress, warmup, final):
    factor = learning_rate_factor(progress, warmup, final)
    later = learning_rate_factor(min(1.0, progress + 0.01), warmup, final)
    assert 0 <= factor <= 1
    if progress + 0.01 < warmup:
        assert later > factor
    if progress >= warmup:
        assert later <= factor + 1e-12
    assert learning_rate_factor(1.0, warmup, final) == pytest.approx(final)


def test_steps_follow_torch_cosine_annealing():
    import torch

    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100, eta_min=0.05)
    for tick in range(100):
        assert 0.5 * learning_rate_factor(tick / 100, 0.0, 0.1) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()


def test_progress_is_even_over_epochs_of_different_length():
    middles = [training_progress(epoch, step, steps, 2) for epoch, steps in enumerate((2, 4)) for step in range(steps)]
    assert middles == [0.125, 0.375, 0.5625, 0.6875, 0.8125, 0.9375]


def test_no_step_has_a_learning_rate_of_zero():
    config = LoopConfig(epochs=2, learning_rate=0.1, warmup=0.5, final_factor=0)
    rates = [learning_rate_at(config, epoch, step, 5) for epoch in range(2) for step in range(5)]
    assert min(rates) > 0
    assert np.argmax(rates) in (4, 5)
    assert max(rates) <= 0.1
