import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from hpa.backbones.weight_files import read_tensors, rename_by_order, strip_prefix

TENSORS = {"stem.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}


def assert_same(found):
    assert set(found) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(found[name], tensor)


def test_safetensors_and_torch_files_give_the_same(tmp_path):
    save_file(TENSORS, tmp_path / "a.safetensors")
    torch.save(TENSORS, tmp_path / "b.pth")
    torch.save(TENSORS, tmp_path / "c.pth", _use_new_zipfile_serialization=False)
    for path in sorted(tmp_path.iterdir()):
        assert_same(read_tensors(path))


def test_the_average_of_a_training_checkpoint_is_preferred_to_its_weights(tmp_path):
    other = {name: tensor + 1 for name, tensor in TENSORS.items()}
    torch.save({"epoch": 3, "state_dict": other, "state_dict_ema": TENSORS}, tmp_path / "a.pth")
    assert_same(read_tensors(tmp_path / "a.pth"))


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("new_format", [True, False])
def test_a_malicious_pickle_is_refused_and_nothing_executed(tmp_path, new_format):
    proof, path = tmp_path / "executed", tmp_path / "evil.pth"
    torch.save({"a": TENSORS["fc.bias"], "b": Malicious(proof)}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(ValueError, match="refused"):
        read_tensors(path)
    assert not proof.exists()
    torch.load(path, weights_only=False)["b"].close()
    assert proof.exists(), "the file is harmless, so that the test proves nothing"


def test_a_plain_malicious_pickle_under_either_name_is_refused(tmp_path):
    proof = tmp_path / "executed"
    for name in ("evil.pth", "evil.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Malicious(proof)))
        with pytest.raises(ValueError, match="evil"):
            read_tensors(tmp_path / name)
    assert not proof.exists()


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 cut off"])
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_damaged_files_are_errors_that_name_the_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        read_tensors(tmp_path / name)


def test_a_cut_torch_file_is_an_error(tmp_path):
    torch.save(TENSORS, tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.pth"):
        read_tensors(tmp_path / "a.pth")


def test_a_zip_of_something_else_and_a_missing_file_are_errors(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(ValueError, match="not a readable"):
        read_tensors(tmp_path / "a.pth")
    with pytest.raises(ValueError, match="there is none"):
        read_tensors(tmp_path / "b.pth")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], torch.ones(2)])
def test_a_file_without_named_tensors_is_an_error(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="state dict"):
        read_tensors(tmp_path / "a.pth")


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.model.", "_orig_mod.module.net."])
def test_any_prefix_is_taken_off(prefix):
    found = {prefix + name: tensor for name, tensor in TENSORS.items()}
    assert_same(strip_prefix(found, TENSORS))


def test_names_outside_the_prefix_stay_and_never_win():
    found = {"backbone." + name: tensor for name, tensor in TENSORS.items()}
    renamed = strip_prefix(found | {"head.weight": torch.zeros(1), "fc.bias": torch.zeros(2)}, TENSORS)
    assert set(renamed) == {*TENSORS, "head.weight"}
    assert torch.equal(renamed["fc.bias"], TENSORS["fc.bias"])


def test_renaming_by_order_needs_the_same_kinds_in_the_same_order():
    renamed = rename_by_order({"x.weight": torch.zeros(2, 3), "y.bias": torch.zeros(7)}, TENSORS)
    assert {name: tuple(tensor.shape) for name, tensor in renamed.items()} == {"stem.weight": (2, 3), "fc.bias": (7,)}
    with pytest.raises(ValueError, match="2 tensors in order, but got 1"):
        rename_by_order({"x.weight": torch.zeros(2, 3)}, TENSORS)
    with pytest.raises(ValueError, match=r"for 'stem.weight', but got 'y.bias'"):
        rename_by_order({"y.bias": torch.zeros(7), "x.weight": torch.zeros(2, 3)}, TENSORS)
    with pytest.raises(ValueError, match="in its place"):
        rename_by_order({"x.weight": torch.zeros(2), "y.bias": torch.zeros(7)}, TENSORS)
