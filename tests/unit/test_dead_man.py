"""When the dead man stops axes, and when it does not: over real pipes, with a clock of its own where time matters."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from service.alignment.dead_man import BEAT, REST, Words, watch

SILENT_S = 0.3


class Watched:
    """`watch` in a thread, and the end of the pipe that it hears."""

    def __init__(self) -> None:
        self.hearing, self.saying = os.pipe()
        self.stopped, self.why = threading.Event(), "still watching"
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        self.why = watch(Words(self.hearing), SILENT_S, self.stopped.set)

    def say(self, word: bytes) -> None:
        os.write(self.saying, word)

    def hang_up(self) -> None:
        os.close(self.saying)
        self.join()

    def join(self) -> None:
        self._thread.join(10.0)
        assert not self._thread.is_alive()


@pytest.fixture
def watched() -> Iterator[Watched]:
    one = Watched()
    yield one
    os.close(one.hearing)


def test_an_end_at_rest_stops_nothing(watched: Watched) -> None:
    watched.say(BEAT)
    watched.say(REST)
    time.sleep(2.0 * SILENT_S)
    watched.hang_up()
    assert (watched.why, watched.stopped.is_set()) == ("", False)


def test_an_end_while_armed_stops_at_once(watched: Watched) -> None:
    watched.say(BEAT)
    watched.hang_up()
    assert watched.why == "whoever moved the axes is gone"
    assert watched.stopped.is_set()


def test_silence_stops_and_beats_hold_it_off(watched: Watched) -> None:
    for _ in range(8):
        watched.say(BEAT)
        time.sleep(SILENT_S / 3.0)
        assert not watched.stopped.is_set()
    watched.join()
    assert watched.why.startswith("no sign of life for 0.3")
    os.close(watched.saying)


def test_words_in_pieces_are_words(watched: Watched) -> None:
    watched.say(BEAT[:2])
    watched.say(BEAT[2:] + REST[:1])
    watched.say(REST[1:])
    time.sleep(2.0 * SILENT_S)
    assert not watched.stopped.is_set()
    watched.hang_up()
