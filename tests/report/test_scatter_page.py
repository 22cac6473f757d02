"""The page of points: self-contained, text stays text, and its script does what it says (in Chromium, if there)."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from hpa.report.scatter_items import Column, Panel, ScatterItems
from hpa.report.scatter_page import SCRIPT, render_scatter_page, write_scatter_page
from hpa.report.thumbnails import SheetFormat, Thumbnails, encode_sheet

EVIL = """</script><script>document.title="hacked"</script><img src=x onerror='document.title="hacked"'>&amp;"',\n"""
COUNT = 12


def content(cells=False):
    """Twelve items on a line, x = 0, 1, 2, ..., and their features."""
    ids = [f"image{number}" for number in range(COUNT)]
    ids[3] = EVIL
    keys = pd.DataFrame({"image_id": ids})
    if cells:
        keys = keys.assign(cell_id=np.arange(COUNT) + 1)
    labels = np.zeros((COUNT, 3), bool)
    labels[:8, 0] = True  # eight of the first class, four of the second, two of both, and two without
    labels[6:10, 1] = True
    scores = np.arange(COUNT, dtype=np.float32)
    scores[0] = np.nan
    columns = [
        Column("fold", "category", [str(number % 11) for number in range(COUNT)]),
        Column("group", "category", [EVIL if number == 3 else f"g{number // 6}" for number in range(COUNT)]),
        Column("blur score", "number", scores, "blur"),
        Column("blur flagged", "flag", scores > 9, "blur"),
    ]
    details = {"blur": {"because": [EVIL if number == 11 else "" for number in range(COUNT)]}}
    layout = SheetFormat(16, 80, 2)
    colours = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 16, 3)).astype(np.uint8)
    sheets = [encode_sheet(list(colours[start : start + 4]), layout) for start in range(0, COUNT, 4)]
    thumbnails = Thumbnails(layout, sheets, np.arange(COUNT))
    return ScatterItems(keys, ["first", "second", EVIL], labels, columns, details, thumbnails)


def line(name="line"):
    return Panel(name, np.stack([np.arange(COUNT), np.zeros(COUNT)], axis=1), [("silhouette", "0.5")], "a note")


class Reader(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def html():
    return render_scatter_page(EVIL, EVIL, content(), [line(EVIL), line()])


def test_no_text_of_the_data_is_markup(html):
    tags = Reader(html).tags
    scripts = [attributes for tag, attributes in tags if tag == "script"]
    assert [script.get("type") for script in scripts] == ["application/json", *["text/plain"] * 3, None]
    assert not any(tag == "img" for tag, _ in tags)
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)


def test_only_its_own_script_may_run_and_nothing_is_fetched(html):
    policy = next(attributes["content"] for tag, attributes in Reader(html).tags if "http-equiv" in attributes)
    own = re.search(r"<script>(.*?)</script>", html, re.S)
    assert own is not None
    assert own[1] == SCRIPT
    assert f"'sha256-{base64.b64encode(hashlib.sha256(own[1].encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag, attributes in Reader(html).tags:
        assert not {"src", "href", "srcset"} & attributes.keys(), tag
    assert "url(" not in html
    assert "@import" not in html


def test_data_is_json_again(html):
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert text is not None
    data = json.loads(text[1])
    assert data["ids"][3] == EVIL
    assert len(data["palette"]) == 7
    assert "<" not in text[1]


def test_same_content_same_bytes_and_written_whole(tmp_path, html):
    path = write_scatter_page(tmp_path / "deep" / "page.html", EVIL, EVIL, content(), [line(EVIL), line()])
    assert path.read_text(encoding="utf-8") == html
    write_scatter_page(tmp_path / "odd.html", "caf\udce9", "", content(), [line("caf\udce9")])
    assert "<title>caf?</title>" in (tmp_path / "odd.html").read_text(encoding="utf-8")


def test_nothing_to_show():
    with pytest.raises(ValueError, match="0 maps"):
        render_scatter_page("title", "", content(), [])
    with pytest.raises(ValueError, match="expected 12 places"):
        render_scatter_page("title", "", content(), [Panel("map", np.zeros((3, 2)))])


# ---- In a browser.


