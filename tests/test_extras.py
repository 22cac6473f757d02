import sys

import pytest

from hpa.extras import require


def test_gives_the_module():
    assert require("json", "anomaly").loads("1") == 1


def test_a_missing_module_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match=r"needs faiss.*pip install '\.\[anomaly\]'"):
        require("faiss", "anomaly")


def test_what_a_module_itself_misses_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import something_that_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="something_that_nobody_has"):
        require("half_installed", "anomaly")
