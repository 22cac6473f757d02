import contextlib
import io
import pickle
import pickletools
import struct
import sys
import types
import warnings
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hpa.segmentation.pickle_values import RefusedError
from hpa.segmentation.pickled_modules import find_tensors, read_chunks

NUMPY = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U8": "u1"}
TORCH = {"BF16": torch.bfloat16, "BOOL": torch.bool} | {
    code: getattr(torch, {"f": "float", "i": "int", "u": "uint"}[name[0]] + str(8 * int(name[1])))
    for code, name in NUMPY.items()
}


def saved(value, is_zip=True):
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the legacy format looks for the source text of classes
        torch.save(value, stream, _use_new_zipfile_serialization=is_zip)
    return stream.getvalue()


def read(content):
    """All tensors of a file, by name."""
    stream = io.BytesIO(content)
    found = {}
    for name, tensor in find_tensors(stream).items():
        data = b"".join(read_chunks(stream, tensor))
        assert len(data) == tensor.nbytes
        flat = torch.frombuffer(bytearray(data), dtype=TORCH[tensor.dtype]) if data else torch.empty(0)
        found[name] = flat.reshape(tensor.shape)
    return found


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype or tensor.numel() == 0
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(3)
        self.again = self.conv
        self.block_type = nn.Conv2d
        self.sizes = torch.Size([1, 2])
        self.device = torch.device("cpu")
        self.register_buffer("passing", torch.ones(5), persistent=False)
        self.register_buffer("transposed", torch.arange(6.0, dtype=torch.float16).reshape(2, 3).T)
        self.register_buffer("slice", torch.arange(20)[4:16:3])
        self.register_buffer("nothing", None)
        self.register_parameter("no_bias", None)
        self.register_parameter("scalar", nn.Parameter(torch.tensor(2.0)))
        self.register_buffer("empty", torch.zeros(0, 3))
        self.no_module = None


def network():
    torch.manual_seed(0)
    return nn.Sequential(Block(), nn.ReLU(), nn.ModuleList([nn.Linear(2, 2, bias=False), nn.Upsample(scale_factor=2)]))


@pytest.fixture
def foreign(monkeypatch):
    """A network whose class was importable when it was saved and is not any more."""
    package = types.ModuleType("vanished_package")
    package.Net = type("Net", (Block,), {"__module__": "vanished_package"})
    monkeypatch.setitem(sys.modules, "vanished_package", package)
    model = nn.Sequential(package.Net())
    contents = [saved(model), saved(nn.DataParallel(model)), saved(model, False), saved(nn.DataParallel(model), False)]
    monkeypatch.delitem(sys.modules, "vanished_package")
    return model.state_dict(), contents


@pytest.mark.parametrize("is_zip", [True, False])
def test_modules_have_the_tensors_of_their_own_state_dict(is_zip):
    model = network()
    assert_same(read(saved(model, is_zip)), model.state_dict())


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("wrapped", [nn.DataParallel, lambda model: nn.DataParallel(nn.DataParallel(model))])
def test_data_parallel_is_taken_off(is_zip, wrapped):
    model = network()
    assert_same(read(saved(wrapped(model), is_zip)), model.state_dict())


@pytest.mark.parametrize("is_zip", [True, False])
def test_state_dicts_and_checkpoints_are_taken(is_zip):
    state = network().state_dict()
    assert_same(read(saved(state, is_zip)), state)
    assert_same(read(saved({f"module.{name}": tensor for name, tensor in state.items()}, is_zip)), state)
    assert_same(read(saved({"epoch": 3, "state_dict": state}, is_zip)), state)
    assert_same(read(saved({"epoch": 3, "model": network()}, is_zip)), state)


def test_parameters_may_have_attributes():
    model = nn.Linear(2, 2)
    model.weight.tag = {"decay": False}
    assert_same(read(saved(model)), model.state_dict())


@pytest.mark.parametrize("is_zip", [True, False])
def test_every_type_of_number_keeps_its_bytes(is_zip):
    state = {code: torch.arange(12).reshape(3, 4).to(dtype) for code, dtype in TORCH.items()}
    assert_same(read(saved(state, is_zip)), state)
    views = {f"{code}.T": tensor.T[1:] for code, tensor in state.items()}
    assert_same(read(saved(views, is_zip)), views)


