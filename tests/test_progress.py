import contextlib

import pytest

from hpa import progress


class Recorder:
    def __init__(self):
        self.said, self.tracks = [], []

    def say(self, text):
        self.said.append(text)

    @contextlib.contextmanager
    def track(self, label, total, done):
        steps = []
        self.tracks.append((label, total, done, steps))
        yield steps.append


@pytest.fixture
def recorder():
    recorder = Recorder()
    progress.set_reporter(recorder)
    yield recorder
    progress.set_reporter(progress.Silent())


def test_the_reporter_gets_messages_and_progress(recorder):
    progress.say("hello")
    assert list(progress.tracked("abc", "letters", 5, done=2)) == list("abc")
    assert recorder.said == ["hello"]
    assert recorder.tracks == [("letters", 5, 2, [1, 1, 1])]


def test_libraries_are_silent(capsys):
    progress.say("hello")
    list(progress.tracked("abc", "letters", 3))
    assert capsys.readouterr() == ("", "")
