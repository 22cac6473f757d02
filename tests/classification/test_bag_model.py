import numpy as np
import pytest
import torch

from hpa.classification import ModelConfig, predict_batch
from hpa.classification.bag_model import (
    BagModelConfig,
    bag_loss,
    build_bag_model,
    predict_bag_cells,
)
from hpa.classification.bag_pooling import AttentionPooling, LogSumExpPooling, MeanPooling
from hpa.classification.losses import BinaryLoss, build_loss
from hpa.labels import ClassList

CLASSES = ClassList(names=("a", "b", "Negative"), exclusive="Negative")
POOLINGS = [MeanPooling(), LogSumExpPooling(), AttentionPooling(hidden=8), AttentionPooling(per_class=False)]
IMAGES = torch.randint(0, 256, (3, 4, 4, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
PRESENT = torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])
TARGETS = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 1]])


def build(pooling=POOLINGS[2], classes=CLASSES, **settings):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = BagModelConfig(backbone=ModelConfig(name="test_resnet", dropout=0.5), pooling=pooling, **settings)
    return build_bag_model(config, 4, classes, 32)


@pytest.mark.parametrize("pooling", POOLINGS)
@torch.no_grad()
def test_bags_are_answered_as_if_alone_and_without_padding(pooling):
    model = build(pooling).eval()
    answer = model(IMAGES, PRESENT)
    assert answer.image.shape == (3, 3)
    assert answer.cells.shape == (3, 4, 3)
    for bag in range(3):
        own = IMAGES[bag, PRESENT[bag]][None]
        alone = model(own, torch.ones(own.shape[:2], dtype=torch.bool))
        torch.testing.assert_close(answer.image[bag], alone.image[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(answer.cells[bag, PRESENT[bag]], alone.cells[0], atol=1e-5, rtol=1e-4)
        assert (answer.cells[bag, ~PRESENT[bag]] == 0).all()


def test_padding_does_not_enter_batch_norm():
    """The statistics after a training step are those of the cells that are there, in any place."""
    first, second = build(), build()
    first.train()(IMAGES, PRESENT)
    other = IMAGES.clone()
    other[~PRESENT] = 255
    second.train()(other, PRESENT)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.parametrize("pooling", POOLINGS)
@torch.no_grad()
def test_a_single_cells_classifier_mixes_both_heads(pooling):
    model = build(pooling).eval()
    cells = IMAGES[0]
    ones = model(cells[:, None], torch.ones(4, 1, dtype=torch.bool))
    for share in (0.0, 0.3, 1.0):
        expected = share * ones.image + (1 - share) * ones.cells[:, 0]
        classifier = model.cell_classifier(share)
        torch.testing.assert_close(classifier(cells), expected, atol=1e-5, rtol=1e-4)
        assert not classifier.training
    torch.testing.assert_close(model.cell_classifier()(cells), model.cell_classifier(0.75)(cells))


@torch.no_grad()
def test_a_cell_classifier_is_a_copy():
    model = build().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for parameter in model.cell_classifier().parameters():
        parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("views", [1, 4])
@torch.no_grad()
def test_cells_are_predicted_as_by_their_classifier(views):
    model = build().eval()
    cells = IMAGES.flatten(0, 1)
    found = predict_bag_cells(model, cells, views)
    expected = predict_batch(model.cell_classifier(), cells, views)["probabilities"]
    torch.testing.assert_close(found["probabilities"], expected)
    if views == 1:
        answer = model.answer(model.cells.embeddings(cells))
        torch.testing.assert_close(found["image_logits"], answer.image)
        torch.testing.assert_close(found["evidence"], answer.evidence)
    with pytest.raises(ValueError, match="views, but got 3"):
        predict_bag_cells(model, cells, 3)


@pytest.mark.parametrize("pooling", POOLINGS)
@torch.no_grad()
def test_reduced_precision_stays_close_and_gives_float32(pooling):
    model = build(pooling).eval()
    exact, found = predict_bag_cells(model, IMAGES[0]), model(IMAGES, PRESENT)
    with torch.autocast("cpu", torch.bfloat16):
        rough, answer = predict_bag_cells(model, IMAGES[0]), model(IMAGES, PRESENT)
    assert {value.dtype for value in rough.values()} == {torch.float32}
    for name in ("probabilities", "image_logits"):
        torch.testing.assert_close(rough[name], exact[name], atol=0.05, rtol=0.05)
    torch.testing.assert_close(answer.image.float(), found.image, atol=0.05, rtol=0.05)


def cross_entropy(logits, targets):
    logits, targets = logits.detach().double().numpy(), targets.double().numpy()
    return np.log1p(np.exp(-logits)) * targets + np.log1p(np.exp(logits)) * (1 - targets)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cell_weight", [0.0, 0.1])
def test_the_loss_is_that_of_the_image_and_a_part_of_its_cells(weighted, cell_weight):
    answer = build().eval()(IMAGES, PRESENT)
    weights = torch.tensor([1.0, 0.25, 2.0]) if weighted else None
    loss = bag_loss(build_loss(BinaryLoss(), TARGETS.numpy(), CLASSES), answer, TARGETS, weights, PRESENT, cell_weight)
    expected = 0.0
    for bag in range(3):
        cells = np.mean([cross_entropy(cell, TARGETS[bag]).mean() for cell in answer.cells[bag, PRESENT[bag]]])
        own = cross_entropy(answer.image[bag], TARGETS[bag]).mean() + cell_weight * cells
        expected += own * (1 if weights is None else float(weights[bag])) / 3
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell_weight", [0.0, 0.1])
def test_every_parameter_has_a_gradient_so_that_several_processes_can_train(pooling, cell_weight):
    model = build(pooling, cell_weight=cell_weight, image_share=1.0)
    answer = model(IMAGES, PRESENT)
    bag_loss(build_loss(BinaryLoss(), TARGETS.numpy(), CLASSES), answer, TARGETS, None, PRESENT, cell_weight).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    assert (model.cells.head.weight.grad == 0).all() == (cell_weight == 0)


@torch.no_grad()
def test_one_class_per_image_gives_probabilities_that_sum_to_one():
    model = build(classes=ClassList(names=("a", "b", "c"), multi_label=False)).eval()
    torch.testing.assert_close(predict_bag_cells(model, IMAGES[0])["probabilities"].sum(dim=1), torch.ones(4))


def test_a_bag_without_cells_is_refused():
    nothing = PRESENT.clone()
    nothing[1] = False
    with pytest.raises(ValueError, match="at least one cell in every bag"):
        build()(IMAGES, nothing)


def test_an_untrained_cell_head_may_not_score_cells():
    with pytest.raises(ValueError, match="leaves the cell head untrained; set image_share=1"):
        BagModelConfig(cell_weight=0)
    assert BagModelConfig(cell_weight=0, image_share=1).image_share == 1


def test_what_is_frozen_stays_frozen():
    torch.manual_seed(0)
    config = BagModelConfig(backbone=ModelConfig(name="test_resnet", freeze="backbone"))
    model = build_bag_model(config, 4, CLASSES, 32).train()
    assert not model.cells.backbone.training
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, _ in model.named_parameters() if not name.startswith("cells.backbone.")}


def test_planted_cells_are_found_from_image_labels_alone():
    """One cell of an image decides its label: after training, that cell scores above the others of its image."""
    draws = torch.Generator().manual_seed(1)
    images = torch.randint(0, 60, (24, 4, 4, 32, 32), dtype=torch.uint8, generator=draws)
    targets = torch.zeros(24, 2)
    places = torch.randint(0, 4, (24,), generator=draws)
    for bag in range(24):
        kind = bag % 2
        targets[bag, kind] = 1
        images[bag, places[bag], kind, 8:24, 8:24] = 250
    model = build(LogSumExpPooling(sharpness=2), ClassList(names=("a", "b")))
    loss = build_loss(BinaryLoss(), targets.numpy(), ClassList(names=("a", "b")))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    present = torch.ones(24, 4, dtype=torch.bool)
    for _ in range(15):
        optimizer.zero_grad()
        bag_loss(loss, model.train()(images, present), targets, None, present, 0.1).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        scores = predict_bag_cells(model, images.flatten(0, 1))["probabilities"].unflatten(0, (24, 4))
    best = scores[torch.arange(24), :, torch.arange(24) % 2].argmax(dim=1)
    assert (best == places).float().mean() > 0.9
