import errno
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from hpa.training import checkpoints
from hpa.training.checkpoints import (
    CheckpointError,
    load_tensors,
    load_weights,
    save_tensors,
    save_weights,
)


def test_tensors_and_json_come_back(tmp_path):
    path = tmp_path / "a.safetensors"
    shared = torch.arange(6.0)
    tensors = {
        "float": torch.randn(2, 3),
        "half": torch.randn(3).bfloat16(),
        "scalar": torch.tensor(4),
        "strided": torch.randn(4, 3).T,
        "channels_last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "tied": shared,
        "tied_too": shared,
        "slice": shared[2:4],
        "empty": torch.zeros(0, 3),
    }
    meta = {"number": 0.1 + 0.2, "text": "β", "none": None, "list": [1, [2]]}
    save_tensors(path, tensors, meta)
    found, found_meta = load_tensors(path)
    assert found_meta == meta
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path, writer):
    victim, path = tmp_path / "victim", tmp_path / "last.safetensors"
    bomb = {"model": Bomb(victim)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(bomb))
    else:
        torch.save(bomb, path)
    with pytest.raises(CheckpointError, match=r"looks like a pickle.*nothing in it was executed"):
        load_weights(path, nn.Linear(1, 1))
    assert not victim.exists()
    if writer == "pickle":
        pickle.loads(path.read_bytes())  # the bomb was a live one
        assert victim.exists()


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "last.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_tensors(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    save_tensors(path, {"a": torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="is damaged"):
        load_tensors(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match="written by hpa"):
        load_tensors(path)


def test_a_header_that_is_no_object_is_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(2)}, metadata={"hpa": "[1]"}))
    with pytest.raises(CheckpointError, match="JSON object"):
        load_tensors(path)


def test_a_missing_file_says_which(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        load_tensors(tmp_path / "none.safetensors")


class FullDisk:
    """A stream that takes some bytes, then has no space."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, content):
        self.stream.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    def __getattr__(self, name):
        return getattr(self.stream, name)


@pytest.fixture
def full_disk(monkeypatch):
    import contextlib

    from hpa.artifacts import atomic_write

    @contextlib.contextmanager
    def full(path, mode="w"):
        with atomic_write(path, mode) as stream:
            yield FullDisk(stream)

    monkeypatch.setattr(checkpoints, "atomic_write", full)


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path, request):
    path = tmp_path / "last.safetensors"
    save_tensors(path, {"a": torch.ones(3)}, {"epoch": 1})
    before = path.read_bytes()
    request.getfixturevalue("full_disk")
    with pytest.raises(
        OSError, match=r"No space left on device.*earlier checkpoint is kept.*last\.safetensors"
    ) as caught:
        save_tensors(path, {"a": torch.zeros(3)}, {"epoch": 2})
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["last.safetensors"]


def test_an_unwritable_folder_passes_through(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        save_tensors(tmp_path / "file" / "last.safetensors", {"a": torch.ones(3)}, {})


def test_weights_come_back_with_their_meta(tmp_path, toy_model):
    model, other = toy_model(), toy_model()
    with torch.no_grad():
        model[0].weight.add_(1)
    save_weights(tmp_path / "best.safetensors", model, {"epoch": 3})
    assert load_weights(tmp_path / "best.safetensors", other) == {"epoch": 3}
    assert all(torch.equal(model.state_dict()[name], value) for name, value in other.state_dict().items())


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        ({"width": 8, "norm": False}, r"0\.weight has shape \(8, 6\), the model's \(4, 6\)"),
        ({"width": 4, "norm": True}, r"1\.running_mean is not in the model"),
    ],
)
def test_weights_of_another_model_are_refused_and_the_model_stays(tmp_path, toy_model, stored, problem):
    model = toy_model(width=4, norm=False)
    save_weights(tmp_path / "a.safetensors", toy_model(**stored), {})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf"a\.safetensors: is of another model: .*{problem}"):
        load_weights(tmp_path / "a.safetensors", model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_missing_weights_are_named_five_at_most(tmp_path, toy_model):
    save_weights(tmp_path / "a.safetensors", nn.Linear(1, 1), {})
    with pytest.raises(CheckpointError, match=r"0\.weight is missing; .* and \d+ more$"):
        load_weights(tmp_path / "a.safetensors", toy_model())


def test_leftovers_of_killed_writes_are_removed_and_nothing_else(tmp_path):
    for name in (".last.safetensors.abc", ".best.safetensors.x1", "last.safetensors", ".other"):
        (tmp_path / name).write_text("")
    checkpoints.remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other", "last.safetensors"]
