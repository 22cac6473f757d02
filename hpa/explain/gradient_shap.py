"""SHAP values of pixels by expected gradients."""

from dataclasses import dataclass

import numpy as np
import torch

from hpa.arrays import Float, Float64, Int64
from hpa.explain.scoring import Score


@dataclass(frozen=True)
class ExpectedGradients:
    """SHAP values of one image's pixels.

    Attributes:
        maps: value of each pixel and channel; they sum, up to what the number of samples leaves, to `output` - `base`.
        base: mean output for the baselines, each counted as often as it was used.
        output: for the image.
        evaluations: images that the network has seen.
    """

    maps: Float[torch.Tensor, "classes channels height width"]
    base: Float64[np.ndarray, " classes"]
    output: Float64[np.ndarray, " classes"]
    evaluations: int


def expected_gradients(
    score: Score,
    image: Float[torch.Tensor, "channels height width"],
    baselines: Float[torch.Tensor, "sample channels height width"],
    samples: int,
    seed: int,
    batch_size: int,
) -> ExpectedGradients:
    """The mean, over baselines and over places on the straight ways from them, of gradient x difference.

    Erion, Janizek, Sturmfels, Lundberg & Lee 2021, arXiv:1906.10670, eq. 3. It is what shap's GradientExplainer
    estimates, with less scatter at the same cost: places are drawn one from each of as many equal parts of the way as
    there are samples, and each baseline serves equally often. That one also sets a model's gradients to zero, leaves
    it in evaluation mode and holds all samples at once, none of which may happen here.

    Args:
        score: gives what is explained, one column per class; differentiable.
        image: pixels in [0, 255].
        baselines: one or more.
        samples: gradients per class.
        seed: of the places.
        batch_size: images that the network is given at once.
    """
    which, places = draw_ways(len(baselines), samples, seed)
    used = np.bincount(which, minlength=len(baselines))
    with torch.no_grad():
        output = score(image[None])[0].double().cpu().numpy()
        parts = torch.split(baselines[torch.from_numpy(used > 0)], batch_size)
        bases = np.concatenate([score(part).double().cpu().numpy() for part in parts])
    base = used[used > 0] / samples @ bases
    sums = torch.zeros(len(output), *image.shape, dtype=torch.float64)
    for start in range(0, samples, batch_size):
        chunk = slice(start, start + batch_size)
        origins = baselines[torch.from_numpy(which[chunk])]
        differences = image - origins
        shares = torch.from_numpy(places[chunk]).to(image)[:, None, None, None]
        points = (origins + shares * differences).requires_grad_(True)
        with torch.enable_grad():
            scores = score(points)
            for number in range(len(output)):
                last = number + 1 == len(output)
                (gradient,) = torch.autograd.grad(scores[:, number].sum(), points, retain_graph=not last)
                sums[number] += (gradient * differences).sum(dim=0).double().cpu()
    return ExpectedGradients((sums / samples).float(), base, output, samples + int((used > 0).sum()) + 1)


def draw_ways(
    baselines: int, samples: int, seed: int
) -> tuple[Int64[np.ndarray, " samples"], Float64[np.ndarray, " samples"]]:
    """A baseline and a place in [0, 1) for each sample.

    The k-th place is drawn from the k-th of equal parts of the way; baselines are dealt out in rounds of which each has
    an order of its own, so that every baseline's places are spread over the whole way as well.
    """
    generator = np.random.default_rng(seed)
    rounds = -(-samples // baselines)
    which = np.concatenate([generator.permutation(baselines) for _ in range(rounds)])[:samples]
    places = (np.arange(samples) + generator.random(samples)) / samples
    return which.astype(np.int64), places
