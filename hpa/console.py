"""Messages and progress for a person: what the command line gives to `hpa.progress` as its reporter."""

import contextlib
import time
from collections.abc import Callable, Iterator

import rich.console
import rich.progress


class Console:
    """Messages and progress bars on a terminal, plain lines elsewhere (a log file, a notebook, a Kaggle kernel)."""

    seconds_between_lines = 15.0

    def __init__(self) -> None:
        self._console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False)

    @contextlib.contextmanager
    def track(self, label: str, total: int, done: int) -> Iterator[Callable[[int], None]]:
        """Show a progress bar while the block runs; its value takes the number of units just finished."""
        if total <= done:
            yield lambda units: None
        elif self._console.is_terminal:
            columns = (
                rich.progress.TextColumn("{task.description}"),
                rich.progress.BarColumn(),
                rich.progress.MofNCompleteColumn(),
                rich.progress.TextColumn("{task.fields[rate]}"),
                rich.progress.TimeRemainingColumn(),
            )
            with rich.progress.Progress(*columns, console=self._console, transient=True) as bar:
                task = bar.add_task(label, total=total, completed=done, rate="")
                pace = _Pace(total, done)

                def advance(units: int) -> None:
                    pace.advance(units)
                    bar.update(task, advance=units, rate=f"{pace.rate:.1f}/s")

                yield advance
        else:
            pace = _Pace(total, done)
            last = time.monotonic()

            def advance(units: int) -> None:
                nonlocal last
                pace.advance(units)
                now = time.monotonic()
                if now - last >= self.seconds_between_lines and pace.done < total:
                    last = now
                    self.say(f"{label}: {pace.done}/{total}, {pace.rate:.1f}/s, {pace.remaining:.0f} s left")

            yield advance


class _Pace:
    """How fast units pass, those of an earlier run left out."""

    def __init__(self, total: int, done: int) -> None:
        self._total, self._start, self.done = total, done, done
        self._began = time.monotonic()

    def advance(self, units: int) -> None:
        self.done += units

    @property
    def rate(self) -> float:
        return (self.done - self._start) / max(time.monotonic() - self._began, 1e-9)

    @property
    def remaining(self) -> float:
        return (self._total - self.done) / max(self.rate, 1e-9)
