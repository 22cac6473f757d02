import pytest
import timm
import torch

from hpa.classification.pooling import GeneralizedMean, use_generalized_mean


def test_it_lies_between_the_mean_and_the_maximum():
    features = torch.rand(3, 5, 7, 6) + 0.1
    torch.testing.assert_close(GeneralizedMean(1.0)(features), features.mean(dim=(2, 3)))
    torch.testing.assert_close(GeneralizedMean(2.0)(features), features.square().mean(dim=(2, 3)).sqrt())
    torch.testing.assert_close(GeneralizedMean(200.0)(features), features.amax(dim=(2, 3)), rtol=0.03, atol=0)


def test_its_power_learns_and_large_half_precision_features_stay_finite():
    pooling = GeneralizedMean()
    pooling(torch.rand(2, 3, 4, 4)).sum().backward()
    assert pooling.power.grad is not None
    assert pooling.power.grad.abs() > 0
    assert pooling(torch.full((1, 1, 4, 4), 1000.0, dtype=torch.float16)).isfinite().all()


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "resnetv2_18"])
def test_it_takes_the_place_of_timms_pooling(name):
    model = timm.create_model(name, num_classes=3).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = model(images)
        use_generalized_mean(model)
        after = model(images)
    assert after.shape == before.shape
    assert not torch.allclose(after, before)


def test_axes_follow_the_layout():
    model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=3, depths=(1, 1, 1, 1)).eval()
    use_generalized_mean(model)
    pooling = next(module for module in model.modules() if isinstance(module, GeneralizedMean))
    assert pooling.axes == (1, 2)
    with torch.no_grad():
        assert model(torch.rand(1, 3, 224, 224)).shape == (1, 3)


def test_a_network_without_a_feature_map_is_refused():
    with pytest.raises(ValueError, match="convolutional"):
        use_generalized_mean(timm.create_model("test_vit"))