def test_classes_that_cannot_be_imported_are_not_needed(foreign):
    state, contents = foreign
    for content in contents:
        assert_same(read(content), state)
        with pytest.raises(ModuleNotFoundError):
            torch.load(io.BytesIO(content), weights_only=False)


def test_modules_of_old_versions_of_torch_are_read():
    # Before 1.3 every module held a backend, and none knew of buffers that are not saved.
    text = b"X%s%s"

    def word(value):
        return text % (struct.pack("<I", len(value)), value)

    linear = b"ctorch.nn.modules.linear\nLinear\n)\x81}("
    backend = word(b"_backend") + b"ctorch.nn.backends.thnn\n_get_thnn_function_backend\n)R"
    storage = b"(" + word(b"storage") + b"ctorch.cuda\nFloatStorage\n" + word(b"0") + word(b"cuda:0") + b"K\x02tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"K\x00K\x02\x85K\x01\x85tR"
    rest = word(b"_buffers") + b"}" + word(b"_modules") + b"}ub."
    content = linear + backend + word(b"_parameters") + b"}" + word(b"weight") + tensor + b"s" + rest
    assert_same(read(archived(content, {"data/0": struct.pack("<ff", 1, 2)})), {"weight": torch.tensor([1.0, 2.0])})


def archived(content, members=None, compression=zipfile.ZIP_STORED, folder="net"):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr(f"{folder}/data.pkl", content)
        for name, data in (members or {}).items():
            archive.writestr(f"{folder}/{name}", data)
    return stream.getvalue()


class Reduced:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_command_anywhere_in_a_file_is_refused_and_not_run(tmp_path, is_zip):
    proof = tmp_path / "executed"
    attack = Reduced(open, str(proof), "w")
    hidden, as_buffer, as_hook = network(), network(), network()
    hidden[1].note = [attack]
    as_buffer[0]._buffers["transposed"] = attack
    as_hook._forward_hooks[0] = attack
    for value in (hidden, nn.DataParallel(hidden), as_buffer, as_hook, {"a": torch.ones(1), "b": attack}, attack):
        content = saved(value, is_zip)
        with pytest.raises(RefusedError):
            find_tensors(io.BytesIO(content))
        assert not proof.exists()
    torch.load(io.BytesIO(content), weights_only=False).close()
    assert proof.exists(), "the attack is harmless, so that the test proves nothing"


def test_commands_at_other_places_of_a_legacy_file_are_refused(tmp_path):
    proof = tmp_path / "executed"
    attack = pickle.dumps(Reduced(open, str(proof), "w"), 2)
    content = saved({"a": torch.ones(1)}, is_zip=False)
    parts = []
    stream = io.BytesIO(content)
    for _ in range(5):
        start = stream.tell()
        end = start + _length(content[start:])
        parts.append(content[start:end])
        stream.seek(end)
    rest = content[stream.tell() :]
    assert b"".join(parts) + rest == content
    for place in range(5):
        changed = b"".join(attack if index == place else part for index, part in enumerate(parts)) + rest
        with pytest.raises(RefusedError):
            find_tensors(io.BytesIO(changed))
    assert not proof.exists()


def _length(content):
    return max(position for _, _, position in pickletools.genops(content)) + 1


@pytest.mark.parametrize(
    "content", [pickle.dumps([1, 2]), pickle.dumps({"a": 1}), b"", b"PK\x03\x04", b"PK\x03\x04" * 40]
)
def test_other_files_are_errors(content):
    with pytest.raises(ValueError, match="not a file that torch.save wrote"):
        find_tensors(io.BytesIO(content))