def browse(page, folder, hash_text=""):
    """The page's elements after its script has run, as HTML."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium here to run the page's script")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command = [
        *(chromium, *flags, "--disable-component-update", "--disable-sync", "--window-size=1400,1000"),
        *(
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=2000",
            "--dump-dom",
            page.as_uri() + hash_text,
        ),
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


ACTIONS = """
Element.prototype.setPointerCapture = () => {}; // there is no pointer to capture
for (const each of plots) each.draw();
const found = {}, plot = plots[0], area = plot.box.querySelector(".area");
const send = (type, x, y, more = {}) => {
  const box = area.getBoundingClientRect();
  area.dispatchEvent(new PointerEvent(type,
    { clientX: box.left + x, clientY: box.top + y, pointerId: 1, bubbles: true, ...more }));
};
const press = (key, more = {}) => area.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, ...more }));
const drag = (corners, more) => {
  send("pointerdown", ...corners[0], more);
  for (const corner of corners.slice(1)) send("pointermove", ...corner, more);
  send("pointerup", ...corners[corners.length - 1], more);
};
const column = (item) => plot.columns[item], row = plot.rows[0];
const around = (first, last) => {
  const left = column(first) - 9, right = column(last) + 9;
  return [[left, row - 40], [left, row + 40], [right, row + 40], [right, row - 40]];
};
const texts = (selector) => [...document.querySelectorAll(selector)].map((one) => one.textContent);
const pixel = (item) => {
  const ratio = plot.ratio;
  return [...plot.points.getContext("2d").getImageData(column(item) * ratio, plot.rows[item] * ratio, 1, 1).data];
};
const chooseNamed = (name) => chooseColour(colourings.findIndex((one) => one.name === name));

found.legend = texts("#entries .entry");
found.order = texts("#colour option");
found.colours = [0, 6, 8, 10].map((item) => { state.names = false; plot.draw(); return pixel(item); });

// Pointing shows the card, also in the other map.
send("pointermove", column(11), row);
found.current = state.current;
found.card = element("card").textContent;
found.cardHidden = element("card").hidden;
send("pointerleave", 0, 0);
found.cardGone = element("card").hidden;

// Lasso, adding, taking away; a click toggles.
useTool("lasso");
drag(around(2, 5));
found.lasso = selectedItems();
drag(around(8, 9), { shiftKey: true });
found.added = selectedItems();
drag(around(4, 4), { altKey: true });
found.removed = selectedItems();
useTool("box");
drag([[column(0) - 9, row - 30], [column(3) + 9, row + 30]]);
found.box = selectedItems();
useTool("move");
drag([[column(1), row]]);
found.clicked = selectedItems();
found.csv = csv();
press("Escape");
found.cleared = selectedItems();

// The legend switches classes; an item with both takes the one that is on.
state.off = new Set([1]); recolour(); plot.draw();
found.secondOff = [0, 6, 8].map((item) => paint[item]);
useTool("lasso");
drag(around(5, 9));
found.onlyShownAreSelected = selectedItems();
useTool("move");
document.querySelector("#entries .entry:nth-child(2) .only").click();
found.onlySecond = Array.from(paint.keys()).filter((item) => paint[item] >= 0);
switchAll(true);

// A number: its range, its missing values, its ranks.
chooseNamed("blur score");
found.numberShown = visibleCount;
element("from").value = 500; changeRange("from");
found.upperHalf = Array.from(paint.keys()).filter((item) => paint[item] >= 0);
found.highest = paint[11] > paint[6];
found.drawnLast = order[order.length - 1];
chooseNamed("fold");
found.folds = texts("#entries .name");
chooseNamed("class");

// Keys: zoom, fit, walk from point to point, select.
press("+");
found.zoomed = plot.zoom > 1;
press("f");
found.fitted = plot.zoom;
const before = plot.x;
press("ArrowRight");
found.movedRight = plot.x > before;
press("f");
choose([]);
state.current = 4;
press("ArrowRight", { shiftKey: true });
found.walked = state.current;
press("Enter");
found.entered = selectedItems();

// The wheel keeps the point below it in place.
plot.fit(); plot.draw();
const corner = area.getBoundingClientRect(), clientX = Math.round(corner.left + column(2));
const under = () => plot.toData(clientX - corner.left, row)[0], was = under();
const clientY = Math.round(corner.top + row);
area.dispatchEvent(new WheelEvent("wheel", { deltaY: -400, bubbles: true, cancelable: true, clientX, clientY }));
found.wheel = [plot.zoom > 1.5, Math.abs(under() - was) < 1e-6];

