import pytest
import torch

from hpa.training import make_accelerator


def test_one_process_can_change_its_precision():
    for precision in ("no", "bf16", "bf16", "no"):
        accelerator = make_accelerator(precision)
        assert accelerator.mixed_precision == precision
        with accelerator.autocast():
            assert torch.is_autocast_enabled("cpu") == (precision == "bf16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_fp16_without_a_gpu_is_refused():
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        make_accelerator("fp16")
    assert make_accelerator("no").mixed_precision == "no"


def test_a_launchers_accumulation_does_not_divide_the_loss_again(monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    weight = torch.nn.Parameter(torch.ones(()))
    make_accelerator().backward(weight * 1.0)
    assert weight.grad == 1
