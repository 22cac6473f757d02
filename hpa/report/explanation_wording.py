"""What methods of attribution, channels and answers are called on pages."""

import math
from collections.abc import Iterable

from hpa.report.formats import duration

NAMES = {
    "grad_cam": "Grad-CAM",
    "grad_cam_plus_plus": "Grad-CAM++",
    "hires_cam": "HiResCAM",
    "eigen_cam": "Eigen-CAM",
    "layer_cam": "Layer-CAM",
    "guided_backpropagation": "Guided backpropagation",
    "guided_grad_cam": "Guided Grad-CAM",
    "high_resolution_guided_grad_cam": "High-resolution Guided Grad-CAM",
    "gradient": "Gradient",
    "input_times_gradient": "Input × gradient",
    "smooth_grad": "SmoothGrad",
    "integrated_gradients": "Integrated gradients",
    "gradient_shap": "SHAP, gradient",
    "partition_shap": "SHAP, partition",
    "kernel_shap": "SHAP, kernel",
    "lime": "LIME",
}
"""Kind of a method to its name."""

BRIGHT = "bright protein"
CONTROLS = {"random places": "Control: random places", BRIGHT: "Control: bright protein"}
"""Controls, which know nothing of the network."""

_LEGENDS = {
    **dict.fromkeys(("grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam"), "coarse; what speaks for the class"),
    "eigen_cam": "coarse; what stands out, whatever the class",
    **dict.fromkeys(("guided_backpropagation", "gradient", "smooth_grad"), "pixels; sensitivity, without sign"),
    **dict.fromkeys(
        ("guided_grad_cam", "high_resolution_guided_grad_cam"), "pixels; sensitivity where a CAM is positive"
    ),
    **dict.fromkeys(("integrated_gradients", "input_times_gradient", "gradient_shap"), "pixels; for and against"),
    **dict.fromkeys(("partition_shap", "kernel_shap", "lime"), "segments; for and against"),
}

STATUSES = {
    "right": "Predicted, and labelled so.",
    "wrong": "Predicted, but not labelled so.",
    "missed": "Labelled so, but not predicted: the maps show what little speaks for it.",
    "absent": "Neither predicted nor labelled so.",
    "predicted": "Predicted; the labels are unknown.",
    "not predicted": "Not predicted; the labels are unknown.",
}
"""Status of an explained class to a sentence."""

_STAINS = {"red": "Microtubules", "green": "Protein", "blue": "Nucleus", "yellow": "Endoplasmic reticulum"}


def stain_names(channels: Iterable[str]) -> dict[str, str]:
    """What each channel shows: a stain where the channels are the atlas's, and else the channel's own name.

    Yellow tells the atlas's channels from the red, green and blue of a photograph.

    >>> stain_names(["blue", "yellow"]), stain_names(["red", "green", "blue"])["green"]
    ({'blue': 'Nucleus', 'yellow': 'Endoplasmic reticulum'}, 'green')
    """
    names = list(channels)
    known = _STAINS if "yellow" in names else {}
    return {name: known.get(name, name) for name in names}


def method_name(name: str) -> str:
    """A method's or control's name for people; what follows the kind stays.

    >>> method_name("grad_cam"), method_name("lime cells 2"), method_name("random places")
    ('Grad-CAM', 'LIME (cells 2)', 'Control: random places')
    """
    if name in CONTROLS:
        return CONTROLS[name]
    kind, _, repeat = name.partition(" ")
    shown = NAMES.get(kind, kind.replace("_", " "))
    return f"{shown} ({repeat})" if repeat else shown


def cost(seconds: float | int) -> str:
    """The time of one map; a dash for controls, which take none.

    >>> cost(0.0258), cost(3.2), cost(float("nan"))
    ('26 ms', '3.2 s', '–')
    """
    if math.isnan(seconds):
        return "–"
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else duration(seconds)


def legend(kind: str) -> str:
    """What a method's maps show, in a few words."""
    return _LEGENDS.get(kind, "")
