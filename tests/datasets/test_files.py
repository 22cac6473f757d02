import os

import pytest

from hpa.datasets.files import MissingSourceError, SafeFolder, UnsafePathError, is_safe_id, scan


def test_scan_knows_sizes_and_prefers_lossless_files(tmp_path):
    for name, size in {"a_red.jpg": 3, "a_red.png": 5, "b_red.TIF.GZ": 7, ".hidden.png": 1}.items():
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / "c_red.png").mkdir()
    os.mkfifo(tmp_path / "d_red.png")
    folder = scan(tmp_path, follow_links=False)
    assert folder.sizes == {"a_red.jpg": 3, "a_red.png": 5, "b_red.TIF.GZ": 7}
    assert folder.by_stem == {"a_red": "a_red.png", "b_red": "b_red.TIF.GZ"}


def test_links_out_of_the_folder_are_followed_only_when_asked(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out.png"
    inside.mkdir()
    outside.write_bytes(b"123")
    (inside / "real.png").write_bytes(b"1")
    (inside / "out.png").symlink_to(outside)
    (inside / "fine.png").symlink_to(inside / "real.png")
    assert set(scan(inside, follow_links=False).sizes) == {"real.png", "fine.png"}
    assert scan(inside, follow_links=False).outside == {"out.png"}
    assert set(scan(inside, follow_links=True).sizes) == {"real.png", "fine.png", "out.png"}


def test_a_missing_folder(tmp_path):
    with pytest.raises(MissingSourceError, match=r"no such folder; set source\.folder"):
        scan(tmp_path / "none", follow_links=False)
    (tmp_path / "file").touch()
    with pytest.raises(MissingSourceError, match="is not a folder"):
        scan(tmp_path / "file", follow_links=False)


@pytest.mark.parametrize("text", ["../x", "a/b", "/x", "..", ".", "", "a\\b", "a\0b", "a\nb", "x" * 201])
def test_unsafe_ids(text):
    assert not is_safe_id(text)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "a.png").touch()
    (tmp_path / "secret.png").touch()
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "folder").symlink_to(tmp_path)
    return root


def test_paths_inside_are_found(root):
    safe = SafeFolder(root, follow_links=False)
    assert safe.find("inner/a.png") == root / "inner" / "a.png"
    assert safe.find(str(root / "inner" / "a.png")) == root / "inner" / "a.png"


@pytest.mark.parametrize("text", ["../secret.png", "inner/../../secret.png", "/etc/passwd", "", "a\0b"])
def test_paths_that_lead_out(root, text):
    for follow_links in (False, True):
        with pytest.raises(UnsafePathError):
            SafeFolder(root, follow_links).find(text)


@pytest.mark.parametrize("text", ["link.png", "folder/secret.png"])
def test_links_that_lead_out(root, text):
    with pytest.raises(UnsafePathError, match="follow_links"):
        SafeFolder(root, follow_links=False).find(text)
    assert SafeFolder(root, follow_links=True).find(text) == root / text
