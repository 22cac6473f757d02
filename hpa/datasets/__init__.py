"""Where images and labels come from: Kaggle folders, class folders, tables, npz files, lists of many annotators."""

from hpa.datasets.chaoyang import Chaoyang
from hpa.datasets.class_folders import ClassFolders
from hpa.datasets.kaggle import Kaggle2018, Kaggle2021
from hpa.datasets.listing import Listing, MissingSourceError, Problems
from hpa.datasets.npz import Npz
from hpa.datasets.sources import AnySource, list_images
from hpa.datasets.table import Table

__all__ = [
    "AnySource",
    "Chaoyang",
    "ClassFolders",
    "Kaggle2018",
    "Kaggle2021",
    "Listing",
    "MissingSourceError",
    "Npz",
    "Problems",
    "Table",
    "list_images",
]
