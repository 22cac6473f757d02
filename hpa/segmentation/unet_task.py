"""Training of the U-Net as the loop sees it: samples, loss, validation."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
from accelerate import Accelerator
from skimage.segmentation import watershed
from torch import nn

from hpa.arrays import Float, Float32, Int64, Integer, UInt8
from hpa.segmentation.maps import BACKGROUND, BORDER, OBJECT
from hpa.segmentation.unet_config import UnetLossConfig
from hpa.segmentation.unet_dataset import IGNORED, SegmentationDataset, collate
from hpa.training import Batch, LoopConfig, MachineConfig, Sample, Step, infer

ORDER_STREAM = 4
"""Keeps the order's random numbers apart from those of other parts with the same seed and epoch."""

SPECK = 16
"""Smallest object that validation counts, the network's pixels; smaller ones are noise or cut off at an edge."""

MATCH_IOU = 0.5
"""An object is found where one predicted object has more than this in common with it; then no other one can."""

PLANES = {"background": BACKGROUND, "border": BORDER, "object": OBJECT}


class SegmentationTask:
    """Trains on some images with label maps and validates on others.

    Args:
        training: the images to learn from.
        validation: the images held out, whole and not varied.
        loss: what is minimised.
        loop: seed of the order, batch size and memory layout.
        machine: worker processes of validation.
        parts: samples of each training image in an epoch.

    Raises:
        ValueError: a target of which no training image has a label map.
    """

    def __init__(
        self,
        training: SegmentationDataset,
        validation: SegmentationDataset,
        loss: UnetLossConfig,
        loop: LoopConfig,
        machine: MachineConfig | None = None,
        parts: int = 1,
    ) -> None:
        missing = [target for target in training.targets if target not in training.pairs.targets]
        if missing:
            raise ValueError(
                f"the network is to segment {' and '.join(training.targets)}, but no training image has a label map of "
                f"{' or '.join(missing)}; give their folder, or leave the target out"
            )
        if validation.targets != training.targets:
            raise ValueError(f"expected validation of {training.targets}, but got {validation.targets}")
        self.training, self.validation = training, validation
        self._loss, self._loop, self._machine, self._parts = loss, loop, machine, parts

    def order(self, epoch: int) -> Integer[np.ndarray, " samples"]:
        """Every training image, `parts` times each, shuffled."""
        generator = np.random.default_rng([self._loop.seed, epoch, ORDER_STREAM])
        return generator.permutation(len(self.training) * self._parts)

    def sample(self, index: int, epoch: int) -> Sample:
        """One varied part of a training image."""
        return self.training.sample(index, epoch)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stack samples."""
        return collate([dict(sample) for sample in samples])

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> torch.Tensor:
        """The loss of a batch."""
        return segmentation_loss(model(self._in_format(batch["images"])), batch["targets"], self._loss)

    def validate(self, model: nn.Module, accelerator: Accelerator) -> Mapping[str, float]:
        """Figures over all images held out.

        Returns:
            `loss`, the mean over images; per target `<target>_<plane>_iou` over pixels (NaN where the truth has no such
            pixel), and `<target>_f1` at IoU 0.5 of the objects that `label_objects` forms; `iou` and `f1`, the means of
            what is defined of each. `iou` is the one to choose an epoch by: most objects are found long before
            their outlines fit.
        """
        found = infer(
            model,
            self._judge,
            self.validation.whole,
            np.arange(len(self.validation)),
            accelerator,
            batch_size=1,  # whole images may differ in size
            collate=collate,  # type: ignore[arg-type] # batches are plain dictionaries
            machine=self._machine,
            label="validating",
        )
        figures = {"loss": float(np.mean(found["loss"]))}
        shared, joined, occurring = (found[name].sum(axis=0) for name in ("shared", "joined", "occurring"))
        matched, true, predicted = found["objects"].sum(axis=0).T
        for row, target in enumerate(self.validation.targets):
            for name, plane in PLANES.items():
                figures[f"{target}_{name}_iou"] = _ratio(
                    shared[row, plane], joined[row, plane] * (occurring[row, plane] > 0)
                )
            figures[f"{target}_f1"] = _ratio(2 * matched[row], true[row] + predicted[row])
        return figures | {
            name: _mean([figures[key] for key in figures if key.endswith(name)]) for name in ("iou", "f1")
        }

    def _judge(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Counts from which the figures follow, per image: sums over images need no maps kept."""
        logits, targets = network(self._in_format(batch["images"])).float(), batch["targets"]
        predicted = logits.argmax(dim=2)
        is_known = targets != IGNORED
        shared, joined, occurring = [], [], []
        for plane in range(len(PLANES)):
            ours, theirs = (predicted == plane) & is_known, targets == plane
            shared.append((ours & theirs).sum(dim=(2, 3)))
            joined.append((ours | theirs).sum(dim=(2, 3)))
            occurring.append(theirs.sum(dim=(2, 3)))
        probabilities = logits.softmax(dim=2).cpu().numpy()
        known, instances = is_known.cpu().numpy(), batch["instances"].cpu().numpy()
        objects = [
            [
                match_objects(found * seen, true)
                for found, seen, true in zip(self._label(image), known[row], instances[row], strict=True)
            ]
            for row, image in enumerate(probabilities)
        ]
        losses = [
            segmentation_loss(logits[row : row + 1], targets[row : row + 1], self._loss) for row in range(len(logits))
        ]
        return {
            "loss": torch.stack(losses),
            "shared": torch.stack(shared, dim=2),
            "joined": torch.stack(joined, dim=2),
            "occurring": torch.stack(occurring, dim=2),
            "objects": torch.tensor(objects),
        }

    def _label(
        self, probabilities: Float32[np.ndarray, "targets planes height width"]
    ) -> list[Integer[np.ndarray, "height width"]]:
        by_name = dict(zip(self.validation.targets, probabilities, strict=True))
        nuclei, cells = label_objects(by_name["nuclei"], by_name.get("cells"))
        return [cells if target == "cells" else nuclei for target in self.validation.targets]

    def _in_format(self, images: torch.Tensor) -> torch.Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self._loop.channels_last else images


