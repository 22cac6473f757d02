"""Neighbours in embeddings: FAISS beside scikit-learn, approximate beside exact search, time and memory by size.

    python benchmarks/neighbours.py [exact] [approximate] [memory] [--features 1280] [--k 10] [--rounds 3]
                                    [--rows 20000] [--many 200000] [--queries 10000] [--sizes 10000 100000 1000000]

All parts without a name. Each prints its ratio or its limit.

- exact: all rows among themselves by `hpa.anomaly.neighbours` (FAISS) and by scikit-learn's brute force, in turns.
- approximate: all rows among themselves by `ivf` (or `--kind hnsw`), index, tuning and true distances included, against
  exact search. The latter's time is linear in its queries: `--queries` of them are timed (the rows are searched in
  full) and the time is scaled. Recall is measured on 2,000 queries that the search did not tune itself on.
- memory: seconds and peak memory of a fresh process that searches a memory-mapped file, for each of `--sizes`. The peak
  counts the file's pages that are in memory at a time, which the system may take back.

Embeddings are made up: points around 200 centres in 32 dimensions, each cluster with its own spread, sent through a
random network of two layers whose outputs are cut at 0 like pooled features, with noise in every feature. So they
cluster, and have few intrinsic dimensions and many features, as those of trained networks do; isotropic noise would
have no neighbours worth finding.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import faiss
import numpy as np
from numpy.lib import format as npy
from sklearn.neighbors import NearestNeighbors

from hpa.anomaly.neighbours import (
    AutoSearch,
    ExactSearch,
    HnswSearch,
    IvfSearch,
    find_neighbours,
    measured_recall,
    nearest,
)
from hpa.artifacts import require_space

PARTS = ("exact", "approximate", "memory")
LATENT, CLUSTERS, HIDDEN = 32, 200, 256
BLOCK = 10_000

T = TypeVar("T")


def embeddings(rows: int, features: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Blocks of float32 (rows, features)."""
    draws = np.random.default_rng(seed)
    centres = draws.normal(0, 1.5, (CLUSTERS, LATENT)).astype(np.float32)
    spreads = draws.uniform(0.4, 1.2, (CLUSTERS, 1)).astype(np.float32)
    first = draws.normal(0, LATENT**-0.5, (LATENT, HIDDEN)).astype(np.float32)
    second = draws.normal(0, HIDDEN**-0.5, (HIDDEN, features)).astype(np.float32)
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        chosen = draws.integers(0, CLUSTERS, count)
        latent = centres[chosen] + spreads[chosen] * draws.standard_normal((count, LATENT), np.float32)
        values = np.maximum(np.maximum(latent @ first, 0) @ second, 0)
        yield values + np.float32(0.02) * draws.standard_normal((count, features), np.float32)


def main() -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--features", type=int, default=1280)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3, help="of the part exact")
    parser.add_argument("--rows", type=int, default=20_000, help="of the part exact")
    parser.add_argument("--many", type=int, default=200_000, help="rows of the part approximate")
    parser.add_argument("--queries", type=int, default=10_000, help="timed for exact search there")
    parser.add_argument("--kind", choices=("ivf", "hnsw"), default="ivf")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="of the part memory")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where the part memory writes its files")
    parser.add_argument("--search", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.search is not None:
        _search(arguments.search, arguments.k)
        return
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"expected some of {', '.join(PARTS)}, but got {', '.join(sorted(unknown))}")
    chosen = arguments.parts or PARTS
    print(f"{arguments.features} features, {arguments.k} neighbours, {faiss.omp_get_max_threads()} threads")
    if "exact" in chosen:
        _exact(arguments.rows, arguments.features, arguments.k, arguments.rounds)
    if "approximate" in chosen:
        config = IvfSearch() if arguments.kind == "ivf" else HnswSearch()
        _approximate(config, arguments.many, arguments.features, arguments.k, arguments.queries)
    if "memory" in chosen:
        for size in arguments.sizes:
            _memory(size, arguments.features, arguments.k, arguments.folder)


def _exact(rows: int, features: int, k: int, rounds: int) -> None:
    values = np.concatenate(list(embeddings(rows, features)))

    def by_scikit_learn() -> np.ndarray:
        model = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(values)
        return np.asarray(model.kneighbors()[0])

    ours, theirs = [], []
    for _ in range(rounds):
        found, seconds = _timed(lambda: nearest(values, None, k, ExactSearch())[0])
        ours.append(seconds)
        expected, seconds = _timed(by_scikit_learn)
        theirs.append(seconds)
    apart = np.abs(found.mean(axis=1) - expected.mean(axis=1)).max()
    print(f"exact: kNN scores of {rows} rows, {rounds} rounds; largest difference of a score {apart:.1e}")
    print(f"  FAISS        {_spread(ours)} s")
    print(f"  scikit-learn {_spread(theirs)} s")
    print(f"  ratio        {_spread([b / a for a, b in zip(ours, theirs, strict=True)])} (above 1: FAISS is faster)")


def _approximate(config: IvfSearch | HnswSearch, rows: int, features: int, k: int, queries: int) -> None:
    values = np.concatenate(list(embeddings(rows, features)))
    found, seconds = _timed(lambda: find_neighbours(values, None, k, config))
    recall = measured_recall(values, None, found.distances, "euclidean", sample=2000, seed=1)
    # A subset of rows as queries finds itself first, which costs nothing: k + 1.
    part = values[np.random.default_rng(2).choice(rows, min(queries, rows), replace=False)]
    _, exact = _timed(lambda: nearest(values, part, k + 1, ExactSearch()))
    whole = exact * rows / len(part)
    print(
        f"approximate: {rows} rows among themselves by {found.method}, recall {recall:.4f} "
        f"({found.recall:.4f} on the queries that it was tuned on)"
    )
    print(f"  {found.method:<12} {seconds:.1f} s")
    print(f"  exact        {whole:.1f} s ({exact:.1f} s for {len(part)} queries)")
    print(f"  ratio        {whole / seconds:.1f}")


def _memory(rows: int, features: int, k: int, folder: Path) -> None:
    require_space(folder, rows * features * 4, f"{rows} embeddings")
    with tempfile.TemporaryDirectory(dir=folder) as text:
        path = Path(text) / "values.npy"
        with path.open("wb") as stream:
            npy.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (rows, features)})
            for block in embeddings(rows, features):
                stream.write(block.tobytes())
        command = [sys.executable, __file__, "--search", str(path), "--k", str(k)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(answer.stdout)
    print(
        f"memory: {rows} rows, a file of {rows * features * 4 / 1e9:.2f} GB: {found['method']}, "
        f"{found['seconds']:.1f} s, peak {found['peak_gb']:.2f} GB ({found['idle_gb']:.2f} GB before the search), "
        f"recall {found['recall']:.4f}"
    )


def _search(path: Path, k: int) -> None:
    """In a process of its own: the search as the detectors do it, and the peak of this process."""
    idle = _peak_gb()
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    found, seconds = _timed(lambda: find_neighbours(values, None, k, AutoSearch()))
    result = {"method": found.method, "recall": found.recall, "seconds": seconds}
    print(json.dumps(result | {"idle_gb": idle, "peak_gb": _peak_gb()}))


def _peak_gb() -> float:
    # Not getrusage, whose maximum a process inherits from the one that started it.
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e9


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
