"""Names for arrays in signatures: the shape and dtype are part of the type (jaxtyping), checked while tests run."""

from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64, Integer, UInt8, UInt16

Pixels: TypeAlias = UInt8[np.ndarray, "channels height width"]
ResizedPixels: TypeAlias = UInt8[np.ndarray, "channels new_height new_width"]
PixelBatch: TypeAlias = UInt8[np.ndarray, "images channels height width"]
Plane: TypeAlias = UInt8[np.ndarray, "height width"]
FloatPlane: TypeAlias = Float32[np.ndarray, "height width"]
Composite: TypeAlias = UInt8[np.ndarray, "height width 3"]
LabelMap: TypeAlias = UInt16[np.ndarray, "height width"]
Mask: TypeAlias = Bool[np.ndarray, "height width"]
Targets: TypeAlias = Float32[np.ndarray, "items classes"]
Probabilities: TypeAlias = Float32[np.ndarray, "items classes"]
EmbeddingArray: TypeAlias = Float32[np.ndarray, "items features"]
Points: TypeAlias = Float[np.ndarray, "points 2"]
ClassVector: TypeAlias = Float[np.ndarray, " classes"]

ImageTensor: TypeAlias = UInt8[torch.Tensor, "batch channels height width"]
LogitTensor: TypeAlias = Float[torch.Tensor, "batch classes"]
TargetTensor: TypeAlias = Float[torch.Tensor, "batch classes"]
EmbeddingTensor: TypeAlias = Float[torch.Tensor, "batch features"]

__all__ = [
    "Bool",
    "ClassVector",
    "Composite",
    "EmbeddingArray",
    "EmbeddingTensor",
    "Float",
    "Float32",
    "Float64",
    "FloatPlane",
    "ImageTensor",
    "Int",
    "Int64",
    "Integer",
    "LabelMap",
    "LogitTensor",
    "Mask",
    "PixelBatch",
    "Pixels",
    "Plane",
    "Points",
    "Probabilities",
    "ResizedPixels",
    "TargetTensor",
    "Targets",
    "UInt8",
    "UInt16",
]
