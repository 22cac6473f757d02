"""The configuration of a data set, which `index`, `fold`, `cache`, `describe` and training share."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import pydantic

from hpa.config import Config
from hpa.datasets import Chaoyang, ClassFolders, Kaggle2018, Kaggle2021, Npz, Table
from hpa.images import ClaheConfig, Fit
from hpa.parallel import WorkersConfig
from hpa.simulation import SimulationConfig


class SimulatedSource(Config):
    """The simulated atlas, drawn when it is not there yet.

    Attributes:
        simulation: what is drawn, into the folder `simulate` of the data set.
    """

    kind: Literal["simulated"] = "simulated"
    simulation: SimulationConfig = SimulationConfig()


Source: TypeAlias = Annotated[
    SimulatedSource | Kaggle2021 | Kaggle2018 | ClassFolders | Table | Npz | Chaoyang,
    pydantic.Field(discriminator="kind"),
]


class IndexSettings(Config):
    """How images are checked and grouped.

    Attributes:
        duplicate_distance: images whose perceptual hashes differ in at most so many of 64 bits in every channel are
            near duplicates and form a group; `auto` is `hpa.datasets.grouping.usual_distance`, null looks for none.
    """

    duplicate_distance: Literal["auto"] | Annotated[int, pydantic.Field(ge=0, le=31)] | None = "auto"


class FoldSettings(Config):
    """How images are dealt into folds.

    Attributes:
        folds: how many.
        seed: the same seed gives the same folds.
    """

    folds: int = pydantic.Field(default=5, ge=2)
    seed: int = 0


class CacheSettings(Config):
    """How pixels are kept for training.

    Attributes:
        size: side in pixels.
        fit: `stretch` changes the aspect, `pad` fills with 0, `crop` takes the middle.
        clahe: contrast equalised in each channel, before the size changes; None leaves the values as they are.
    """

    size: int = pydantic.Field(default=512, ge=8, le=4096)
    fit: Fit = "stretch"
    clahe: ClaheConfig | None = None


class DatasetConfig(Config):
    """A data set and how it is prepared.

    Attributes:
        out: folder that takes the artifacts `simulate`, `index`, `fold`, `cache-<size>` (with `-clahe` where that is
            on) and `describe`.
        source: where images and labels come from.
        index: how images are checked and grouped.
        fold: how they are dealt into folds.
        cache: how pixels are kept.
        workers: where the work per image runs; decides speed only.
    """

    out: Path = Path("work/demo")
    source: Source = SimulatedSource()
    index: IndexSettings = IndexSettings()
    fold: FoldSettings = FoldSettings()
    cache: CacheSettings = CacheSettings()
    workers: WorkersConfig = WorkersConfig()

    @property
    def simulate_folder(self) -> Path:
        """Artifact of `simulate`, for the simulated source."""
        return self.out / "simulate"

    @property
    def index_folder(self) -> Path:
        """Artifact of `index`."""
        return self.out / "index"

    @property
    def fold_folder(self) -> Path:
        """Artifact of `fold`."""
        return self.out / "fold"

    @property
    def cache_folder(self) -> Path:
        """Artifact of `cache`; each size has its own, with and without CLAHE."""
        return self.out / f"cache-{self.cache.size}{'' if self.cache.clahe is None else '-clahe'}"