def segmentation_loss(
    logits: Float[torch.Tensor, "batch targets planes height width"],
    targets: UInt8[torch.Tensor, "batch targets height width"],
    config: UnetLossConfig,
) -> Float[torch.Tensor, ""]:
    """Cross-entropy plus Tversky loss, the mean over the targets of which something is known in the batch.

    Pixels that are IGNORED do not count; a batch of nothing else gives 0, with a gradient of 0.
    """
    logits, classes = logits.float(), targets.long()
    weights = logits.new_tensor(config.plane_weights)
    region = smp.losses.TverskyLoss(
        "multiclass",
        from_logits=True,
        ignore_index=IGNORED,
        alpha=config.false_positives,
        beta=config.false_negatives,
    )
    total, count = logits.sum() * 0, logits.new_zeros(())
    for target in range(logits.shape[1]):
        ours, theirs = logits[:, target], classes[:, target]
        is_known = theirs != IGNORED
        summed = nn.functional.cross_entropy(ours, theirs, weights, ignore_index=IGNORED, reduction="sum")
        weight = (weights[torch.where(is_known, theirs, 0)] * is_known).sum()
        total = total + summed / weight.clamp(min=1e-6)
        if config.region:
            total = total + config.region * region(ours, theirs)
        count = count + is_known.any()
    return total / count.clamp(min=1)


def label_objects(
    nuclei: Float32[np.ndarray, "planes height width"], cells: Float32[np.ndarray, "planes height width"] | None
) -> tuple[Integer[np.ndarray, "height width"], Integer[np.ndarray, "height width"]]:
    """Nuclei and cells in the shortest way, to validate with; `label_cells` is the one for results.

    Nuclei are connected pixels whose likeliest plane is OBJECT, without specks. Cells grow from them by watershed
    over the probability of OBJECT, as far as BACKGROUND is not the likeliest; without `cells` there are none.
    """
    is_nucleus = (nuclei.argmax(axis=0) == OBJECT).astype(np.uint8)
    seeds = _numbered(cv2.connectedComponents(is_nucleus, connectivity=4, ltype=cv2.CV_32S)[1])[0]
    if cells is None:
        return seeds, np.zeros_like(seeds)
    return seeds, watershed(-cells[OBJECT], seeds, mask=cells.argmax(axis=0) != BACKGROUND)  # type: ignore[no-untyped-call]


def match_objects(
    predicted: Integer[np.ndarray, "height width"], instances: Integer[np.ndarray, "height width"]
) -> tuple[int, int, int]:
    """How many true objects were found, how many there are, and how many were predicted.

    Args:
        predicted: numbers of the predicted objects, 0 = background.
        instances: numbers of the true ones. Objects smaller than SPECK count on neither side.
    """
    (found, found_areas), (true, true_areas) = _numbered(predicted), _numbered(instances)
    pairs = true * len(found_areas) + found
    both = np.bincount(pairs.ravel(), minlength=len(true_areas) * len(found_areas))
    overlap = both.reshape(len(true_areas), len(found_areas))[1:, 1:]
    union = true_areas[1:, None] + found_areas[None, 1:] - overlap
    return int((overlap > MATCH_IOU * union).sum()), len(true_areas) - 1, len(found_areas) - 1


def _numbered(
    instances: Integer[np.ndarray, "height width"],
) -> tuple[Int64[np.ndarray, "height width"], Int64[np.ndarray, " numbers"]]:
    """Objects that are no specks, numbered from 1 without gaps, and the area of each number, that of 0 first."""
    areas = np.bincount(instances.ravel())
    kept = np.flatnonzero(areas >= SPECK)
    kept = kept[kept > 0]
    numbers = np.zeros(len(areas), np.int64)
    numbers[kept] = np.arange(1, len(kept) + 1)
    return numbers[instances], np.concatenate([[instances.size - areas[kept].sum()], areas[kept]])


def _ratio(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else float("nan")


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if np.isfinite(value)]
    return float(np.mean(defined)) if defined else float("nan")