@pytest.mark.parametrize("value", [{}, {"epoch": 3}, [torch.ones(2)], nn.ReLU(), torch.ones(2), {"state_dict": {}}])
def test_files_without_named_tensors_are_errors(value):
    with pytest.raises(ValueError, match="there are none"):
        find_tensors(io.BytesIO(saved(value)))


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_cut_anywhere_is_an_error(is_zip):
    content = saved(network(), is_zip)
    for end in range(0, len(content), max(1, len(content) // 50)):
        with pytest.raises(ValueError):  # noqa: PT011 - each place has its own words
            find_tensors(io.BytesIO(content[:end]))


def test_changed_values_in_an_archive_are_found():
    content = bytearray(saved({"a": torch.full((100,), 1.5)}))
    content[content.index(struct.pack("<f", 1.5) * 3)] ^= 1
    with pytest.raises(ValueError, match=r"damaged .*CRC"):
        find_tensors(io.BytesIO(bytes(content)))


def test_archives_that_torch_does_not_write_are_refused():
    pickled = zipfile.ZipFile(io.BytesIO(saved({"a": torch.ones(1)}))).read("archive/data.pkl")
    one = {"data/0": struct.pack("<f", 1)}
    assert read(archived(pickled, one))["a"].item() == 1
    refused = {
        "compressed": archived(pickled, one, zipfile.ZIP_DEFLATED),
        "TorchScript": archived(pickled, one | {"constants.pkl": b""}),
        "more than": archived(b"N" * (5 << 20), one),
    }
    for message, content in refused.items():
        with pytest.raises(RefusedError, match=message):
            find_tensors(io.BytesIO(content))
    damaged = {
        "no member data/0": archived(pickled),
        "not the 1 values": archived(pickled, {"data/0": b"12345678"}),
        "little-endian": archived(pickled, one | {"byteorder": b"big"}),
        "but got 0": archived(pickled, one, folder="a/b"),
        "ittle": archived(pickled, one | {"byteorder": b"little" * 1000}),
    }
    for message, content in damaged.items():
        with pytest.raises(ValueError, match=message):
            find_tensors(io.BytesIO(content))


def test_two_members_of_one_name_are_refused():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("a/data.pkl", b"N.")
        archive.writestr("a/data.pkl", b"N.")
    with pytest.raises(RefusedError, match="same name"):
        find_tensors(stream)
    two = io.BytesIO()
    with zipfile.ZipFile(two, "w") as archive:
        archive.writestr("a/data.pkl", b"N.")
        archive.writestr("b/data.pkl", b"N.")
    with pytest.raises(ValueError, match="but got 2"):
        find_tensors(two)


def test_a_directory_of_members_without_end_is_refused(monkeypatch):
    members = {f"data/{number}": b"" for number in range(2000)}
    monkeypatch.setattr("hpa.segmentation.pickled_modules.CHUNK", 100_000)
    with pytest.raises(RefusedError, match="directory of members"):
        find_tensors(io.BytesIO(archived(b"N.", members)))


def test_members_that_overlap_are_refused():
    keys = [str(number) for number in range(20)]
    state = {key: torch.zeros(50_000) for key in keys}
    stream = io.BytesIO(saved(state))
    with zipfile.ZipFile(stream) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    overlapping = io.BytesIO()
    with zipfile.ZipFile(overlapping, "w") as archive:
        for name, data in members.items():
            if not name.startswith("archive/data/") or name == "archive/data/0":
                archive.writestr(name, data)
        first = archive.getinfo("archive/data/0")
        for key in keys[1:]:
            copy = zipfile.ZipInfo(f"archive/data/{key}")
            copy.header_offset, copy.file_size, copy.compress_size = first.header_offset, 200_000, 200_000
            copy.CRC, copy.flag_bits = first.CRC, first.flag_bits
            archive.filelist.append(copy)
        archive._didModify = True
    with pytest.raises(RefusedError, match="overlap"):
        find_tensors(overlapping)


def changed_tensor(shape, strides, offset=0, values=4):
    """A file with one tensor of any claimed form over a storage of a few values."""

    def number(value):
        return b"\x8a\x08" + struct.pack("<q", value)

    def numbers(values):
        return b"(" + b"".join(map(number, values)) + b"t"

    name = b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + number(values)
    form = number(offset) + numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)R"
    pickled = b"}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((" + name + b"tQ" + form + b"tRs."
    return archived(pickled, {"data/0": struct.pack("<4f", 0, 1, 2, 3)})


def test_tensors_stay_within_their_storage():
    assert read(changed_tensor((2, 2), (1, 2)))["a"].tolist() == [[0, 2], [1, 3]]
    assert read(changed_tensor((2,), (2,), offset=1))["a"].tolist() == [1, 3]
    assert read(changed_tensor((0, 9), (9, 9), offset=4))["a"].shape == (0, 9)
    for shape, strides, offset in [
        ((5,), (1,), 0),
        ((2,), (4,), 0),
        ((4,), (1,), 1),
        ((1,), (1,), 4),
        ((0,), (1,), 5),
        ((1 << 20, 1 << 20), (0, 0), 0),
        ((2, 3), (0, 1), 0),
        ((2,), (-1,), 1),
        ((-1,), (1,), 0),
        ((1,), (1,), -1),
        ((1 << 62,), (1,), 0),
        ((2, 2), (1,), 0),
        ((1,) * 33, (1,) * 33, 0),
    ]:
        with pytest.raises(RefusedError):
            find_tensors(io.BytesIO(changed_tensor(shape, strides, offset)))
    with pytest.raises(ValueError, match="not the 5 values"):
        find_tensors(io.BytesIO(changed_tensor((1,), (1,), values=5)))


def test_a_legacy_storage_beyond_the_file_is_an_error():
    content = saved({"a": torch.ones(3)}, is_zip=False)
    place = content.rindex(struct.pack("<q", 3))
    for numel in (4, 2, -1, 1 << 40, (1 << 63) - 1):
        with pytest.raises(ValueError, match=r"end of the file|not the 3 values"):
            find_tensors(io.BytesIO(content[:place] + struct.pack("<q", numel) + content[place + 8 :]))


def test_trees_without_end_are_refused():
    loop = nn.Sequential(nn.Linear(1, 1))
    loop._modules["loop"] = loop
    with pytest.raises(RefusedError, match="deep"):
        find_tensors(io.BytesIO(saved(loop)))
    doubled = nn.Linear(1, 1)
    for _ in range(40):
        doubled = nn.Sequential(doubled, doubled)
    with pytest.raises(RefusedError, match="more than"):
        find_tensors(io.BytesIO(saved(doubled)))


def test_shared_weights_are_taken_under_both_names_but_not_without_limit():
    weight = nn.Parameter(torch.ones(50_000))
    shared = nn.ParameterList([weight, weight])
    assert_same(read(saved(shared)), shared.state_dict())
    with pytest.raises(RefusedError, match="bytes together"):
        find_tensors(io.BytesIO(saved({str(number): weight.data for number in range(9)})))


def test_parts_of_modules_are_tensors_or_modules():
    for part, value in [("_parameters", "text"), ("_modules", torch.ones(1)), ("_buffers", nn.ReLU()), ("_buffers", 1)]:
        model = nn.Sequential(nn.Linear(1, 1))
        getattr(model, part)["odd"] = value
        with pytest.raises(RefusedError, match="neither a tensor nor a module"):
            find_tensors(io.BytesIO(saved(model)))
    named_twice = nn.Sequential(nn.Linear(1, 1))
    named_twice._parameters["0.weight"] = nn.Parameter(torch.ones(1))
    with pytest.raises(RefusedError, match="two tensors"):
        find_tensors(io.BytesIO(saved(named_twice)))
    for name in (7, "", "a" * 2000):
        odd = nn.Linear(1, 1)
        odd._parameters[name] = nn.Parameter(torch.ones(1))
        with pytest.raises(RefusedError, match="without a name"):
            find_tensors(io.BytesIO(saved(odd)))
    with pytest.raises(RefusedError, match="no text"):
        find_tensors(io.BytesIO(saved({"a\ud800": torch.ones(1)})))
    with pytest.raises(RefusedError, match="too long"):
        find_tensors(io.BytesIO(saved({"a" * 2000: torch.ones(1)})))


ZIP, LEGACY = saved(nn.DataParallel(nn.Linear(2, 1))), saved(nn.Linear(2, 1), is_zip=False)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([ZIP, LEGACY]), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4))
def test_changed_files_are_errors_or_give_tensors(content, changes):
    changed = bytearray(content)
    for place, value in changes:
        changed[int(place * len(changed))] = value
    with contextlib.suppress(ValueError):
        read(bytes(changed))
