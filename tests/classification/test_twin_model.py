import numpy as np
import pytest
import torch

from hpa.classification import ModelConfig, class_activation, predict_batch
from hpa.classification.twin_model import TwinClassifier, build_twins, joint_logits
from hpa.labels import ClassList
from hpa.training import load_weights
from hpa.training.checkpoints import save_weights

MULTI = ClassList(names=("a", "b", "c"))
SINGLE = ClassList(names=("a", "b", "c"), multi_label=False)
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32), np.uint8))


def twins(classes=MULTI, **settings):
    torch.manual_seed(0)
    return build_twins(ModelConfig(name="test_resnet", **settings), 4, classes).eval()


@pytest.mark.parametrize("classes", [MULTI, SINGLE])
def test_probabilities_are_the_mean_of_both(classes):
    model = twins(classes)
    with torch.no_grad():
        both = model(IMAGES, apart=True)
        found = predict_batch(model, IMAGES, 2)
        members = [predict_batch(one, IMAGES, 2) for one in (model.first, model.second)]
        mean = sum(one.probabilities(logits) for one, logits in zip((model.first, model.second), both, strict=True)) / 2
        torch.testing.assert_close(model.probabilities(model(IMAGES)), mean)
    assert not torch.allclose(both[0], both[1])
    torch.testing.assert_close(found["probabilities"], (members[0]["probabilities"] + members[1]["probabilities"]) / 2)
    torch.testing.assert_close(found["embeddings"], torch.cat([one["embeddings"] for one in members], dim=1))
    assert found["embeddings"].shape == (2, model.embedding_size)


def test_joint_logits_of_sure_answers_are_finite():
    logits = torch.tensor([[90.0, -90.0, 300.0]])
    for multi_label in (True, False):
        assert joint_logits(logits, logits, multi_label).isfinite().all()
    torch.testing.assert_close(joint_logits(logits[:, :2], logits[:, :2], True), logits[:, :2])


def test_maps_and_head_belong_together():
    model = twins()
    with torch.no_grad():
        maps = class_activation(model, IMAGES)
        both = model(IMAGES, apart=True)
        bias = model.head.bias
        torch.testing.assert_close(maps.mean(dim=(2, 3)) + bias, both.mean(dim=0), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model.head(model.embeddings(IMAGES)), both.mean(dim=0), rtol=1e-4, atol=1e-4)
        logits, activation = model(IMAGES, with_activation=True)
    assert logits.shape == (2, 3)
    torch.testing.assert_close(activation, maps)


def test_weights_are_saved_and_read_as_of_any_model(tmp_path):
    model = twins()
    save_weights(tmp_path / "w.safetensors", model, {})
    torch.manual_seed(9)
    other = build_twins(ModelConfig(name="test_resnet"), 4, MULTI)
    load_weights(tmp_path / "w.safetensors", other)
    with torch.no_grad():
        assert torch.equal(model(IMAGES), other.eval()(IMAGES))


def test_both_learn_and_what_is_frozen_stays_in_evaluation_mode():
    model = twins(freeze="backbone").train()
    assert model.training
    assert model.first.training
    assert not model.second.backbone.training
    model(IMAGES, apart=True).sum().backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {f"{one}.head.{part}" for one in ("first", "second") for part in ("weight", "bias")}
    assert isinstance(model, TwinClassifier)
    assert "two networks" in model.initialisation
