"""Artifacts: folders with a record of what made them, built aside and renamed when whole; atomic writes of files."""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any

import pydantic

from hpa.config import Config

RECORD = "record.json"
PARTIAL = ".partial"
LOCK = ".lock"


class Record(Config):
    """What an artifact was made from.

    Attributes:
        stage: the command's name.
        config: the resolved configuration, as far as it decides the content.
        inputs: fingerprint of each input's record, by the input's name; provenance chains through them.
        made_by: versions that made it; kept for the reader and left out of every comparison.
    """

    stage: str
    config: dict[str, Any]
    inputs: dict[str, str] = pydantic.Field(default_factory=dict)
    made_by: dict[str, str] = pydantic.Field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of stage, configuration and inputs."""
        return fingerprint({"stage": self.stage, "config": self.config, "inputs": self.inputs})


class ArtifactError(ValueError):
    """An artifact that is missing, made from something else, or in use."""


def fingerprint(value: Any) -> str:
    """SHA-256 (hex) of a JSON-like value, independent of the order of keys.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def make_record(stage: str, config: Mapping[str, Any], inputs: Mapping[str, str] | None = None) -> Record:
    """The record of a stage about to run; `config` maps section names to models or plain values."""
    plain = {
        key: value.model_dump(mode="json") if isinstance(value, pydantic.BaseModel) else value
        for key, value in config.items()
    }
    return Record(
        stage=stage,
        config=json.loads(json.dumps(plain, default=str)),
        inputs=dict(inputs or {}),
        made_by=_made_by(),
    )


@cache
def _made_by() -> dict[str, str]:
    versions = {}
    for name in ("hpa-localization", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        here = Path(__file__).parent
        commit = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        versions["commit"] = commit.stdout.strip()
    return versions


def read_record(folder: Path, stage: str) -> Record:
    """The record of a finished artifact.

    Raises:
        ArtifactError: no finished artifact of that stage there; says which command makes it.
    """
    path = folder / RECORD
    if not path.is_file():
        unfinished = " (an unfinished one is there)" if partial_folder(folder).is_dir() else ""
        raise ArtifactError(f"{folder}: no finished artifact{unfinished}; `hpa {stage}` makes it")
    record = _load_record(path)
    if record.stage != stage:
        raise ArtifactError(f"{folder}: expected an artifact of `hpa {stage}`, but `hpa {record.stage}` made it")
    return record


def is_finished(folder: Path, record: Record) -> bool:
    """Whether the artifact stands, made from the same record.

    Raises:
        ArtifactError: something else stands there; names what differs.
    """
    if not folder.exists():
        return False
    path = folder / RECORD
    if not path.is_file():
        if folder.is_dir() and not any(folder.iterdir()):
            return False
        raise ArtifactError(f"{folder}: exists but was not made by hpa; give another output folder")
    _require_same(folder, _load_record(path), record)
    return True


@contextlib.contextmanager
def build(folder: Path, record: Record) -> Iterator[Path]:
    """Give `<folder>.partial` to work in, and rename it to `folder` when the block ends without an error.

    A killed or failed build leaves its partial folder; the next call with the same record gets it again and goes on.
    A build that fails before it wrote a file, as a request refused at once does, leaves nothing; what one killed so
    early leaves holds nobody up.

    Raises:
        ArtifactError: unfinished work with another record is there, or another process is building it.
        OSError: the folder cannot be written.
    """
    partial = partial_folder(folder)
    partial.mkdir(parents=True, exist_ok=True)
    lock_path = partial / LOCK
    with lock_path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArtifactError(f"{folder}: another process is making it; wait for it or stop it") from None
        if (partial / RECORD).is_file() and _is_begun(partial):
            _require_same(partial, _load_record(partial / RECORD), record)
        write_json(partial / RECORD, record.model_dump(mode="json"))
        try:
            yield partial
        except BaseException:
            if not _is_begun(partial):
                shutil.rmtree(partial)
            raise
        lock_path.unlink()
        if folder.is_dir():
            folder.rmdir()
        partial.rename(folder)


def partial_folder(folder: Path) -> Path:
    """Where an artifact is built before it is renamed to `folder`."""
    return folder.with_name(folder.name + PARTIAL)


def _is_begun(partial: Path) -> bool:
    """Whether a partial folder holds a file of the artifact's own."""
    own = (partial / RECORD, partial / LOCK)
    return any(path not in own and not path.is_dir() for path in partial.rglob("*"))


def _load_record(path: Path) -> Record:
    try:
        return Record.model_validate_json(path.read_text(encoding="utf-8"))
    except (pydantic.ValidationError, UnicodeDecodeError):
        raise ArtifactError(f"{path}: is not a record; the artifact is damaged, remove {path.parent}") from None


def _require_same(folder: Path, found: Record, expected: Record) -> None:
    if found.fingerprint == expected.fingerprint:
        return
    differences = _differences(
        {"stage": found.stage, **found.config, "inputs": found.inputs},
        {"stage": expected.stage, **expected.config, "inputs": expected.inputs},
    )
    raise ArtifactError(
        "\n".join(
            [
                f"{folder}: was made from something else; give another output folder or remove it. It differs in",
                *(f"  {line}" for line in differences[:20]),
                *([f"  and {len(differences) - 20} more"] if len(differences) > 20 else []),
            ]
        )
    )


def _differences(found: Any, expected: Any, path: str = "") -> list[str]:
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = sorted(found.keys() | expected.keys())
        nothing = "nothing"
        return [
            line
            for key in keys
            for line in _differences(found.get(key, nothing), expected.get(key, nothing), f"{path}.{key}".lstrip("."))
        ]
    return [] if found == expected else [f"{path}: there {found!r}, now {expected!r}"]


@contextlib.contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that replaces it when the block ends without an error.

    Raises:
        OSError: the folder cannot be written or the disk is full; `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    encoding = None if "b" in mode else "utf-8"
    with tempfile.NamedTemporaryFile(
        mode, encoding=encoding, dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as stream:
        try:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            os.chmod(stream.name, 0o666 & ~_umask())  # noqa: PTH101 - NamedTemporaryFile's own mode is 0600
            Path(stream.name).replace(path)
        except BaseException:
            Path(stream.name).unlink(missing_ok=True)
            raise


@cache
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file atomically."""
    with atomic_write(path) as stream:
        stream.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented; NaN is refused, as JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, default=str) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: the file is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is not JSON ({error})") from None


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """Refuse work that the disk cannot hold.

    Args:
        folder: where the work will be written (it need not exist yet).
        needed: bytes.
        purpose: what needs them, for the error.

    Raises:
        ArtifactError: less than `needed` plus 5 % is free.
    """
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed * 1.05:
        raise ArtifactError(
            f"{purpose} needs {needed / 1e9:.2f} GB, but {folder} has {free / 1e9:.2f} GB free; "
            "free some space or choose another output folder"
        )
