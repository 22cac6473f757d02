"""Labels of cells from labels of images: what an image's label says, what its cells show, and what a person graded."""

from hpa.pseudolabels.agreement import compare_with_truth, positives_per_class, summarise_agreement
from hpa.pseudolabels.ratings import (
    RATING_COLUMNS,
    carry_ratings,
    rank_agreement,
    rated_labels,
    read_ratings,
    require_rated_cells,
)
from hpa.pseudolabels.rescaling import (
    AtLeastOneRescaling,
    MaximumRescaling,
    NoRescaling,
    RankRescaling,
    Rescaling,
    rescale,
)
from hpa.pseudolabels.rules import MaximumNegative, NegativeOfImage, ProductNegative, RuleConfig, soft_labels
from hpa.pseudolabels.weighting import WeightConfig, cell_weights

__all__ = [
    "RATING_COLUMNS",
    "AtLeastOneRescaling",
    "MaximumNegative",
    "MaximumRescaling",
    "NegativeOfImage",
    "NoRescaling",
    "ProductNegative",
    "RankRescaling",
    "Rescaling",
    "RuleConfig",
    "WeightConfig",
    "carry_ratings",
    "cell_weights",
    "compare_with_truth",
    "positives_per_class",
    "rank_agreement",
    "rated_labels",
    "read_ratings",
    "require_rated_cells",
    "rescale",
    "soft_labels",
    "summarise_agreement",
]
