"""A page of points to explore: one HTML file with its data, its thumbnails and its own script, and nothing else."""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from hpa.artifacts import write_text
from hpa.report.canvas import SERIES
from hpa.report.scatter_items import CLASS, RAMP, Panel, ScatterItems, plain_items, plain_panel
from hpa.report.scatter_legend_script import LEGEND_SCRIPT
from hpa.report.scatter_marker_script import MARKER_SCRIPT
from hpa.report.scatter_model_script import MODEL_SCRIPT
from hpa.report.scatter_plot_script import PLOT_SCRIPT
from hpa.report.scatter_selection_script import SELECTION_SCRIPT
from hpa.report.scatter_template import STYLE, TEMPLATE
from hpa.report.scatter_tools_script import TOOLS_SCRIPT

SCRIPT = "".join(
    ['"use strict";\n', MODEL_SCRIPT, MARKER_SCRIPT, PLOT_SCRIPT, LEGEND_SCRIPT, SELECTION_SCRIPT, TOOLS_SCRIPT],
)
"""The page's own script; the browser runs no other one, for the page names this one's hash."""


def render_scatter_page(
    title: str, subtitle: str, items: ScatterItems, panels: Sequence[Panel], colour: str = CLASS
) -> str:
    """The page as HTML text. Every text of the data stays text: the script sets it as such, and runs nothing of it.

    Args:
        title: of the page.
        subtitle: one line below it.
        items: what is shown.
        panels: maps of the items, shown side by side; what is pointed at or selected in one is so in all.
        colour: name of the column that colours at first; `CLASS` where it is not there.

    Raises:
        ValueError: no item or panel, or a panel has not one finite place per item.
    """
    count = len(items.keys)
    if count == 0 or not panels:
        raise ValueError(f"expected items and maps of them, but got {count} items in {len(panels)} maps")
    data = plain_items(items) | {"panels": [plain_panel(panel, count) for panel in panels]}
    data |= {"colour": colour, "palette": SERIES, "ramp": RAMP}
    sheets = [] if items.thumbnails is None else [base64.b64encode(sheet).decode() for sheet in items.thumbnails.sheets]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE).render(
        title=title,
        subtitle=subtitle,
        panels=panels,
        style=Markup(STYLE),
        script=Markup(SCRIPT),
        script_hash=base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode(),
        # Inside a script element only "<" can end it or begin markup.
        data=Markup(json.dumps(data, allow_nan=False).replace("<", "\\u003c")),
        sheets=sheets,
    )


def write_scatter_page(
    path: Path, title: str, subtitle: str, items: ScatterItems, panels: Sequence[Panel], colour: str = CLASS
) -> Path:
    """Write the page of `render_scatter_page`; gives its path.

    Raises:
        ValueError: as there.
        OSError: the file cannot be written; what stood there is as it was.
    """
    # File names that are not UTF-8 hold lone surrogates, which no text file can.
    write_text(path, render_scatter_page(title, subtitle, items, panels, colour).encode("utf-8", "replace").decode())
    return path
