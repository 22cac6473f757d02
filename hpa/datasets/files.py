"""Files of a data set's folder: finding them fast, and never stepping out of the folder."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hpa.datasets.listing import MissingSourceError

EXTENSIONS = (".png", ".tif.gz", ".tiff.gz", ".tif", ".tiff", ".jpg", ".jpeg", ".png.gz")
"""Known endings, the preferred one first where an image is there in several forms."""


class UnsafePathError(ValueError):
    """A name that leads out of the data set's folder."""


@dataclass(frozen=True)
class Folder:
    """The regular files directly in a folder.

    Attributes:
        path: the folder as given.
        sizes: bytes by file name.
        by_stem: file name by the name without its known ending.
        outside: names of symbolic links that lead out of the folder, left out above.
    """

    path: Path
    sizes: dict[str, int]
    by_stem: dict[str, str]
    outside: frozenset[str]


def scan(path: Path, follow_links: bool, purpose: str = "source.folder") -> Folder:
    """List a folder once.

    Raises:
        MissingSourceError: there is no such folder.
    """
    require_folder(path, purpose)
    root = path.resolve()
    sizes, outside = {}, set()
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and not follow_links and not Path(entry.path).resolve().is_relative_to(root):
                outside.add(entry.name)
            elif entry.is_file():
                sizes[entry.name] = entry.stat().st_size
    by_stem: dict[str, str] = {}
    for name in sorted(sizes, key=_preference):
        by_stem.setdefault(stem(name), name)
    return Folder(path, sizes, by_stem, frozenset(outside))


def require_folder(path: Path, purpose: str = "source.folder") -> None:
    """Raise MissingSourceError when there is no such folder."""
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "there is no such folder"
        raise MissingSourceError(f"{path}: {what}; set {purpose} to the folder that holds the images")


def stem(name: str) -> str:
    """A file name without its ending, if that is one of images.

    >>> stem("a_red.tif.gz"), stem("a.b_red.PNG"), stem("notes.txt")
    ('a_red', 'a.b_red', 'notes.txt')
    """
    ending = _ending(name)
    return name[: -len(ending)] if ending else name


def is_safe_id(image_id: str) -> bool:
    """Whether an image id is a plain file name: nothing in it can lead to another folder.

    >>> is_safe_id("381_C12_2"), is_safe_id("../x"), is_safe_id("/etc/passwd"), is_safe_id("")
    (True, False, False, False)
    """
    return (
        0 < len(image_id) <= 200
        and image_id not in (".", "..")
        and not any(mark in image_id for mark in "/\\\0")
        and image_id.isprintable()
    )


class SafeFolder:
    """Resolves paths that a table names, relative to a root that they may not leave."""

    def __init__(self, root: Path, follow_links: bool) -> None:
        self._root = root
        self._follow_links = follow_links
        self._resolved = root.resolve()
        self._parents: dict[Path, bool] = {}

    def find(self, text: str) -> Path:
        """The path under the root.

        Raises:
            UnsafePathError: it leads out of the root, or is empty.
        """
        if not text or "\0" in text:
            raise UnsafePathError("expected a path, but the cell is empty" if not text else "a path with a zero byte")
        parts = PurePosixPath(text.replace("\\", "/") if os.sep == "\\" else text)
        if ".." in parts.parts:
            raise UnsafePathError(f"{text!r} leads out of {self._root}")
        path = self._root / parts
        if parts.is_absolute() and not path.is_relative_to(self._resolved) and not path.is_relative_to(self._root):
            raise UnsafePathError(f"{text!r} is not inside {self._root}; set source.root to a folder that holds it")
        if not self._follow_links and not self._stays(path):
            raise UnsafePathError(f"{text!r} is a link out of {self._root}; source.follow_links=true allows it")
        return path

    def _stays(self, path: Path) -> bool:
        # Folders are looked at once: resolving every file of a large set would take longer than listing them.
        if path.parent not in self._parents:
            self._parents[path.parent] = path.parent.resolve().is_relative_to(self._resolved)
        return self._parents[path.parent] and (not path.is_symlink() or path.resolve().is_relative_to(self._resolved))


def _ending(name: str) -> str:
    lower = name.lower()
    return next((ending for ending in EXTENSIONS if lower.endswith(ending)), "")


def _preference(name: str) -> tuple[int, str]:
    ending = _ending(name)
    return (EXTENSIONS.index(ending) if ending else len(EXTENSIONS), name)
