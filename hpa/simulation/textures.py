"""What patterns are woven of: smooth noise, nets, dots and lines drawn with sub-pixel accuracy."""

import cv2
import numpy as np

from hpa.arrays import Float, FloatPlane, Mask, Points


def smooth_noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> FloatPlane:
    """Gaussian noise of mean 0 and variance 1 whose structures have a size of about `sigma` pixels.

    Coarse noise is made on a coarser grid and enlarged.
    """
    step = max(1, int(sigma / 2))
    small = (shape[0] // step + 3, shape[1] // step + 3)
    noise: FloatPlane = rng.standard_normal(small, dtype=np.float32)
    if sigma > 0.3:
        noise = blur(noise, sigma / step)
    noise -= noise.mean()
    noise /= noise.std() + np.float32(1e-6)
    if step > 1:
        noise = np.asarray(
            cv2.resize(noise, (small[1] * step, small[0] * step), interpolation=cv2.INTER_LINEAR), np.float32
        )
    return np.ascontiguousarray(noise[: shape[0], : shape[1]])


def as_light(values: Float[np.ndarray, "height width"]) -> FloatPlane:
    """The values as float32, those below 0 set to 0: texture may make a value negative, light never is."""
    plane: FloatPlane = np.maximum(values, 0).astype(np.float32)
    return plane


def blur(plane: FloatPlane, sigma: float) -> FloatPlane:
    """Gaussian blur; `sigma` in pixels, below 0.2 nothing happens."""
    if sigma < 0.2:
        return plane
    blurred: FloatPlane = cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return blurred


def net(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> FloatPlane:
    """A net of bright lines, 0 to 1: where smooth noise crosses zero; meshes of a few `sigma` pixels."""
    return np.exp(-((smooth_noise(shape, sigma, rng) / np.float32(0.45)) ** 2))


def scatter(points: Points, weights: Float[np.ndarray, " points"], shape: tuple[int, int]) -> FloatPlane:
    """Add every point's weight to the four pixels around it (bilinear); points outside are left out.

    >>> scatter(np.array([[1.5, 0.0]]), np.array([1.0]), (2, 3)).tolist()
    [[0.0, 0.5, 0.5], [0.0, 0.0, 0.0]]
    """
    height, width = shape
    corner = np.floor(points).astype(np.int64)
    part = points - corner
    x, y = corner[:, 0], corner[:, 1]
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    x, y, part, weights = x[inside], y[inside], part[inside], weights[inside]
    padded = width + 1
    index = y * padded + x
    right, down = part[:, 0], part[:, 1]
    total = np.bincount(
        np.concatenate([index, index + 1, index + padded, index + padded + 1]),
        np.concatenate(
            [
                weights * (1 - right) * (1 - down),
                weights * right * (1 - down),
                weights * (1 - right) * down,
                weights * right * down,
            ]
        ),
        minlength=(height + 1) * padded,
    )
    return total.reshape(height + 1, padded)[:height, :width].astype(np.float32)


def dots(
    points: Points, radii: Float[np.ndarray, " points"], heights: Float[np.ndarray, " points"], shape: tuple[int, int]
) -> FloatPlane:
    """Gaussian dots.

    Args:
        points: centres (x, y), pixels.
        radii: standard deviations, pixels; those of similar size are drawn together.
        heights: value in the centre. Dots smaller than a pixel keep their light, not their height.
        shape: of the result.
    """
    plane = np.zeros(shape, np.float32)
    if not len(points):
        return plane
    classes = np.round(np.log2(np.maximum(radii, 0.05)) * 2).astype(int)
    for size in np.unique(classes):
        chosen = classes == size
        sigma = float(2 ** (size / 2))
        light = heights[chosen] * (2 * np.pi * sigma**2)
        # scatter already spreads a point over about 0.4 pixel
        plane += blur(scatter(points[chosen], light, shape), np.sqrt(max(sigma**2 - 0.16, 0.0625)))
    return plane


def random_points(density: FloatPlane, number: int, rng: np.random.Generator) -> Points:
    """`number` points (x, y) with the given density (not negative; need not be normalised); none where all is 0."""
    ends = np.cumsum(density.ravel(), dtype=np.float64)
    if number < 1 or ends[-1] <= 0:
        return np.zeros((0, 2))
    picked = np.searchsorted(ends, rng.random(number) * ends[-1], side="right")
    picked = np.minimum(picked, len(ends) - 1)
    y, x = np.divmod(picked, density.shape[1])
    return np.stack([x, y], axis=1) + rng.uniform(-0.5, 0.5, (number, 2))


def paths(
    starts: Points,
    angles: Float[np.ndarray, " points"],
    steps: int,
    step: float,
    wobble: float,
    bend: float,
    rng: np.random.Generator,
    stretch: Float[np.ndarray, "2 2"] | None = None,
) -> Float[np.ndarray, "points steps 2"]:
    """Curves that keep their direction for a while.

    Args:
        starts: first points (x, y), pixels.
        angles: first directions, radians.
        steps: points per curve.
        step: distance between points, pixels.
        wobble: standard deviation of the change of direction per pixel of length, radians.
        bend: standard deviation over curves of a constant curvature, radians per pixel.
        rng: source of randomness.
        stretch: linear map of the displacements, for cells that are longer than wide.
    """
    number = len(starts)
    turn = rng.standard_normal((number, steps), dtype=np.float32) * np.float32(wobble * np.sqrt(step))
    turn += (rng.standard_normal((number, 1), dtype=np.float32) * np.float32(bend * step)).astype(np.float32)
    direction = angles[:, None].astype(np.float32) + np.cumsum(turn, axis=1)
    moves = np.stack([np.cos(direction), np.sin(direction)], axis=2) * np.float32(step)
    if stretch is not None:
        moves = moves @ stretch.T.astype(np.float32)
    return starts[:, None].astype(np.float32) + np.cumsum(moves, axis=1)


def draw_paths(
    curves: Float[np.ndarray, "curves steps 2"],
    allowed: Mask,
    step: float,
    width: float,
    heights: Float[np.ndarray, " curves"] | None = None,
) -> FloatPlane:
    """Draw curves, each up to where it first leaves `allowed`; crossing curves add up.

    Args:
        curves: points (x, y), pixels.
        allowed: where curves may run.
        step: distance between points, pixels.
        width: of a line, pixels; a thinner line than a pixel is dimmer, not narrower.
        heights: value on the line, per curve; 1 when left out.
    """
    height, width_px = allowed.shape
    index = np.round(curves).astype(np.int64)
    x, y = index[..., 0], index[..., 1]
    inside = (x >= 0) & (y >= 0) & (x < width_px) & (y < height)
    inside &= allowed[np.clip(y, 0, height - 1), np.clip(x, 0, width_px - 1)]
    alive = np.logical_and.accumulate(inside, axis=1)
    weights = np.broadcast_to((np.ones(len(curves)) if heights is None else heights)[:, None], alive.shape)
    plane = scatter(curves[alive], weights[alive] * (step * width), allowed.shape)
    return blur(plane, 0.4 * width) if width > 1 else plane
