"""What a simulated atlas is made of: its size, classes, cell-to-cell variation, optics and planted defects."""

from typing import Annotated, Literal, TypeAlias

import pydantic

from hpa.config import Config
from hpa.labels import HPA2021
from hpa.simulation.cell_lines import CELL_LINES

Share: TypeAlias = Annotated[float, pydantic.Field(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, pydantic.Field(gt=0)]


class FixedFraction(Config):
    """Every cell carries a label of its image with the same probability.

    Attributes:
        value: that probability; 1 makes image labels hold for every cell.
    """

    kind: Literal["fixed"] = "fixed"
    value: Share = 1.0


class BetaShape(Config):
    """A beta distribution by its mean and its concentration (the sum of its two parameters)."""

    mean: Annotated[float, pydantic.Field(gt=0, lt=1)]
    concentration: Positive


class BetaFraction(Config):
    """The part of the cells that carry a label varies from antibody to antibody and, less, from image to image.

    The defaults are beta-binomial maximum-likelihood fits to 200 pairs of image and image label (104 fields, 1,583
    cells labelled one by one; PRBioimages/Singlecell-protein-subcellular-location). The three classes in `by_class` lie
    far from the rest (Golgi 4 images, spindle 4, centrosome 12); the rest is fitted together. `within` follows
    from the two images per antibody there: their fractions correlate by 0.82 and differ by 0.20 (standard deviation).
    Labels of one cell are independent given the fractions, as they are there (both of two labels: 0.443 of the
    cells, 0.436 expected; none: 0.108, 0.104 expected).

    Attributes:
        general: distribution over antibodies for most classes.
        by_class: distributions of the classes that differ from it, by class name.
        within: concentration of an image's fraction around its antibody's.
    """

    kind: Literal["beta"] = "beta"
    general: BetaShape = BetaShape(mean=0.74, concentration=1.37)
    by_class: dict[str, BetaShape] = pydantic.Field(
        default_factory=lambda: {
            "Golgi apparatus": BetaShape(mean=0.32, concentration=6.1),
            "Mitotic spindle": BetaShape(mean=0.05, concentration=20.0),
            "Centrosome": BetaShape(mean=0.20, concentration=3.5),
        }
    )
    within: Positive = 10.0

    @pydantic.field_validator("by_class")
    @classmethod
    def _known(cls, value: dict[str, BetaShape]) -> dict[str, BetaShape]:
        unknown = sorted(set(value) - set(HPA2021.names))
        if unknown:
            raise ValueError(f"expected class names of the atlas, but got {unknown}")
        return value


PositiveFraction: TypeAlias = Annotated[FixedFraction | BetaFraction, pydantic.Field(discriminator="kind")]


class OpticsConfig(Config):
    """How the microscope and the camera change what is there.

    Attributes:
        blur: standard deviation of the point spread, µm; a confocal's at 500 nm light is about 0.1.
        haze: light from outside the focal plane, as a part of the light from inside it.
        unevenness: largest change of the illumination from the centre to a corner.
        grey_per_photon: grey levels per photon of the reference channels; the protein's varies around twice this.
        background: mean grey level where there is nothing; most of it lies below the black level, as in the atlas.
    """

    blur: Annotated[float, pydantic.Field(ge=0)] = 0.12
    haze: Annotated[float, pydantic.Field(ge=0)] = 0.10
    unevenness: Share = 0.25
    grey_per_photon: Positive = 4.0
    background: Annotated[float, pydantic.Field(ge=0)] = 0.3


class DefectsConfig(Config):
    """Part of the images that get each planted defect; an image has one at most.

    Attributes:
        wrong_label: the label in `train.csv` is another one, disjoint from the true one.
        swapped_channels: two channels have changed places.
        out_of_focus: blurred by 1.5 to 3 µm.
        saturated: one or more channels over-exposed, a good part of the cells at 255.
        nearly_empty: one cell or none in the field, and little light.
        duplicate: the scene of an earlier image of another group, with other noise and slightly other brightness.
    """

    wrong_label: Share = 0.0
    swapped_channels: Share = 0.0
    out_of_focus: Share = 0.0
    saturated: Share = 0.0
    nearly_empty: Share = 0.0
    duplicate: Share = 0.0

    @pydantic.model_validator(mode="after")
    def _sum(self) -> "DefectsConfig":
        total = sum(self.model_dump().values())
        if total > 1:
            raise ValueError(f"expected shares that sum to 1 at most, but got {total:g}")
        return self


class SimulationConfig(Config):
    """A simulated atlas; two equal configurations give equal pixels.

    Attributes:
        images: how many.
        size: side of an image, pixels.
        field: side of the field of view, µm; the default is that of 2048 pixels of 0.08 µm, so that 512 pixels look
            like the 2018 competition's images. A smaller field at the same size shows fewer cells, larger.
        seed: any two seeds give unrelated images.
        frequencies: `real` gives every class its share in the 2021 competition, `balanced` gives all the same.
        images_per_antibody: images of one group: same labels and staining, other cells and cell lines.
        cell_lines: which occur, by name; each with its own weight.
        positive_fraction: which part of the cells carries a label of its image; at least one cell always does.
        mitotic_fraction: part of the cells that are dividing, apart from those that a spindle label needs.
        optics: blur, haze, illumination, noise.
        defects: none unless asked for.
    """

    images: Annotated[int, pydantic.Field(ge=1)] = 400
    size: Annotated[int, pydantic.Field(ge=32, le=8192)] = 512
    field: Annotated[float, pydantic.Field(ge=20, le=1000)] = 163.84
    seed: Annotated[int, pydantic.Field(ge=0)] = 0
    frequencies: Literal["balanced", "real"] = "balanced"
    images_per_antibody: Annotated[int, pydantic.Field(ge=1)] = 4
    cell_lines: Annotated[tuple[str, ...], pydantic.Field(min_length=1)] = tuple(line.name for line in CELL_LINES)
    positive_fraction: PositiveFraction = BetaFraction()
    mitotic_fraction: Share = 0.012
    optics: OpticsConfig = OpticsConfig()
    defects: DefectsConfig = DefectsConfig()

    @pydantic.field_validator("cell_lines")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = [line.name for line in CELL_LINES]
        unknown = [name for name in value if name not in known]
        if unknown:
            raise ValueError(f"expected cell lines out of {known}, but got {unknown}")
        return value

    @property
    def pixel(self) -> float:
        """Side of a pixel, µm."""
        return self.field / self.size
