"""What a stage tells a person while it works: messages and progress, silent until the command line sets a reporter."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T")


@runtime_checkable
class Reporter(Protocol):
    """Shows messages and progress to a person."""

    def say(self, text: str) -> None:
        """Show one message."""

    def track(self, label: str, total: int, done: int) -> contextlib.AbstractContextManager[Callable[[int], None]]:
        """Show progress of `total` units, `done` of them from before; the callable advances by a number of units."""


class Silent:
    """The reporter of libraries, tests and worker processes."""

    def say(self, text: str) -> None:
        """Show nothing."""

    @contextlib.contextmanager
    def track(self, label: str, total: int, done: int) -> Iterator[Callable[[int], None]]:
        """Show nothing."""
        yield lambda units: None


_reporter: Reporter = Silent()


def set_reporter(reporter: Reporter) -> None:
    """Choose who shows messages and progress in this process."""
    global _reporter
    _reporter = reporter


def say(text: str) -> None:
    """Show a message to the person who runs the command."""
    _reporter.say(text)


def track(label: str, total: int, done: int = 0) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    """Progress over `total` units, `done` of them finished in an earlier run.

    >>> with track("reading", 3) as advance:
    ...     advance(1)
    """
    return _reporter.track(label, total, done)


def tracked(items: Iterable[T], label: str, total: int, done: int = 0) -> Iterator[T]:
    """Pass items on and advance by one after each."""
    with track(label, total, done) as advance:
        for item in items:
            yield item
            advance(1)
