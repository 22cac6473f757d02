"""The configuration of `explain`."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from hpa.config import Config
from hpa.explain.attribution import MethodConfig
from hpa.explain.faithfulness import FaithfulnessConfig
from hpa.explain.gradient_config import (
    EigenCam,
    GradCam,
    GradCamPlusPlus,
    GuidedBackpropagation,
    GuidedGradCam,
    HighResolutionGuidedGradCam,
    HiResCam,
    IntegratedGradients,
    LayerCam,
)
from hpa.explain.perturbation_config import GradientShap, Lime, PartitionShap, SegmentMethod
from hpa.simulation import SimulationConfig
from hpa.stages.data.dataset_config import DatasetConfig, SimulatedSource

Count = Annotated[int, pydantic.Field(ge=1)]

METHODS: tuple[MethodConfig, ...] = (
    *(GradCam(), GradCamPlusPlus(), HiResCam(), LayerCam(), EigenCam()),
    *(GuidedBackpropagation(), GuidedGradCam(), HighResolutionGuidedGradCam()),
    *(IntegratedGradients(), GradientShap(), PartitionShap(evaluations=250), Lime(samples=250)),
)
"""Every family of methods once, with SHAP and LIME at half of their usual cost."""


class JudgingConfig(Config):
    """How maps are judged.

    Attributes:
        faithfulness: insertion and deletion.
        levels: of cascading randomisation; 2 randomises the head, then everything; 0 leaves it out. Every method runs
            once more per level.
        square: maps are compared with each other by their means over squares of this side, pixels.
        top: part of the squares that count as a map's highest.
        tolerance: of the pointing game, as a part of the image's side: 15 of about 500 pixels in the paper.
        random_orders: of places, whose mean curve the methods are compared with.
        seed: of the random weights and of the random places that the methods are compared with.
    """

    faithfulness: FaithfulnessConfig = FaithfulnessConfig()
    levels: Annotated[int, pydantic.Field(ge=0, le=20)] = 2
    square: Count = 8
    top: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.1
    tolerance: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.03
    random_orders: Count = 4
    seed: int = 0


class PagesConfig(Config):
    """How saved maps are shown; no record holds it, and pages are made again where it has changed.

    Attributes:
        longest: side of a map on a page, pixels.
        outlines: whether cells are outlined in the maps.
        white: part of a map's places that are shown in the brightest colour, so that single pixels do not leave the
            rest dark.
    """

    longest: Annotated[int, pydantic.Field(ge=64, le=2048)] = 300
    outlines: bool = True
    white: Annotated[float, pydantic.Field(ge=0, lt=0.5)] = 0.005


class ExplainConfig(Config):
    """Explanations of what a finished training says about images, or cells; of the demo's without any setting.

    Attributes:
        level: `image` explains a run of `train_image_level`, `cell` one of `train_cell_level` or `train_bags`.
        run: the finished training.
        data: the images; `data.cache` is taken from the run.
        cells: artifact of `segment_cells` of the same images, for outlines and for methods on cells. None takes the
            true cells of simulated images, and has no cells of others.
        cells_cache: for cells, the folder made by `cache_cells`.
        labels: for cells, a folder or table with their labels (`true_labels`, `make_pseudo_labels`), which say whether
            an answer is right; None where nobody knows.
        out: folder of maps and pages.
        out_of_fold: true for what the run was trained on: each image is explained by the network that held it out.
            False for new images, which the network of the run's first fold explains.
        images: how many, chosen half from right and half from wrong answers and going round the classes; or which:
            image_ids, for cells `image_id/cell_id`.
        classes: how many of an image's likeliest classes are explained, beside the surest that is wrong and all that
            were missed; or which, by name.
        methods: of attribution.
        judge: whether the maps are judged, which takes several times as long as making them.
        judging: how.
        background: images of the network's training part that SHAP compares with.
        batch_size: images of one pass; decides speed and memory.
        pages: how the maps are shown.
    """

    level: Literal["image", "cell"] = "image"
    run: Path = Path("runs/demo")
    data: DatasetConfig = DatasetConfig(
        source=SimulatedSource(simulation=SimulationConfig(images=1100, size=256, field=81.92))
    )
    cells: Path | None = None
    cells_cache: Path = Path("work/demo/cache_cells")
    labels: Path | None = None
    out: Path = Path("runs/explanations")
    out_of_fold: bool = True
    images: Count | tuple[str, ...] = 8
    classes: Count | tuple[str, ...] = 1
    methods: Annotated[tuple[MethodConfig, ...], pydantic.Field(min_length=1)] = METHODS
    judge: bool = True
    judging: JudgingConfig = JudgingConfig()
    background: Count = 16
    batch_size: Count = 16
    pages: PagesConfig = PagesConfig()

    @pydantic.model_validator(mode="after")
    def _something(self) -> "ExplainConfig":
        for name in ("images", "classes"):
            chosen = getattr(self, name)
            if isinstance(chosen, tuple) and not chosen:
                raise ValueError(f"{name}: expected a number, or at least one name, but got an empty list")
            if isinstance(chosen, tuple) and len(set(chosen)) < len(chosen):
                raise ValueError(
                    f"{name}: expected every name once, but {Counter(chosen).most_common(1)[0][0]} repeats"
                )
        if self.labels is not None and self.level == "image":
            raise ValueError("labels: images have those of the data set; leave it out, or set level=cell")
        return self

    @property
    def method_names(self) -> tuple[str, ...]:
        """One name per method: its kind, what it hides where that is no superpixel, and a number where a name repeats.

        >>> from hpa.explain.perturbation_config import CellSegments
        >>> cells = CellSegments()
        >>> ExplainConfig(methods=(Lime(), Lime(seed=1), Lime(segments=cells, per_channel=True))).method_names
        ('lime', 'lime 2', 'lime cells per channel')
        """
        seen: Counter[str] = Counter()
        names = []
        for method in self.methods:
            name: str = method.kind
            if isinstance(method, SegmentMethod):
                hidden = "" if method.segments.kind == "superpixels" else f" {method.segments.kind.replace('_', ' ')}"
                name += hidden + (" per channel" if method.per_channel else "")
            seen[name] += 1
            names.append(name if seen[name] == 1 else f"{name} {seen[name]}")
        return tuple(names)

    def content(self) -> dict[str, object]:
        """The sections that decide maps and figures, for the record."""
        names = ("level", "out_of_fold", "images", "classes", "judge", "background")
        sections: dict[str, object] = {name: getattr(self, name) for name in names}
        sections["methods"] = [method.model_dump(mode="json") for method in self.methods]
        return sections | ({"judging": self.judging} if self.judge else {})
