import pytest
import timm
import torch

from hpa.classification.model import ModelConfig, build_model
from hpa.config import ConfigError, validate
from hpa.labels import ClassList

MULTI = ClassList(names=("a", "b", "c"))
SINGLE = ClassList(names=("a", "b", "c"), multi_label=False)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def noise(channels=4, size=64, count=2):
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8)


CONVOLUTIONAL = [
    "test_resnet",
    "test_efficientnet",
    "test_convnext",
    "test_byobnet",
    "test_nfnet",
    "mobilenetv3_small_050",
]


@pytest.mark.parametrize("name", [*CONVOLUTIONAL, "test_mambaout", "resnetv2_18", "densenet121"])
@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_it_is_timms_network_on_normalised_images(name, channels):
    torch.manual_seed(0)
    model = build_model(ModelConfig(name=name, dropout=0.5), channels, MULTI).eval()
    torch.manual_seed(0)
    whole = timm.create_model(name, num_classes=3, in_chans=channels).eval()
    images = noise(channels, 96)
    with torch.no_grad():
        classifier = whole.get_classifier()
        classifier.weight.copy_(model.head.weight.reshape(classifier.weight.shape))
        classifier.bias.zero_()
        logits, embeddings = model(images), model.embeddings(images)
        assert logits.std() > 0
        torch.testing.assert_close(logits, whole(model.normalize(images)))
        torch.testing.assert_close(logits, model.logits(embeddings))
    assert embeddings.shape == (2, model.embedding_size)


@pytest.mark.parametrize("pooling", ["avg", "max", "avgmax", "catavgmax", "gem"])
@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet"])
def test_every_pooling_gives_features_of_the_heads_size_at_any_image_size(name, pooling):
    model = build_model(ModelConfig(name=name, pooling=pooling), 4, MULTI).eval()
    for size in (64, 100):
        assert model.embeddings(noise(size=size)).shape == (2, model.embedding_size)
    features = model.forward_features(noise())
    if pooling == "max":
        torch.testing.assert_close(model.pool(features), features.amax(dim=(2, 3)))
    assert features.ndim == 4


def test_normalisation_is_that_of_the_pretrained_weights():
    images = noise(3)
    lite = build_model(ModelConfig(), 3, MULTI)
    torch.testing.assert_close(lite.normalize(images), (images.float() - 127) / 128)
    resnet = build_model(ModelConfig(name="resnet18"), 3, MULTI)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(
        resnet.normalize(images), (images / 255 - mean[:, None, None]) / std[:, None, None], rtol=1e-4, atol=1e-5
    )
    yellow = build_model(ModelConfig(name="resnet18"), 4, MULTI)
    assert yellow.mean[3] == pytest.approx((0.485 + 0.456) / 2 * 255)
    assert yellow.std[3] == pytest.approx((0.229 + 0.224) / 2 * 255)


def test_float_images_normalise_alike_and_have_a_gradient():
    model = build_model(ModelConfig(name="test_resnet"), 4, MULTI).eval()
    images = noise()
    pixels = images.float().requires_grad_()
    torch.testing.assert_close(model.normalize(pixels), model.normalize(images))
    model(pixels).sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0


def test_images_are_not_changed():
    model = build_model(ModelConfig(name="test_resnet"), 4, MULTI).eval()
    images = noise()
    before = images.clone()
    model(images)
    assert torch.equal(images, before)


def test_probabilities_follow_the_class_list():
    logits = torch.tensor([[1.0, -2.0, 0.5]])
    multi = build_model(ModelConfig(name="test_resnet"), 4, MULTI).probabilities(logits)
    single = build_model(ModelConfig(name="test_resnet"), 4, SINGLE).probabilities(logits)
    torch.testing.assert_close(multi, 1 / (1 + torch.exp(-logits)))
    torch.testing.assert_close(single, logits.exp() / logits.exp().sum())


def test_its_state_holds_everything_that_decides_its_answers():
    first = build_model(ModelConfig(name="test_resnet", pooling="gem"), 4, MULTI).eval()
    second = build_model(ModelConfig(name="test_resnet", pooling="gem"), 4, MULTI).eval()
    second.load_state_dict(first.state_dict())
    images = noise()
    assert torch.equal(first(images), second(images))
    assert {name.partition(".")[0] for name in first.state_dict()} == {"backbone", "head", "mean", "std"}


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_checkpointing_leaves_the_gradient_alone(name):
    torch.manual_seed(0)
    plain = build_model(ModelConfig(name=name, dropout=0), 4, MULTI)
    saving = build_model(ModelConfig(name=name, dropout=0, gradient_checkpointing=True), 4, MULTI)
    saving.load_state_dict(plain.state_dict())
    images = noise()
    for model in (plain, saving):
        model.train()(images).square().sum().backward()
    for ours, theirs in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_frozen_backbone_neither_learns_nor_counts():
    model = build_model(ModelConfig(name="test_efficientnet", freeze="backbone", dropout=0), 4, MULTI).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(noise()).square().sum().backward()
    optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"head.weight", "head.bias"}


