import importlib.util
import json
import lzma
import shutil

import numpy as np
import pydantic
import pytest
import torch
from safetensors.torch import save_file

from hpa.segmentation.dpn_unet import DpnUnet, DpnUnetConfig, load_dpn_unet
from hpa.segmentation.hpacellseg import convert_hpacellseg


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def published(sample_data):
    """Folder with a file in hpacellseg's format, its layout and its output."""
    folder = sample_data.parent / "hpacellseg"
    if not (folder / "dpn_unet_module.pth.xz").is_file():
        pytest.skip("hpacellseg's golden files are not here")
    return folder


@pytest.fixture(scope="module")
def formula(published):
    specification = importlib.util.spec_from_file_location("formula", published / "formula.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def converted(published, tmp_path_factory):
    """The pickled module as safetensors."""
    folder = tmp_path_factory.mktemp("dpn_unet")
    with lzma.open(published / "dpn_unet_module.pth.xz") as packed, (folder / "net.pth").open("wb") as stream:
        shutil.copyfileobj(packed, stream, 1 << 24)
    convert_hpacellseg(folder / "net.pth", folder / "net.safetensors")
    (folder / "net.pth").unlink()
    yield folder / "net.safetensors"
    shutil.rmtree(folder)


def meta():
    with torch.device("meta"):
        return DpnUnet()


def test_the_pickled_network_gives_the_golden_output(published, formula, converted):
    network = load_dpn_unet(converted)
    assert not any(module.training for module in network.modules())
    with torch.inference_mode():
        logits = network(torch.from_numpy(formula.golden_input(96, 160)))
    np.testing.assert_allclose(logits, np.load(published / "dpn_unet_golden.npz")["output"], rtol=0, atol=1e-4)


def test_converted_weights_are_those_of_the_formula(published, formula, converted):
    layout = json.loads((published / "dpn_unet_state_dict.json").read_text())
    weights = load_dpn_unet(converted).state_dict()
    assert sorted(weights) == sorted(layout)
    for rank, key in enumerate(sorted(layout)):
        if len(layout[key]) < 4 or rank % 20 == 0:  # all of them would take seconds
            np.testing.assert_array_equal(weights[key], formula.tensor_for(key, tuple(layout[key]), rank))


def test_layout_is_the_published_one(published):
    layout = json.loads((published / "dpn_unet_state_dict.json").read_text())
    assert {name: list(tensor.shape) for name, tensor in meta().state_dict().items()} == layout


def test_output_has_the_inputs_size():
    network = meta()
    for height, width in [(32, 32), (96, 160)]:
        assert network(torch.empty(2, 3, height, width, device="meta")).shape == (2, 3, height, width)


@pytest.mark.parametrize("size", [(31, 32), (32, 48), (432, 432)])
def test_other_sizes_are_errors(size):
    with pytest.raises(ValueError, match="multiples of 32"):
        meta()(torch.empty(1, 3, *size, device="meta"))


def test_files_that_are_not_its_weights_are_errors(tmp_path):
    with pytest.raises(ValueError, match="no such file.*convert-hpacellseg"):
        load_dpn_unet(tmp_path / "a.safetensors")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "a.pth")
    with pytest.raises(ValueError, match="not a readable safetensors file.*convert-hpacellseg"):
        load_dpn_unet(tmp_path / "a.pth")
    save_file({"fc.weight": torch.ones(1), "final.0.bias": torch.ones(4)}, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="not the weights") as caught:
        load_dpn_unet(tmp_path / "b.safetensors")
    assert str(tmp_path / "b.safetensors") in str(caught.value)


def test_half_precision_and_files_of_old_versions_are_taken(monkeypatch, tmp_path):
    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(2)

    monkeypatch.setattr("hpa.segmentation.dpn_unet.DpnUnet", Small)
    state = {name: tensor.half() for name, tensor in Small().state_dict().items() if "num_batches" not in name}
    save_file(state, tmp_path / "old.safetensors")
    found = load_dpn_unet(tmp_path / "old.safetensors").state_dict()
    assert found["norm.weight"].dtype == torch.float32
    assert found["norm.num_batches_tracked"].item() == 0
    save_file(state | {"norm.bias": torch.ones(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"1 tensors do not fit \(norm.bias is \(3,\) instead of \(2,\)\)"):
        load_dpn_unet(tmp_path / "other.safetensors")
    del state["norm.bias"]
    save_file(state | {"extra": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"extra is not of this network; norm.bias is missing"):
        load_dpn_unet(tmp_path / "other.safetensors")


def test_weight_files_are_the_published_names_unless_given(tmp_path):
    nuclei, cells = DpnUnetConfig(folder=tmp_path, download=True, cells_sha256="ab" * 32).weight_files()
    assert (nuclei.path, cells.path) == (
        tmp_path / "dpn_unet_nuclei_v1.safetensors",
        tmp_path / "dpn_unet_cell_3ch_v1.safetensors",
    )
    assert nuclei.download
    assert nuclei.sha256 is None
    assert cells.sha256 == "ab" * 32
    assert nuclei.published == tmp_path / "dpn_unet_nuclei_v1.pth"
    config = DpnUnetConfig(nuclei=tmp_path / "n.safetensors", variant="2ch")
    assert config.weight_files()[0].path == tmp_path / "n.safetensors"
    assert config.weight_files()[1].path.name == "dpn_unet_cell_v2.safetensors"
    assert len(DpnUnetConfig(nuclei_only=True).weight_files()) == 1


@pytest.mark.parametrize("wrong", [{"margin": 20}, {"margin": -32}, {"scale": 0}, {"nuclei_sha256": "ab"}, {"size": 1}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(pydantic.ValidationError):
        DpnUnetConfig(**wrong)
