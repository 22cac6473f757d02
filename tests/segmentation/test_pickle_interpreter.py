import contextlib
import io
import os
import pickle
import sys
import time
from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.segmentation.pickle_interpreter import MOST_PICKLE_BYTES, Interpreter
from hpa.segmentation.pickle_values import RefusedError

EVENTS = []
WATCHED = ("import", "exec", "compile", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "open")


def _watch(event, arguments):
    if EVENTS and (event in WATCHED or event.startswith("pickle")):
        EVENTS.append((event, arguments))


sys.addaudithook(_watch)
# The disassembler decodes texts with these, which Python imports at their first use.
for codec in ("raw_unicode_escape", "unicode_escape", "latin-1", "ascii"):
    b"a".decode(codec)


def run(content):
    """The value of a pickle; nothing may have been imported, opened or run meanwhile."""
    EVENTS.append("watching")
    try:
        return Interpreter().run(io.BytesIO(content))
    finally:
        found = EVENTS[1:]
        EVENTS.clear()
        assert not found


PLAIN = {
    "none": None,
    "numbers": [True, False, 0, 255, 256, 70000, -1, 1 << 40, -(1 << 200), 1.5],
    "text": ("a", "ä" * 300, "", b"bytes", b"b" * 300),
    "nested": [[], (), {}, [[1], {"a": (1, 2, 3, 4)}], {7: "seven"}],
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_come_as_they_are(protocol):
    value = PLAIN if protocol > 2 else PLAIN | {"text": ("a", "ä" * 300)}  # 2 has no bytes
    assert run(pickle.dumps(value, protocol)) == value


def test_text_protocols_are_read_as_well():
    value = {"a": [1, 2.5, "text", None, True, (1,)]}
    assert run(pickle.dumps(value, 0)) == value
    assert run(pickle.dumps(value, 1)) == value


@pytest.mark.parametrize("protocol", [2, 4])
def test_dictionaries_sets_and_sizes_keep_their_content(protocol):
    value = {"order": OrderedDict(b=1, a=2), "set": {"x", "y"}, "size": torch.Size([2, 3]), "cpu": torch.device("cpu")}
    found = run(pickle.dumps(value, protocol))
    assert list(found["order"].items()) == [("b", 1), ("a", 2)]
    assert set(found["set"]) == {"x", "y"}
    assert found["size"] == (2, 3)
    assert found["cpu"] is None


def test_a_value_may_contain_itself():
    value = []
    value.append(value)
    found = run(pickle.dumps(value))
    assert found[0] is found


class Reduced:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def test_commands_are_refused_and_not_run(tmp_path):
    proof = tmp_path / "executed"
    attacks = [
        Reduced(os.system, f"touch {proof}"),
        Reduced(eval, f"open({str(proof)!r}, 'w').close()"),
        Reduced(exec, f"open({str(proof)!r}, 'w').close()"),
        Reduced(open, str(proof), "w"),
    ]
    for attack in attacks:
        for protocol in range(6):
            content = pickle.dumps({"weight": [attack]}, protocol)
            with pytest.raises(RefusedError, match=r"names|calls"):
                run(content)
            assert not proof.exists()
        opened = pickle.loads(content)["weight"][0]
        assert proof.exists(), "the attack is harmless, so that the test proves nothing"
        proof.unlink()
        if hasattr(opened, "close"):
            opened.close()


def named(module, name):
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


STATE = b"}(X\x0b\x00\x00\x00_parameters}X\x08\x00\x00\x00_buffers}X\x08\x00\x00\x00_modules}u"
NET = named("net", "Net")
ATTACKS = {
    "call of a third party": named("torch.hub", "load") + b"X\x01\x00\x00\x00a\x85R.",
    "call that unpickles": named("torch.storage", "_load_from_bytes") + b"C\x00\x85R.",
    "call of torch.load": named("torch", "load") + b"X\x01\x00\x00\x00a\x85R.",
    "call of an unknown class": NET + b")R.",
    "getattr": named("builtins", "getattr") + NET + b"X\x01\x00\x00\x00a\x86R.",
    "getattr of Python 2": named("__builtin__", "getattr") + b".",
    "attribute of a known name": named("collections", "OrderedDict.__init__") + b".",
    "attribute of a known name, on the stack": b"\x8c\x0bcollections" + b"\x8c\x1fOrderedDict.__class__.__bases__\x93.",
    "attribute of a known function": named("torch._utils", "_rebuild_tensor_v2.__globals__") + b".",
    "bare name": b"}X\x01\x00\x00\x00a" + named("os", "system") + b"s.",
    "bare name of a third party": b"}X\x01\x00\x00\x00a" + named("torch.hub", "load") + b"s.",
    "bare name in a module": NET + b")\x81" + STATE[:-1] + b"X\x01\x00\x00\x00a" + named("torch.hub", "load") + b"ub.",
    "module of Python's own class": named("os", "_wrap_close") + b")\x81" + STATE + b"b.",
    "object with arguments": NET + b"K\x01\x85\x81.",
    "object with keywords": b"\x80\x04" + NET + b")}\x92.",
    "object of a known function": named("torch._utils", "_rebuild_tensor_v2") + b")\x81.",
    "object of a text": b"X\x03\x00\x00\x00net)\x81.",
    "object that is never built": NET + b")\x81.",
    "object built with a tuple": NET + b")\x81" + b"N" + STATE + b"\x86b.",
    "object built without modules": NET + b")\x81}b.",
    "object built with a list of modules": NET + b")\x81" + STATE.replace(b"_modules}", b"_modules]") + b"b.",
    "object built twice": NET + b")\x81" + STATE + b"b" + STATE + b"b.",
    "attributes of a name": NET + STATE + b"b.",
    "attributes of a list": b"]" + STATE + b"b.",
    "attributes of a dictionary in slots": b"}N}\x86b.",
    "instance by INST": b"(inet\nNet\n.",
    "instance by OBJ": b"(" + NET + b"o.",
    "extension registry": b"\x82\x01.",
    "external buffer": b"\x80\x05\x97.",
    "persistent text": b"Pstorage\n.",
    "persistent list": b"]Q.",
    "persistent of nothing": b")Q.",
    "persistent of another kind": b"X\x04\x00\x00\x00file\x85Q.",
    "module without a class": b"(X\x06\x00\x00\x00moduleK\x01NNtQ.",
    "storage of another type": b"(X\x07\x00\x00\x00storage" + named("torch", "load") + b"X\x01\x00\x00\x000NK\x01tQ.",
    "storage of an unknown type": b"(X\x07\x00\x00\x00storage" + named("torch", "UntypedStorage") + b"NNK\x01tQ.",
    "storage without a key": b"(X\x07\x00\x00\x00storage" + named("torch", "FloatStorage") + b"NNK\x01tQ.",
    "storage of negative length": b"(X\x07\x00\x00\x00storage"
    + named("torch", "FloatStorage")
    + b"X\x01\x00\x00\x000NJ\xff\xff\xff\xfftQ.",
    "dictionary with costly keys": b"}))\x86K\x01s.",
    "set with costly elements": b"\x80\x04\x8f())\x86\x90.",
    "set of a dictionary": named("__builtin__", "set") + b"}\x85R.",
    "dictionary of a list": named("collections", "OrderedDict") + b"]\x85R.",
    "call without arguments": named("torch", "Size") + b")R.",
    "call with a list": named("collections", "OrderedDict") + b"]R.",
    "size of text": named("torch", "Size") + b"X\x01\x00\x00\x00a\x85\x85R.",
    "call of a text": b"X\x02\x00\x00\x00os)R.",
    "name of a number": b"\x80\x04K\x01K\x02\x93.",
    "append to a dictionary": b"}K\x01a.",
    "set items of a list": b"]K\x01K\x02s.",
    "add to a list": b"\x80\x04](K\x01\x90.",
    "tensor of nothing": named("torch._utils", "_rebuild_tensor_v2") + b"(NK\x00))\x89}tR.",
    "parameter of nothing": named("torch._utils", "_rebuild_parameter") + b"(N\x89}tR.",
}


@pytest.mark.parametrize("content", ATTACKS.values(), ids=ATTACKS.keys())
def test_what_files_of_tensors_do_not_need_is_refused(content):
    with pytest.raises(RefusedError, match=r"^it "):
        run(content)


def test_a_module_built_as_modules_are_is_noted_and_its_class_not_looked_up(tmp_path, monkeypatch):
    (tmp_path / "planted_package.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()\nclass Net: pass")
    monkeypatch.syspath_prepend(tmp_path)
    content = named("planted_package", "Net") + b")\x81" + STATE + b"b."
    assert run(content).state == {"_parameters": {}, "_buffers": {}, "_modules": {}}
    assert "planted_package" not in sys.modules
    assert not (tmp_path / "executed").exists()
    pickle.loads(content)
    assert (tmp_path / "executed").exists(), "the attack is harmless, so that the test proves nothing"


def test_the_class_of_a_module_may_stand_as_a_value():
    content = NET + b"q\x00)\x81" + STATE[:-1] + b"X\x05\x00\x00\x00blockh\x00ub."
    assert str(run(content).state["block"]) == "net.Net"


DAMAGED = [
    b"", b".", b"N", b"NN.", b"(N.", b"0.", b"h\x07.", b"(K\x01d.", b"}(K\x01u.", b"t.", b"\xff", b"X\xff\xff\xff\xff.",
    b"K", b"S'a\n.", b"I1e\n.", b"L" + b"9" * 5000 + b"L\n.", b"cos\n", b"\x8e" + b"\xff" * 8 + b".", b"q\x00.",
]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_pickles_are_errors(content):
    with pytest.raises(ValueError):  # noqa: PT011 - the disassembler's own words
        run(content)


def test_messages_hold_no_control_characters():
    with pytest.raises(RefusedError) as caught:
        run(named("evil\x1b[2J", "x" * 1000) + b")R.")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_pickles_that_are_too_large_are_refused(monkeypatch):
    for content in (
        b"\x8d" + (MOST_PICKLE_BYTES + 10).to_bytes(8, "little") + b"a" * (MOST_PICKLE_BYTES + 20),
        b"V" + b"a" * (MOST_PICKLE_BYTES + 20),
    ):
        with pytest.raises(RefusedError, match="more than"):
            run(content)
    monkeypatch.setattr("hpa.segmentation.pickle_interpreter.MOST_PICKLE_BYTES", 1000)
    run(b"N0" * 499 + b"N.")
    with pytest.raises(RefusedError, match="more than 1000"):
        run(b"N" * 1001)


def test_deep_and_repeated_values_cost_no_more_than_they_take():
    start = time.perf_counter()
    run(b"]" * 10_000 + b"a" * 9_999 + b".")
    leaves = b")q\x000" + b"h\x00h\x00\x86q\x000" * 60  # a tuple of 2^60 leaves, in a few bytes
    found = run(leaves + b"h\x00.")
    assert found[0] is found[1]
    with pytest.raises(RefusedError, match="key"):
        run(leaves + b"}h\x00K\x01s.")
    with pytest.raises(RefusedError, match="unusual"):
        run(leaves + named("torch", "Size") + b"h\x00R.")
    with pytest.raises(RefusedError, match="size"):
        run(leaves + named("torch", "Size") + b"h\x00\x85R.")
    with pytest.raises(RefusedError, match="form"):
        run(leaves + named("torch._utils", "_rebuild_tensor") + b"(h\x00h\x00h\x00h\x00tR.")
    assert time.perf_counter() - start < 20


OPCODES = [
    b"N", b"\x88", b"K\x01", b"X\x01\x00\x00\x00a", b"]", b")", b"}", b"\x8f", b"(", b"0", b"1", b"q\x00", b"q\x01",
    b"h\x00", b"h\x01", b"\x94", b"t", b"\x85", b"\x86", b"\x87", b"l", b"a", b"e", b"d", b"s", b"u", b"\x90", b"\x93",
    b"Q", b"\x81", b"R", b"b", b"o", b"\x92", b"2", STATE, NET, named("os", "system"), named("builtins", "eval"),
    named("collections", "OrderedDict"), named("torch._utils", "_rebuild_tensor_v2"), named("torch", "FloatStorage"),
    named("__builtin__", "set"), b"\x8c\x02os", b"\x8c\x06system", b"X\x07\x00\x00\x00storage",
    b"X\x06\x00\x00\x00module",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(OPCODES), max_size=40))
def test_no_sequence_of_instructions_does_anything(parts):
    with contextlib.suppress(ValueError):
        run(b"".join(parts) + b".")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_do_anything(content):
    with contextlib.suppress(ValueError):
        run(content + b".")
