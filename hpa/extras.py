"""Optional dependencies: imported where they are used, and missed with a word on how to get them."""

import importlib
from types import ModuleType


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: name to import, such as `faiss`.
        extra: the extra of this package that installs it.

    Raises:
        ValueError: it is not installed; the message gives the command.

    >>> require("math", "anomaly").pi > 3
    True
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise  # it is there, but something that it needs itself is not
        raise ValueError(
            f"this needs {module}, which is not installed: pip install '.[{extra}]' in the project's folder"
        ) from None
