import numpy as np
import pytest
import torch

from hpa.classification.model import ModelConfig, build_model
from hpa.classification.tta import VIEWS, predict_batch, view
from hpa.labels import ClassList

IMAGES = torch.randint(0, 256, (3, 4, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=[True, False])
def model(request):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return build_model(
        ModelConfig(name="test_resnet"), 4, ClassList(names=tuple("abc"), multi_label=request.param)
    ).eval()


def test_the_eight_orientations_are_those_of_a_square():
    turned = [np.rot90(IMAGES.numpy(), turns, axes=(2, 3)) for turns in range(4)]
    known = {image.tobytes() for turn in turned for image in (turn, turn[..., ::-1])}
    assert {view(IMAGES, number).numpy().tobytes() for number in range(8)} == known
    assert view(IMAGES, 0) is IMAGES
    assert torch.equal(view(IMAGES, 1), IMAGES.flip(3))


@pytest.mark.parametrize("views", VIEWS)
@torch.no_grad()
def test_answers_are_means_over_orientations(model, views):
    answer = predict_batch(model, IMAGES, views)
    singles = [view(IMAGES, number) for number in range(views)]
    torch.testing.assert_close(
        answer["probabilities"], torch.stack([model.probabilities(model(images)) for images in singles]).mean(dim=0)
    )
    torch.testing.assert_close(
        answer["embeddings"], torch.stack([model.embeddings(images) for images in singles]).mean(dim=0)
    )


@torch.no_grad()
def test_with_eight_views_orientation_has_no_influence(model):
    ours, theirs = predict_batch(model, IMAGES, 8), predict_batch(model, view(IMAGES, 6), 8)
    torch.testing.assert_close(ours["probabilities"], theirs["probabilities"])


@torch.no_grad()
def test_reduced_precision_gives_float32(model):
    with torch.autocast("cpu", torch.bfloat16):
        answer = predict_batch(model, IMAGES, 2)
    assert {value.dtype for value in answer.values()} == {torch.float32}
    torch.testing.assert_close(
        answer["probabilities"], predict_batch(model, IMAGES, 2)["probabilities"], atol=0.05, rtol=0
    )


def test_other_numbers_are_errors(model):
    with pytest.raises(ValueError, match="1, 2, 4, 8 views, but got 3"):
        predict_batch(model, IMAGES, 3)
    with pytest.raises(ValueError, match="0 to 7"):
        view(IMAGES, 8)
