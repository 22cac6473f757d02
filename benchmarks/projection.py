"""Projections and their page: seconds of UMAP with and without a seed, megabytes and seconds of the page.

    python benchmarks/projection.py [--parts umap methods page browser] [--rows 20000] [--features 1280] [--rounds 1]

- umap: embeddings in clusters (200 centres in a subspace of 32 dimensions, with noise in it and a tenth of that in all
  others) mapped by the project's UMAP: with a seed on one core, and without on all. Compiling, which takes some seconds
  once per process, is done before. Ratio: seeded to unseeded. It also says how well clusters are kept: neighbour
  accuracy in the map against that in the embedding.
- methods: the same rows by principal components and by t-SNE (learned from 5,000 of them), once each.
- page: thumbnails and page of so many images out of a pixel cache of 160²: 200 simulated images, each seen in all eight
  turns and at random brightness. It says the side that fits 24 MB of thumbnails, and the megabytes of the file.
- browser: milliseconds that this page takes to draw all points anew, as it does when it is zoomed, in a headless
  Chromium without a graphics card (the slowest case); left out where there is none.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from hpa.anomaly.projection import build_projection
from hpa.anomaly.projection_config import PcaConfig, TsneConfig, UmapConfig
from hpa.anomaly.separation import SeparationConfig, measure_separation
from hpa.arrays import EmbeddingArray, Pixels, Targets
from hpa.cache import PixelCache, write_cache
from hpa.images import CHANNELS
from hpa.labels import HPA2021
from hpa.parallel import WorkersConfig
from hpa.report.scatter_items import Column, Panel, ScatterItems
from hpa.report.scatter_page import write_scatter_page
from hpa.simulation import SimulationConfig, simulate_image
from hpa.stages.anomalies.item_thumbnails import make_thumbnails

CENTRES = 200
SIDE = 160
SIMULATED = 200


def main() -> None:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["umap", "methods", "page", "browser"])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--simulated", type=int, default=SIMULATED, help="different images behind the page's rows")
    arguments = parser.parse_args()
    values, targets = clustered(arguments.rows, arguments.features)
    print(f"{arguments.rows} rows of {arguments.features} features, {os.cpu_count()} cores, {arguments.rounds} rounds")
    if "umap" in arguments.parts:
        _umap(values, targets, arguments.rounds)
    if "methods" in arguments.parts:
        for config in (PcaConfig(), TsneConfig(sample=5000)):
            seconds = _seconds(lambda config=config: build_projection(config).fit_transform(values))  # type: ignore[misc]
            print(f"  {config.kind:14} {seconds:.1f} s")
    if "page" in arguments.parts or "browser" in arguments.parts:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            page = _page(Path(folder), arguments.rows, arguments.simulated)
            if "browser" in arguments.parts:
                _browser(page)


def clustered(rows: int, features: int, seed: int = 0) -> tuple[EmbeddingArray, Targets]:
    """Rows around `CENTRES` centres, and which centre each is of."""
    draws = np.random.default_rng(seed)
    inner = min(32, features)
    plane = np.linalg.qr(draws.normal(size=(features, inner)))[0].T.astype(np.float32)
    centres = draws.normal(0, 3, (CENTRES, inner)).astype(np.float32)
    number = draws.integers(0, CENTRES, rows)
    values = (centres[number] + draws.normal(0, 1, (rows, inner)).astype(np.float32)) @ plane
    values += draws.normal(0, 0.1, (rows, features)).astype(np.float32)
    return values, np.eye(CENTRES, dtype=np.float32)[number]


def _umap(values: EmbeddingArray, targets: Targets, rounds: int) -> None:
    found: dict[str, list[float]] = {"seeded": [], "unseeded": []}
    maps = {}
    for seed in (0, None):  # compiles
        build_projection(UmapConfig(seed=seed)).fit_transform(values[:5000])
    for _ in range(rounds):
        for name, seed in (("seeded", 0), ("unseeded", None)):
            start = time.perf_counter()
            maps[name] = build_projection(UmapConfig(seed=seed)).fit_transform(values)
            found[name].append(time.perf_counter() - start)
    settings = SeparationConfig(sample=2000)
    inside = measure_separation(values, targets, settings).accuracy
    for name, seconds in found.items():
        kept = measure_separation(maps[name], targets, settings).accuracy
        print(
            f"  umap {name:9} {statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f}); "
            f"neighbours right {kept:.3f} in the map, {inside:.3f} in the embedding"
        )
    ratios = [a / b for a, b in zip(found["seeded"], found["unseeded"], strict=True)]
    print(f"  seeded takes {statistics.median(ratios):.2f} times as long")


def _page(folder: Path, items: int, simulated: int) -> Path:
    draws = np.random.default_rng(0)
    config = SimulationConfig(images=simulated, size=SIDE, field=81.92)
    images = [simulate_image(config, index) for index in range(simulated)]
    gains = draws.uniform(0.6, 1.3, items)

    def turned(key: int) -> Pixels:
        pixels: np.ndarray = np.rot90(images[key % simulated].pixels, key // simulated % 4, axes=(1, 2))
        pixels = pixels[:, ::-1] if key // simulated // 4 % 2 else pixels
        bright: Pixels = np.minimum(pixels * gains[key], 255).astype(np.uint8)
        return bright

    names = [f"image-{number:06}" for number in range(items)]
    (folder / "cache").mkdir()
    write_cache(folder / "cache", names, range(items), turned, CHANNELS, SIDE)
    labels = np.zeros((items, len(HPA2021)), bool)
    for row in range(items):
        labels[row, list(images[row % simulated].labels)] = True
    places = draws.normal(0, 1, (items, 2)) + 4 * draws.normal(size=(CENTRES, 2))[draws.integers(0, CENTRES, items)]
    places = places.astype(np.float32)
    start = time.perf_counter()
    cache = PixelCache.open(folder / "cache")
    thumbnails = make_thumbnails(cache, np.arange(items), places, 18_000_000, 192, WorkersConfig())
    drawn = time.perf_counter() - start
    columns = [Column(f"score {number}", "number", draws.random(items).astype(np.float32)) for number in range(10)]
    columns += [Column("group", "category", [f"group{number // 4}" for number in range(items)])]
    columns += [Column("fold", "category", [str(number % 5) for number in range(items)])]
    content = ScatterItems(pd.DataFrame({"image_id": names}), HPA2021.names, labels, columns, {}, thumbnails)
    panels = [Panel(f"map {number}", places + np.float32(number)) for number in range(4)]
    page = write_scatter_page(folder / "page.html", "Benchmark", f"{items} images", content, panels)
    whole = time.perf_counter() - start
    sheets = sum(len(sheet) for sheet in thumbnails.sheets)
    print(
        f"  page of {items} images in 4 maps: {page.stat().st_size / 1e6:.1f} MB, thumbnails of "
        f"{thumbnails.format.side} pixels at quality {thumbnails.format.quality} ({sheets / items:.0f} bytes each); "
        f"{drawn:.1f} s for the thumbnails, {whole:.1f} s in all"
    )
    return page


_MEASURE = """<script>
const times = [];
showPanels(0);
for (let k = 0; k < 12; k++) {
  const start = performance.now();
  plots[0].zoomBy(k % 2 ? 1.05 : 1 / 1.05);
  plots[0].draw();
  plots[0].points.getContext("2d").getImageData(0, 0, 1, 1); // waits until it is drawn
  times.push(performance.now() - start);
}
const before = performance.now();
for (let k = 0; k < 100; k++) plots[0].nearest(5 * k, 3 * k);
const search = (performance.now() - before) / 100;
document.body.innerHTML = "";
document.body.textContent = "found " + JSON.stringify({ draw: times.slice(2).sort((a, b) => a - b), search });
</script>"""


def _browser(page: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("  no Chromium here: drawing is not measured")
        return
    text = page.read_text(encoding="utf-8")
    start, stop = text.index("<meta http-equiv"), text.index("<title>")
    tried = page.with_name("tried.html")
    tried.write_text(text[:start] + text[stop:].replace("</body>", _MEASURE + "</body>"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [browser, *flags, profile, "--window-size=1400,1000", "--dump-dom", tried.as_uri()]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    found = answer[answer.index("found ") + 6 : answer.index("</body>")]
    print(f"  milliseconds in the browser: {found.strip()}")


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
