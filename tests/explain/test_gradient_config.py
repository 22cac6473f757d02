import pydantic
import pytest

from hpa.config import Config, ConfigError, validate
from hpa.explain.attribution import MethodConfig
from hpa.explain.gradient_config import GradCam, HighResolutionGuidedGradCam, IntegratedGradients


class _Explain(Config):
    method: MethodConfig = GradCam()


def test_a_kind_chooses_the_method_and_its_settings():
    found = validate(_Explain, {"method": {"kind": "integrated_gradients", "steps": 8}}).method
    assert found == IntegratedGradients(steps=8)
    assert validate(_Explain, {"method": {"kind": "lime"}}).method.kind == "lime"


def test_a_mistyped_kind_is_told():
    with pytest.raises(ConfigError, match=r"method\.kind: expected one of .*did you mean 'grad_cam'"):
        validate(_Explain, {"method": {"kind": "gradcam"}})


def test_doubling_needs_room():
    with pytest.raises(pydantic.ValidationError, match="max_steps is 10, below steps, 32"):
        IntegratedGradients(max_steps=10)


@pytest.mark.parametrize("scales", [(), (0.5,), (1.0, 5.0)])
def test_scales_that_a_pyramid_cannot_have(scales):
    with pytest.raises(pydantic.ValidationError):
        HighResolutionGuidedGradCam(scales=scales)
