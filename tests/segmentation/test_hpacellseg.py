import hashlib
import http.server
import io
import threading
import tracemalloc
import warnings

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from hpa.segmentation import hpacellseg
from hpa.segmentation.hpacellseg import PUBLISHED, WeightFile, convert_hpacellseg, obtain_weights, read_metadata


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Linear(3, 1).half())


def save(value, path, is_zip=True):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the legacy format looks for the source text of classes
        torch.save(value, path, _use_new_zipfile_serialization=is_zip)
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("wrap", [lambda model: model, nn.DataParallel, lambda model: model.state_dict()])
def test_a_converted_file_holds_the_networks_own_state_dict(tmp_path, is_zip, wrap):
    model = network()
    digest = save(wrap(model), tmp_path / "net.pth", is_zip)
    target = tmp_path / "new" / "net.safetensors"
    convert_hpacellseg(tmp_path / "net.pth", target)
    found = load_file(target)
    assert set(found) == set(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert [path.name for path in target.parent.iterdir()] == ["net.safetensors"]
    with safe_open(target, "pt") as opened:
        assert opened.metadata() == {"format": "pt", "source_sha256": digest}
    with target.open("rb") as stream:
        assert read_metadata(stream)["source_sha256"] == digest
    network().load_state_dict(found)


def test_conversion_gives_the_same_bytes_again_and_replaces_a_file(tmp_path):
    save(network(), tmp_path / "net.pth")
    convert_hpacellseg(tmp_path / "net.pth", tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_text("old")
    convert_hpacellseg(tmp_path / "net.pth", tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_refused_file_runs_nothing_and_leaves_the_target_alone(tmp_path, is_zip):
    proof = tmp_path / "executed"
    model = network()
    model.note = Malicious(proof)
    save(model, tmp_path / "evil.pth", is_zip)
    (tmp_path / "out.safetensors").write_text("old")
    with pytest.raises(ValueError, match=r"evil\.pth: cannot be converted, and nothing in it was run: it names"):
        convert_hpacellseg(tmp_path / "evil.pth", tmp_path / "out.safetensors")
    assert not proof.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pth", "out.safetensors"]
    assert (tmp_path / "out.safetensors").read_text() == "old"
    torch.load(tmp_path / "evil.pth", weights_only=False).note.close()
    assert proof.exists(), "the file is harmless, so that the test proves nothing"


def test_sources_that_cannot_be_converted_are_errors(tmp_path):
    with pytest.raises(ValueError, match=r"no such file.*4665863"):
        convert_hpacellseg(tmp_path / "a.pth", tmp_path / "a.safetensors")
    (tmp_path / "a.pth").write_bytes(b"no pickle")
    with pytest.raises(ValueError, match=r"a\.pth: cannot be converted"):
        convert_hpacellseg(tmp_path / "a.pth", tmp_path / "a.safetensors")
    save({"__metadata__": torch.ones(1)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="'__metadata__'"):
        convert_hpacellseg(tmp_path / "a.pth", tmp_path / "a.safetensors")
    save(network(), tmp_path / "b.pth")
    before = (tmp_path / "b.pth").read_bytes()
    with pytest.raises(ValueError, match="another name"):
        convert_hpacellseg(tmp_path / "b.pth", tmp_path / "b.pth")
    assert (tmp_path / "b.pth").read_bytes() == before


def test_a_failing_disk_leaves_no_part_of_the_target(tmp_path, monkeypatch):
    save(network(), tmp_path / "net.pth")

    def fail(stream, tensor):
        yield b"1234"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hpacellseg, "read_chunks", fail)
    with pytest.raises(OSError, match="No space"):
        convert_hpacellseg(tmp_path / "net.pth", tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth"]


@pytest.mark.parametrize("is_zip", [True, False])
def test_memory_is_bounded_by_a_tensor(tmp_path, is_zip):
    megabytes = 8
    tensors = {str(number): torch.zeros(megabytes << 18) for number in range(6)}
    tensors["transposed"] = torch.zeros(1 << 10, megabytes << 8).T
    save(tensors, tmp_path / "net.pth", is_zip)
    tracemalloc.start()
    try:
        convert_hpacellseg(tmp_path / "net.pth", tmp_path / "out.safetensors")
        assert tracemalloc.get_traced_memory()[1] < 3 * megabytes * 1e6  # the transposed tensor is there twice
    finally:
        tracemalloc.stop()
    assert len(load_file(tmp_path / "out.safetensors")) == 7


def files(folder, **options):
    return [
        WeightFile("nuclei", folder / "n.safetensors", **options),
        WeightFile("cells_3ch", folder / "c.safetensors"),
    ]


def test_missing_weights_say_where_they_are_published_and_where_to_put_them(tmp_path):
    with pytest.raises(ValueError, match="not there") as caught:
        obtain_weights(files(tmp_path))
    message = str(caught.value)
    for part in (
        "https://zenodo.org/records/4665863",
        "dpn_unet_nuclei_v1.pth",
        "dpn_unet_cell_3ch_v1.pth",
        f"hpa convert-hpacellseg dpn_unet_nuclei_v1.pth {tmp_path / 'n.safetensors'}",
        f"into {tmp_path}",
        "download=true",
        "watershed",
    ):
        assert part in message
    assert list(tmp_path.iterdir()) == []


def test_a_published_file_beside_is_converted_once(tmp_path):
    digest = save(network(), tmp_path / "dpn_unet_nuclei_v1.pth")
    file = WeightFile("nuclei", tmp_path / "n.safetensors", digest)
    obtain_weights([file])
    (tmp_path / "dpn_unet_nuclei_v1.pth").unlink()
    obtain_weights([file])
    assert set(load_file(file.path)) == set(network().state_dict())


def test_checksums_are_compared_before_anything_is_converted(tmp_path):
    proof = tmp_path / "executed"
    save(Malicious(proof), tmp_path / "dpn_unet_nuclei_v1.pth")
    with pytest.raises(ValueError, match="expected the SHA-256 0000"):
        obtain_weights([WeightFile("nuclei", tmp_path / "n.safetensors", "0" * 64)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dpn_unet_nuclei_v1.pth"]


def test_a_converted_file_is_known_by_its_own_checksum_or_its_sources(tmp_path):
    source = save(network(), tmp_path / "net.pth")
    path = tmp_path / "n.safetensors"
    convert_hpacellseg(tmp_path / "net.pth", path)
    own = hashlib.sha256(path.read_bytes()).hexdigest()
    for digest in (source, own, own.upper(), None):
        obtain_weights([WeightFile("nuclei", path, digest)])
    for content in (path.read_bytes(), b"", b"12345678", b"\x02" + b"\0" * 7 + b"[]", b"\xff" * 20):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"n\.safetensors: expected the SHA-256"):
            obtain_weights([WeightFile("nuclei", path, "1" * 64)])


@pytest.fixture
def server(monkeypatch):
    """A server on this machine in place of Zenodo; `answers` maps a file's name to (status, headers, content)."""
    answers = {}
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            name = self.path.rpartition("/")[2].partition("?")[0]
            status, headers, content = answers.get(name, (404, {}, b""))
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.daemon_threads = False
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(hpacellseg, "RECORD", f"http://127.0.0.1:{found.server_address[1]}/records/4665863")
        found.answers, found.asked = answers, asked
        yield found
        found.shutdown()
        thread.join()


def offered(value, **headers):
    stream = io.BytesIO()
    torch.save(value, stream)
    content = stream.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    return digest, (200, {"Content-Length": str(len(content))} | headers, content)


def test_download_keeps_the_converted_file_alone(tmp_path, server):
    digest, server.answers[PUBLISHED["nuclei"]] = offered(nn.DataParallel(network()))
    file = WeightFile("nuclei", tmp_path / "weights" / "n.safetensors", digest, download=True)
    obtain_weights([file])
    obtain_weights([file])
    assert set(load_file(file.path)) == set(network().state_dict())
    assert [path.name for path in file.path.parent.iterdir()] == ["n.safetensors"]
    assert server.asked == ["/records/4665863/files/dpn_unet_nuclei_v1.pth?download=1"]


def test_nothing_is_asked_for_without_leave(tmp_path, server):
    with pytest.raises(ValueError, match="not there"):
        obtain_weights([WeightFile("nuclei", tmp_path / "n.safetensors")])
    assert server.asked == []


def test_a_failed_download_leaves_nothing(tmp_path, server, monkeypatch):
    proof = tmp_path / "executed"
    folder = tmp_path / "weights"
    _, good = offered(network())
    _, evil = offered(Malicious(proof))
    cases = [
        ((404, {}, b""), None, "404"),
        ((200, {"Content-Length": str(len(good[2]) + 9)}, good[2]), None, "ended after"),
        ((200, {"Content-Length": str(1 << 40)}, b""), None, "more than any"),
        ((200, {}, b"a" * 5000), None, "more than 4000 bytes"),
        ((200, {}, b"<html>"), None, "not a file that torch.save wrote"),
        (evil, "0" * 64, "SHA-256"),
        (evil, None, "nothing in it was run"),
    ]
    for answer, digest, message in cases:
        monkeypatch.setattr(hpacellseg, "MOST_BYTES", 4000 if message == "more than 4000 bytes" else 1 << 30)
        server.answers[PUBLISHED["nuclei"]] = answer
        with pytest.raises(ValueError, match=message):
            obtain_weights([WeightFile("nuclei", folder / "n.safetensors", digest, download=True)])
        assert list(folder.iterdir()) == []
    assert not proof.exists()


def test_a_server_that_is_not_there_is_an_error_with_a_way_out(tmp_path, server):
    server.shutdown()
    server.socket.close()
    with pytest.raises(ValueError, match="cannot be downloaded .*Without a network"):
        obtain_weights([WeightFile("cells_2ch", tmp_path / "c.safetensors", download=True)])
    assert list(tmp_path.iterdir()) == []
