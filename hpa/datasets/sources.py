"""All sources that read files, and the one function that lists any of them."""

from typing import TypeAlias

from hpa.datasets.chaoyang import Chaoyang, list_chaoyang
from hpa.datasets.class_folders import ClassFolders, list_class_folders
from hpa.datasets.kaggle import Kaggle2018, Kaggle2021, list_kaggle
from hpa.datasets.listing import Listing
from hpa.datasets.npz import Npz, list_npz
from hpa.datasets.table import Table, list_table

AnySource: TypeAlias = Kaggle2021 | Kaggle2018 | ClassFolders | Table | Npz | Chaoyang


def list_images(source: AnySource) -> Listing:
    """The images of a source, before any of them is read.

    Raises:
        ValueError: a folder, file or column is missing, or nothing is left to use; says what to do.
    """
    match source:
        case Kaggle2021() | Kaggle2018():
            return list_kaggle(source)
        case ClassFolders():
            return list_class_folders(source)
        case Table():
            return list_table(source)
        case Npz():
            return list_npz(source)
        case Chaoyang():
            return list_chaoyang(source)
