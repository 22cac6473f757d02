"""An image as a game: its segments are the players, a coalition wins what the network says when it is seen."""

from dataclasses import dataclass

import numpy as np
import torch

from hpa.arrays import Bool, Float, Float32, Float64, Int64
from hpa.explain.scoring import Score
from hpa.explain.segments import Segments


@dataclass(frozen=True)
class Players:
    """What can be hidden in an image: its segments, or every channel of each.

    Attributes:
        numbers: number of the player that owns each pixel, -1 for none; one plane for all channels, or one for each.
        segments: of each player, the number of its segment.
        channels: of each player, the number of its channel; -1 for all of them.
        sizes: of each player, its segment's pixels.
    """

    numbers: Int64[np.ndarray, "planes height width"]
    segments: Int64[np.ndarray, " players"]
    channels: Int64[np.ndarray, " players"]
    sizes: Int64[np.ndarray, " players"]

    def __len__(self) -> int:
        return len(self.segments)

    @property
    def centres(self) -> Float64[np.ndarray, "players 3"]:
        """Row and column of the middle of each, as parts of the image's longer side, and its channel's number."""
        height, width = self.numbers.shape[1:]
        first = self.numbers[0].ravel() + 1
        rows, columns = np.divmod(np.arange(height * width), width)
        parts = int(first.max()) + 1
        counts = np.maximum(np.bincount(first, minlength=parts), 1)
        middle = [np.bincount(first, values, parts)[1:] / counts[1:] for values in (rows, columns)]
        flat = np.stack(middle, axis=1)[self.segments] / max(height, width)
        return np.column_stack([flat, self.channels])

    def paint(
        self, values: Float64[np.ndarray, "classes players"], density: bool
    ) -> Float32[np.ndarray, "classes planes height width"]:
        """Maps of values: each pixel has its player's, divided by its pixels for a density; 0 where there is none."""
        spread = values / self.sizes if density else values
        return np.append(spread, np.zeros((len(values), 1)), axis=1)[:, self.numbers].astype(np.float32)


def build_players(segments: Segments, channels: int, per_channel: bool) -> Players:
    """The players of an image with that many channels; with `per_channel`, all of the first channel come first."""
    count = len(segments)
    if not per_channel:
        return Players(segments.numbers[None], np.arange(count), np.full(count, -1, np.int64), segments.sizes)
    offsets = np.arange(channels)[:, None, None] * count
    numbers = np.where(segments.numbers < 0, -1, segments.numbers + offsets)
    return Players(
        numbers,
        np.tile(np.arange(count), channels),
        np.repeat(np.arange(channels), count),
        np.tile(segments.sizes, channels),
    )


class SegmentGame:
    """What a network says of an image of which only some players are seen.

    Attributes:
        players: how many.
        evaluations: images that the network has seen so far.
    """

    def __init__(
        self,
        score: Score,
        image: Float[torch.Tensor, "channels height width"],
        baselines: Float[torch.Tensor, "sample channels height width"],
        players: Players,
        batch_size: int,
    ) -> None:
        self.players = len(players)
        self.evaluations = 0
        self._known: dict[bytes, Float64[np.ndarray, " classes"]] = {}
        self._score = score
        self._image = image
        self._baselines = baselines
        self._owners = torch.from_numpy(players.numbers).to(image.device)
        self._batch_size = batch_size

    def __call__(self, coalitions: Bool[np.ndarray, "coalitions players"]) -> Float64[np.ndarray, "coalitions classes"]:
        """Outputs when a coalition's players are seen and the baseline in the place of the others.

        With several baselines, the mean of the outputs. No coalition is evaluated twice.

        Args:
            coalitions: who is seen.
        """
        keys = [row.tobytes() for row in np.packbits(coalitions, axis=1)]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            outcomes = self._evaluate(coalitions[list(new.values())])
            self._known.update(zip(new, outcomes, strict=True))
        return np.stack([self._known[key] for key in keys])

    def _evaluate(
        self, coalitions: Bool[np.ndarray, "coalitions players"]
    ) -> Float64[np.ndarray, "coalitions classes"]:
        sample = len(self._baselines)
        # The last column is what pixels without a player (-1) read: always seen.
        seen = np.append(coalitions, np.ones((len(coalitions), 1), bool), axis=1)
        shown = torch.from_numpy(seen).to(self._image.device)
        outputs = []
        with torch.no_grad():
            for start in range(0, len(coalitions) * sample, self._batch_size):
                pairs = torch.arange(start, min(start + self._batch_size, len(coalitions) * sample))
                masks = shown[pairs // sample][:, self._owners]
                images = torch.where(masks, self._image, self._baselines[pairs % sample])
                outputs.append(self._score(images).double().cpu().numpy())
                self.evaluations += len(pairs)
        values = np.concatenate(outputs)
        return np.asarray(values.reshape(len(coalitions), sample, values.shape[1]).mean(axis=1))
