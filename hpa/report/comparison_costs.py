"""What the variants of a comparison bear and cost: two sections of its page."""

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator, NullLocator

from hpa.report.canvas import BLUE, GREEN, new_drawing, plain, tidy, to_png
from hpa.report.formats import duration, number
from hpa.report.heatmaps import heat_map
from hpa.report.page import Figure, Section, Table


def robustness_section(robustness: pd.DataFrame) -> Section:
    """A heat map of what is left on images made worse.

    Args:
        robustness: variant, corruption, macro_ap, constant.
    """
    wide = robustness.pivot_table(index="variant", columns="corruption", values="macro_ap", sort=False)
    texts = [[number(value, 2) for value in line] for line in wide.to_numpy()]
    drawing = heat_map(wide.to_numpy(), list(wide.index), list(wide.columns), texts, scale="macro AP", highest=None)
    constant = robustness["constant"].mean()
    caption = (
        "Macro AP of the held-out images, one view each, as they are and made worse; mean over the folds. A constant "
        f"predictor has {number(constant)}. Blur is in pixels of the network's input, noise a part of the full scale."
    )
    return Section("Robustness", [Figure("robustness", drawing, "Images made worse", caption)])


def costs_section(trained: pd.DataFrame, statistic: str, name: str) -> Section:
    """Quality against speed, and a table of what each row costs.

    Args:
        trained: variant, kind, parameters, images_per_second, training_memory_gb, epochs, steps, training_seconds,
            initial_weights, and the statistic; epochs and steps are NaN for ensembles.
        statistic: a column.
        name: how it is called.
    """
    frame = pd.DataFrame(
        {
            "Variant": trained["variant"],
            "Parameters": [f"{value / 1e6:.2f} M" for value in trained["parameters"]],
            "Images/s": [number(value, 1) for value in trained["images_per_second"]],
            "Training memory": [f"{number(value, 2)} GB" for value in trained["training_memory_gb"]],
            "Epochs": [_whole(value) for value in trained["epochs"]],
            "Steps": [_whole(value) for value in trained["steps"]],
            "Training time": [duration(value) for value in trained["training_seconds"]],
            "First weights": trained["initial_weights"],
        }
    )
    caption = (
        "Images/s of inference with images in memory, one view. Training memory is what one optimiser step needs. "
        "Epochs and steps are those of the budget in each fold; training time is of all folds, with validation."
    )
    if (trained["kind"] == "ensemble").any():
        caption += " An ensemble costs what all its members cost, one after another."
    drawing = new_drawing(height=3.6)
    axes = drawing.add_subplot()
    colours = [GREEN if kind == "ensemble" else BLUE for kind in trained["kind"]]
    axes.scatter(trained["images_per_second"], trained[statistic], color=colours, s=36)
    near = np.ptp(trained[statistic].dropna()) / 20 if trained[statistic].notna().any() else 0.0
    placed: list[tuple[float, float]] = []
    for row in trained.itertuples():
        speed, value = row.images_per_second, getattr(row, statistic)
        # Ensembles of the same members are equally fast; their names stand below one another.
        above = sum(abs(np.log(speed / other[0])) < 0.1 and abs(value - other[1]) <= near for other in placed)
        axes.annotate(
            plain(row.variant, 34), (speed, value), (6, 4 - 10 * above), textcoords="offset points"
        ).set_fontsize(8)
        placed.append((speed, value))
    axes.set_xscale("log")
    # The speeds seldom span a power of ten, and the usual ticks of a logarithmic axis are too few or too many.
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.margins(x=0.18, y=0.15)
    tidy(axes, x="images/s (logarithmic)", y=name, grid="both")
    figure = Figure("costs", to_png(drawing), "Quality and speed", "Up and to the right is better.")
    right = ["Parameters", "Images/s", "Training memory", "Epochs", "Steps", "Training time"]
    return Section("Costs", [figure, Table("Costs", frame, caption, right)])


def _whole(value: float) -> str:
    return number(int(value)) if np.isfinite(value) else ""
