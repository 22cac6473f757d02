"""The listing of any source: those that read files, and the simulated atlas, which is drawn first."""

from dataclasses import replace

from hpa.artifacts import read_record
from hpa.datasets import Kaggle2021, Listing, list_images
from hpa.stages.data import simulate
from hpa.stages.data.dataset_config import DatasetConfig, SimulatedSource
from hpa.tables import align, read_table

KNOWN_OF_SIMULATED = {"group": "antibody", "cell_line": "cell_line"}
"""What the simulated atlas tells about an image beside its pixels and label, as a real data set would."""


def list_source(config: DatasetConfig) -> tuple[Listing, dict[str, str]]:
    """The images of a data set, and the fingerprints of what they come from.

    Raises:
        MissingSourceError: the folder or file of a source is not there.
        ValueError: nothing is left to use, or the source's tables cannot be read.
    """
    if not isinstance(config.source, SimulatedSource):
        listing = list_images(config.source)
        return listing, {"images": listing.fingerprint}
    folder = simulate.run(
        simulate.SimulateConfig(out=config.simulate_folder, simulation=config.source.simulation, workers=config.workers)
    )
    listing = list_images(Kaggle2021(folder=folder / "train", csv=folder / "train.csv"))
    truth = read_table(folder / "truth" / "images.parquet", ["image_id", *KNOWN_OF_SIMULATED])
    truth = align(listing.images, truth[truth["image_id"].isin(listing.images["image_id"])])
    images = listing.images.assign(
        source=config.source.kind, **{name: truth[column] for column, name in KNOWN_OF_SIMULATED.items()}
    )
    fingerprint = read_record(folder, simulate.STAGE).fingerprint
    return replace(listing, images=images, group_columns=("antibody",)), {
        "simulate": fingerprint,
        "images": listing.fingerprint,
    }