def test_frozen_batch_norms_stay_while_the_rest_learns():
    model = build_model(ModelConfig(name="test_resnet", freeze="batch_norm"), 4, MULTI).train()
    norms = {name for name, module in model.named_modules() if isinstance(module, torch.nn.BatchNorm2d)}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(noise()).square().sum().backward()
    optimizer.step()
    changed = {
        name.rpartition(".")[0] for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert norms
    assert not changed & norms
    assert any(name.startswith("backbone") for name in changed)


def test_dropout_and_drop_path_act_in_training_only():
    model = build_model(ModelConfig(name="test_resnet", dropout=0.5, drop_path=0.5), 4, MULTI)
    images = noise(count=8)
    assert torch.equal(model.eval()(images), model(images))
    model.backbone.eval()
    model.dropout.train()
    assert not torch.equal(model(images), model(images))
    assert any(type(module).__name__ == "DropPath" for module in model.backbone.modules())


def test_a_network_of_fixed_size_is_built_for_the_images_or_refuses_them():
    model = build_model(ModelConfig(name="test_vit"), 4, MULTI, image_size=96).eval()
    assert model(noise(size=96)).shape == (2, 3)
    with pytest.raises(ValueError, match="96 × 96 pixels only"):
        model(noise(size=64))
    own = build_model(ModelConfig(name="test_vit"), 4, MULTI)
    assert own.fixed_size == 160
    assert build_model(ModelConfig(name="test_maxvit"), 3, MULTI, image_size=96).eval()(noise(3, 96)).shape == (2, 3)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"name": "test_vit", "pooling": "catavgmax"}, "test_vit cannot be built with"),
        ({"name": "test_vit", "pooling": "gem"}, "convolutional"),
        ({"name": "densenet121", "drop_path": 0.1}, "drop_path_rate"),
        ({"name": "inception_v3", "gradient_checkpointing": True}, "no gradient checkpointing"),
        ({"name": "levit_128"}, "not linear"),
    ],
)
def test_what_a_backbone_does_not_have_is_an_error(settings, problem):
    with pytest.raises(ValueError, match=problem):
        build_model(ModelConfig(**settings), 3, MULTI)


def test_a_size_that_a_network_cannot_have_is_an_error():
    with pytest.raises(ValueError, match="test_maxvit cannot take images of 97 × 97"):
        build_model(ModelConfig(name="test_maxvit"), 3, MULTI, image_size=97)


def test_another_number_of_channels_is_an_error():
    with pytest.raises(ValueError, match="expected images with 4 channels"):
        build_model(ModelConfig(name="test_resnet"), 4, MULTI)(noise(3))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("efficientnet_lit0", "'efficientnet_lite0'"),
        ("resnet_50", "'resnet50'"),
        ("tf_efficientnet_b7.nonsense", "ns_jft_in1k"),
        ("hf-hub:somebody/model", "expected one of timm's models"),
        ("", "expected one of timm's models"),
    ],
)
def test_an_unknown_backbone_gives_close_names(name, hint):
    with pytest.raises(ConfigError, match=hint) as caught:
        validate(ModelConfig, {"name": name})
    assert caught.value.problems[0].startswith("name: ")


def test_a_tag_chooses_the_normalisation_of_its_weights():
    clip = build_model(ModelConfig(name="convnext_atto.d2_in1k"), 3, MULTI)
    assert clip.mean[0] == pytest.approx(timm.get_pretrained_cfg("convnext_atto.d2_in1k").mean[0] * 255)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_vit"])
@pytest.mark.parametrize("classes", [SINGLE, ClassList(names=tuple(map(str, range(19))))])
def test_a_new_network_begins_without_an_opinion(name, classes):
    model = build_model(ModelConfig(name=name), 4, classes, 160)
    assert 0.005 < float(model.head.weight.detach().std()) < 0.015, "timm's own would be up to 0.6"
    assert not model.head.bias.any()
