"""Pages are self-contained, and no text of others becomes markup."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa.report import (
    Card,
    Cards,
    Facts,
    Figure,
    Gallery,
    Note,
    Page,
    Section,
    Table,
    Tile,
    render_page,
    write_page,
)
from hpa.report.canvas import new_drawing, to_png
from hpa.report.gallery import encode

EVIL = """<script>alert("x")</script><img src='http://evil.example/x.png' onerror=a()>&amp;"'"""


class Reader(HTMLParser):
    """Collects the tags, links and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def page() -> Page:
    png = to_png(new_drawing(2, 1))
    picture = encode(np.zeros((8, 8, 3), np.uint8))
    blocks = [
        Figure("drawn", png, EVIL, EVIL),
        Table(EVIL, pd.DataFrame({EVIL: [EVIL, "b"], "n": ["1", "2"]}), EVIL, ["n"]),
        Cards([Card(EVIL, EVIL, EVIL)]),
        Note(EVIL),
        Facts({EVIL: EVIL}, folded=EVIL),
        Gallery(EVIL, [Tile(picture, EVIL, [(EVIL, EVIL)], EVIL, "wrong", picture)], EVIL),
    ]
    return Page(EVIL, [Section(EVIL, blocks, EVIL), Section("second", [])], EVIL, [EVIL], EVIL)


def test_text_is_never_markup(page: Page) -> None:
    reader = Reader(render_page(page))
    assert {tag for tag, _ in reader.tags}.isdisjoint({"script", "iframe", "link", "object"})
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    # Everywhere it was put as text (and once as an image's alternative), it is there as written.
    assert "".join(reader.texts).count(EVIL) >= 20


def test_needs_nothing_from_outside(page: Page) -> None:
    html = render_page(page)
    for tag, attributes in Reader(html).tags:
        for name in ("src", "href", "srcset", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), (tag, value)
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert "default-src 'none'" in html


def test_contents_lead_to_the_sections(page: Page) -> None:
    reader = Reader(render_page(page))
    links = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    ids = ["#" + attributes["id"] for tag, attributes in reader.tags if tag == "section"]
    assert links == ids
    assert len(ids) == 2


def test_images_are_whole(page: Page) -> None:
    sources = [attributes["src"] for tag, attributes in Reader(render_page(page)).tags if tag == "img"]
    assert len(sources) == 3
    figure = page.sections[0].blocks[0]
    assert isinstance(figure, Figure)
    assert base64.b64decode(sources[0].split(",")[1]) == figure.png
    assert figure.width == 192  # 2 inches of 96 CSS pixels


def test_written_with_its_figures(page: Page, tmp_path: Path) -> None:
    path = write_page(tmp_path / "deep" / "page.html", page, tmp_path / "figures")
    assert path.read_text(encoding="utf-8") == render_page(page)
    assert [file.name for file in (tmp_path / "figures").iterdir()] == ["drawn.png"]


def test_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = write_page(tmp_path / "page.html", Page("caf\udce9", []))
    assert "<title>caf?</title>" in path.read_text(encoding="utf-8")


def test_unwritable_leaves_the_old_page(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError, match="file"):
        write_page(tmp_path / "file" / "page.html", Page("new", []))
    assert (tmp_path / "file").read_text() == "old"
