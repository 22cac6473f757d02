import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpa.classification.margins import class_margins, mean_margins


@given(seed=st.integers(0, 100), classes=st.integers(2, 5))
def test_of_a_softmax_it_is_the_logit_less_the_greatest_other(seed, classes):
    logits = torch.randint(-3, 4, (6, classes), generator=torch.Generator().manual_seed(seed)).double()
    found = class_margins(logits, multi_label=False)
    for row, margins in zip(logits.tolist(), found.tolist(), strict=True):
        for number, margin in enumerate(margins):
            assert margin == row[number] - max(row[:number] + row[number + 1 :])


def test_of_several_classes_it_is_the_logit_in_float32():
    logits = torch.randn(3, 4, dtype=torch.float64)
    assert torch.equal(class_margins(logits, multi_label=True), logits.float())


def test_images_never_read_have_no_margin():
    found = mean_margins(np.array([[3.0, -6.0], [0.0, 0.0]]), np.array([3, 0]))
    assert found.dtype == np.float32
    assert found[0].tolist() == [1, -2]
    assert np.isnan(found[1]).all()
    assert found[0, 0] == pytest.approx(1)
