import numpy as np
import pytest
import torch

from hpa.classification.early_learning import (
    AnswerMemory,
    EarlyLearningConfig,
    early_answers,
    early_learning_penalty,
)
from hpa.training import make_accelerator

ALONE = make_accelerator("no")


def logits_of(seed, count=5, classes=3):
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


def authors_code(logits_by_epoch, decay):
    """`elr_loss` of the authors' repository (shengliu66/ELR), one image after another: the penalties per epoch."""
    targets = torch.zeros(logits_by_epoch[0].shape)
    penalties = []
    for logits in logits_by_epoch:
        prediction = torch.clamp(torch.softmax(logits.float(), dim=1), 1e-4, 1.0 - 1e-4)
        own = prediction.detach()
        targets = decay * targets + (1 - decay) * (own / own.sum(dim=1, keepdim=True))
        penalties.append((1 - (targets * prediction).sum(dim=1)).log())
    return penalties


def test_the_penalty_of_each_epoch_is_the_authors():
    epochs = [logits_of(seed) for seed in range(4)]
    memory = AnswerMemory(5, 3, decay=0.7)
    for epoch, (logits, expected) in enumerate(zip(epochs, authors_code(epochs, 0.7), strict=True)):
        answers = early_answers(logits, multi_label=False)
        remembered, mass = memory.read(torch.arange(5), answers, epoch)
        found = early_learning_penalty(answers, remembered, mass, multi_label=False)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(mass, torch.full((5,), 1 - 0.7 ** (epoch + 1)))


def test_with_several_classes_each_is_a_question_of_two_answers():
    """A class by itself is a softmax over yes and no."""
    epochs = [logits_of(seed) for seed in range(3)]
    memory = AnswerMemory(5, 3, decay=0.6)
    pairs = [AnswerMemory(5, 2, decay=0.6) for _ in range(3)]
    for epoch, logits in enumerate(epochs):
        answers = early_answers(logits, multi_label=True)
        found = early_learning_penalty(answers, *memory.read(torch.arange(5), answers, epoch), multi_label=True)
        expected = torch.zeros(5)
        for number, pair in enumerate(pairs):
            both = early_answers(torch.stack([logits[:, number], torch.zeros(5).double()], dim=1), multi_label=False)
            remembered, mass = pair.read(torch.arange(5), both, epoch)
            expected += early_learning_penalty(both, remembered, mass, multi_label=False) / 3
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("multi_label", [False, True])
def test_it_pulls_towards_what_was_remembered(multi_label):
    logits = torch.zeros(1, 3, requires_grad=True)
    remembered = torch.tensor([[0.9, 0.05, 0.05]])
    answers = early_answers(logits, multi_label)
    early_learning_penalty(answers, remembered, torch.ones(1), multi_label).backward()
    assert logits.grad[0, 0] < 0  # a descent raises the first class's logit
    assert (logits.grad[0, 1:] > 0).all()


@pytest.mark.parametrize("multi_label", [False, True])
def test_it_is_finite_where_network_and_memory_are_sure(multi_label):
    logits = torch.tensor([[500.0, -500.0, -500.0]], requires_grad=True)
    answers = early_answers(logits, multi_label)
    value = early_learning_penalty(answers, answers.detach(), torch.ones(1), multi_label)
    value.sum().backward()
    assert value.isfinite().all()
    assert logits.grad.isfinite().all()


def read_epochs(memory, start, stop, states=None):
    for step in range(start, stop):
        epoch, part = divmod(step, 3)
        index = torch.from_numpy(np.random.default_rng(epoch).permutation(9)[part * 3 : part * 3 + 3])
        answers = early_answers(logits_of(step, count=3), multi_label=True)
        memory.read(index, answers, epoch)
    return memory


@pytest.mark.parametrize("broken_at", [2, 3, 7, 9])
def test_a_memory_taken_up_again_goes_on_with_the_same_bits(broken_at):
    whole = read_epochs(AnswerMemory(9, 3, 0.7), 0, 11).state(ALONE)
    state = read_epochs(AnswerMemory(9, 3, 0.7), 0, broken_at).state(ALONE)
    again = AnswerMemory(9, 3, 0.7)
    again.load_state(state)
    found = read_epochs(again, broken_at, 11).state(ALONE)
    assert whole.keys() == found.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, found[name]), name


def test_an_image_read_twice_counts_with_its_mean_answer_and_one_not_read_keeps_its_memory():
    memory = AnswerMemory(2, 2, decay=0.5)
    for value in (0.2, 0.6):
        memory.read(torch.tensor([0]), torch.tensor([[value, 1 - value]]), 0)
    memory.read(torch.tensor([0]), torch.tensor([[0.0, 0.0]]), 1)
    memory.read(torch.tensor([0]), torch.tensor([[0.0, 0.0]]), 2)
    state = memory.state(ALONE)
    torch.testing.assert_close(state["answers"], torch.tensor([[0.1, 0.15 - 0.0], [0.0, 0.0]]), atol=1e-6, rtol=0)
    assert state["answers_mass"].tolist() == [0.75, 0.0]


def test_the_memory_holds_no_gradient():
    memory = AnswerMemory(2, 3, 0.5)
    answers = early_answers(torch.zeros(2, 3, requires_grad=True), multi_label=True)
    remembered, mass = memory.read(torch.arange(2), answers, 0)
    assert not remembered.requires_grad
    assert not mass.requires_grad


def test_the_usual_strength_depends_on_the_task():
    assert EarlyLearningConfig().factor(multi_label=False) == 3
    assert EarlyLearningConfig().factor(multi_label=True) == 1
    assert EarlyLearningConfig(strength=0.5).factor(multi_label=True) == 0.5


def test_a_memory_of_other_images_is_refused():
    state = AnswerMemory(3, 2, 0.5).state(ALONE)
    with pytest.raises(ValueError, match="run with other images"):
        AnswerMemory(4, 2, 0.5).load_state(state)
    with pytest.raises(ValueError, match="no memory 'answers'"):
        AnswerMemory(3, 2, 0.5).load_state({})
