"""Shared fixtures: the folder of real samples, which tests skip without, saying so."""

import os
from pathlib import Path

import pytest

from hpa import progress

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of real samples: `../shared/data` beside the repository, or where HPA_SAMPLE_DATA points."""
    folder = Path(os.environ.get("HPA_SAMPLE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the real samples are not here (set HPA_SAMPLE_DATA)")
    return folder


@pytest.fixture(autouse=True)
def silence():
    """Every test begins with the silent reporter, whatever command ran in this process before it."""
    progress.set_reporter(progress.Silent())