find("g1");
found.found = selectedItems();
find("SECOND");
found.foundClass = selectedItems();
found.title = document.title;
document.body.replaceChildren();
const result = document.createElement("pre");
result.textContent = JSON.stringify(found);
document.body.append(result);
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the actions of a person lead to."""
    folder = tmp_path_factory.mktemp("browser")
    text = render_scatter_page("Page", "", content(), [line(), line("other")])
    text = re.sub(r'<meta http-equiv="Content-Security-Policy".*?>', "", text, flags=re.S)
    page = folder / "page.html"
    page.write_text(text.replace("</body>", f"<script>{{{ACTIONS}}}</script></body>"), encoding="utf-8")
    answer = re.search(r"<pre>(.*)</pre>", browse(page, folder), re.S)
    assert answer is not None
    return json.loads(unescape(answer[1]))


def test_legend_and_colours(found):
    assert [re.sub("only", " ", text) for text in found["legend"]] == [
        "first 8",
        "second 4",
        EVIL + " 0",
        "no label 2",
    ]
    assert found["order"] == ["class", "fold", "group", "blur score", "blur flagged"]
    blue, orange, grey = [0, 114, 178, 255], [230, 159, 0, 255], [138, 146, 154, 255]
    assert found["colours"] == [blue, orange, orange, grey]  # item 6 has both and takes the rarer


def test_the_card_tells_all(found):
    assert found["current"] == 11
    assert not found["cardHidden"]
    assert "image11" in found["card"]
    assert "no label" in found["card"]
    assert "score 11; because " + EVIL in found["card"]
    assert found["cardGone"]


def test_selection(found):
    assert found["lasso"] == [2, 3, 4, 5]
    assert found["added"] == [2, 3, 4, 5, 8, 9]
    assert found["removed"] == [2, 3, 5, 8, 9]
    assert found["box"] == [0, 1, 2, 3]
    assert found["clicked"] == [0, 2, 3]
    assert found["cleared"] == []


def test_csv_is_read_as_it_was_written(found):
    from io import StringIO

    table = pd.read_csv(StringIO(found["csv"]), keep_default_na=False, dtype=str)
    assert table["image_id"].tolist() == ["image0", "image2", EVIL]
    assert table["classes"].tolist() == ["first"] * 3
    assert table["group"].tolist() == ["g0", "g0", EVIL]
    assert table["blur score"].tolist() == ["", "2", "3"]
    assert table["blur flagged"].tolist() == ["0"] * 3
    assert table["line x"].tolist() == ["0", "2", "3"]


def test_classes_are_switched_off(found):
    assert found["secondOff"] == [0, 0, -1]
    assert found["onlyShownAreSelected"] == [5, 6, 7]
    assert found["onlySecond"] == [6, 7, 8, 9]


def test_numbers(found):
    assert found["numberShown"] == COUNT
    assert found["upperHalf"] == [6, 7, 8, 9, 10, 11]
    assert found["highest"]
    assert found["drawnLast"] == 11
    assert found["folds"] == [str(number) for number in range(11)]  # 10 after 9


def test_keys_and_wheel(found):
    assert found["zoomed"]
    assert found["fitted"] == 1
    assert found["movedRight"]
    assert found["walked"] == 5
    assert found["entered"] == [5]
    assert found["wheel"] == [True, True]


def test_finding(found):
    assert found["found"] == [6, 7, 8, 9, 10, 11]
    assert found["foundClass"] == [6, 7, 8, 9]


def test_runs_under_its_own_policy_and_nothing_else_does(html, tmp_path):
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    dom = browse(tmp_path / "page.html", tmp_path, "#colour=group&panel=2")
    assert len(re.findall('class="entry"', dom)) == 3  # the script ran
    assert "<title>hacked" not in dom
    assert '<main id="panels" data-count="1">' in dom


def test_cells_and_items_without_anything(tmp_path):
    (tmp_path / "cells.html").write_text(
        render_scatter_page("Cells", "", content(cells=True), [line()]), encoding="utf-8"
    )
    dom = browse(tmp_path / "cells.html", tmp_path, "#find=image5")
    assert "image5 · cell 6" in dom
    bare = ScatterItems(pd.DataFrame({"image_id": ["a", "b"]}), ["x", "y"], None)
    page = render_scatter_page("Bare", "", bare, [Panel("map", np.zeros((2, 2)))])
    (tmp_path / "bare.html").write_text(page, encoding="utf-8")
    assert "2 shown" in browse(tmp_path / "bare.html", tmp_path)
