"""Cells and nuclei in an image: networks, classical watershed, the user's own label maps, and measurements of cells."""

from hpa.segmentation.cell_table import QualityConfig, measure_cells
from hpa.segmentation.dpn_unet import DpnUnetConfig, load_dpn_unet
from hpa.segmentation.dpn_unet_prediction import DpnUnetSegmenter
from hpa.segmentation.hpacellseg import convert_hpacellseg, obtain_weights
from hpa.segmentation.label_maps import LabelMapsConfig, find_label_map, read_label_map, read_label_maps
from hpa.segmentation.maps import BACKGROUND, BORDER, OBJECT, CellMaps, ProbabilityMaps
from hpa.segmentation.postprocessing import PostprocessingConfig, label_cells
from hpa.segmentation.unet import Unet, build_unet
from hpa.segmentation.unet_config import (
    TARGETS,
    Target,
    UnetConfig,
    UnetContent,
    UnetLossConfig,
    UnetModelConfig,
    UnetSamplesConfig,
)
from hpa.segmentation.unet_dataset import Pair, Pairs, PreparedPairs, SegmentationDataset
from hpa.segmentation.unet_folder import FolderPairs, FolderPairsConfig, StoredPairs, store_pairs
from hpa.segmentation.unet_input import prepare_pixels
from hpa.segmentation.unet_prediction import CONTENT, TRAIN_SEGMENTATION, open_unet, predict_unet
from hpa.segmentation.unet_task import SegmentationTask
from hpa.segmentation.watershed import WatershedConfig, watershed

__all__ = [
    "BACKGROUND",
    "BORDER",
    "CONTENT",
    "OBJECT",
    "TARGETS",
    "TRAIN_SEGMENTATION",
    "CellMaps",
    "DpnUnetConfig",
    "DpnUnetSegmenter",
    "FolderPairs",
    "FolderPairsConfig",
    "LabelMapsConfig",
    "Pair",
    "Pairs",
    "PostprocessingConfig",
    "PreparedPairs",
    "ProbabilityMaps",
    "QualityConfig",
    "SegmentationDataset",
    "SegmentationTask",
    "StoredPairs",
    "Target",
    "Unet",
    "UnetConfig",
    "UnetContent",
    "UnetLossConfig",
    "UnetModelConfig",
    "UnetSamplesConfig",
    "WatershedConfig",
    "build_unet",
    "convert_hpacellseg",
    "find_label_map",
    "label_cells",
    "load_dpn_unet",
    "measure_cells",
    "obtain_weights",
    "open_unet",
    "predict_unet",
    "prepare_pixels",
    "read_label_map",
    "read_label_maps",
    "store_pairs",
    "watershed",
]
