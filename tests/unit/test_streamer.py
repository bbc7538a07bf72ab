from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from itertools import count, islice, repeat
from threading import Event
from typing import Any

import pytest

from service.devices.status import State
from service.devices.streamer import Streamer
from service.errors import RefusedError, SettingsError, SourceBusy, SourceError
from service.records import Frame, SeriesEnd, SeriesStart
from service.settings import StreamerSettings
from tests.helpers.streams import ListSink, ListSource, series, until

FAST = StreamerSettings(rate_hz=100_000, patience_s=0.15)
TRIGGERED = FAST.model_copy(update={"trigger": "software"})


class Bench:
    """A streamer between lists; `sources` are handed out one after another, the last one again and again."""

    def __init__(self, *sources: Any, settings: StreamerSettings = FAST) -> None:
        self.sources, self.sinks = list(sources), []
        self.opened: list[ListSource] = []
        self.streamer = Streamer(settings, self._source, self._sink)

    def _source(self, settings: StreamerSettings) -> ListSource:
        source = self.sources.pop(0) if len(self.sources) > 1 else self.sources[0]
        if isinstance(source, Exception):
            raise source
        self.opened.append(source() if callable(source) else source)
        return self.opened[-1]

    def _sink(self, settings: StreamerSettings) -> ListSink:
        self.sinks.append(ListSink())
        return self.sinks[-1]

    @property
    def sink(self) -> ListSink:
        return self.sinks[-1]

    def in_state(self, state: State) -> None:
        until(lambda: self.streamer.status.state is state)


@pytest.fixture
def bench() -> Iterator[Any]:
    made: list[Bench] = []

    def make(*sources: Any, settings: StreamerSettings = FAST) -> Bench:
        made.append(Bench(*sources, settings=settings))
        return made[-1]

    yield make
    for one in made:
        one.streamer.close()


def many() -> ListSource:
    return ListSource(series(1000))


def test_a_series_is_sent_whole_and_in_order(bench: Any) -> None:
    one = bench(lambda: ListSource(series(12)))
    one.streamer.prepare()
    one.in_state(State.ON)
    one.streamer.start()
    one.in_state(State.STANDBY)
    assert one.sink.kinds == ["SeriesStart", *["Frame"] * 12, "SeriesEnd"]
    assert [frame.image_id for frame in one.sink.frames] == list(range(12))
    status = one.streamer.status
    assert (status.sent, status.dropped, status.frames, status.progress_percent) == (12, 0, 12, 100.0)
    assert "finished" in status.message
    assert one.opened[0].closed


def test_start_prepares_where_that_was_not_done(bench: Any) -> None:
    one = bench(lambda: ListSource(series(2)))
    one.streamer.start()
    one.in_state(State.STANDBY)
    assert one.streamer.status.sent == 2


def test_each_series_has_a_name_of_its_own_and_all_its_messages_carry_it(bench: Any) -> None:
    one = bench(lambda: ListSource(series(3)))
    for _ in range(2):
        one.streamer.start()
        until(lambda: one.streamer.status.state is State.STANDBY)
    names = {(message.series_id, message.series_unique_id) for message in one.sink.taken}
    assert [number for number, _ in sorted(names)] == [1, 2]
    assert len({name for _, name in names}) == 2
    assert len(one.sinks) == 1, "the endpoint stays bound between series"


def test_two_series_of_one_source_without_an_end_between_them(bench: Any) -> None:
    messages = [*list(series(2, "a"))[:-1], *series(2, "b", announced=False)]
    one = bench(lambda: ListSource([None, *messages]))
    one.streamer.start()
    one.in_state(State.STANDBY)
    assert one.sink.kinds == ["SeriesStart", "Frame", "Frame", "SeriesEnd"] * 2
    assert one.streamer.status.frames == 0


def test_frames_and_ends_outside_a_series_are_not_sent(bench: Any) -> None:
    one = bench(lambda: ListSource(list(series(2))[1:]))
    one.streamer.start()
    one.in_state(State.STANDBY)
    assert one.sink.taken == []


def test_stop_closes_the_series_after_the_current_frame(bench: Any) -> None:
    one = bench(many, settings=FAST.model_copy(update={"rate_hz": 100.0}))
    one.streamer.start()
    until(lambda: one.streamer.status.sent > 3)
    one.streamer.stop()
    one.in_state(State.STANDBY)
    assert one.sink.kinds[-2:] == ["Frame", "SeriesEnd"]
    assert len(one.sink.frames) == one.streamer.status.sent < 1000
    assert "stopped" in one.streamer.status.message


def test_abort_gives_the_series_up_and_the_next_one_is_another(bench: Any) -> None:
    one = bench(many, lambda: ListSource(series(2)), settings=FAST.model_copy(update={"rate_hz": 100.0}))
    one.streamer.start()
    until(lambda: one.streamer.status.sent > 3)
    one.streamer.abort()
    one.in_state(State.STANDBY)
    taken, first = len(one.sink.taken), one.sink.taken[0]
    last = one.sink.taken[-1]
    assert last == SeriesEnd(series_id=1, series_unique_id=first.series_unique_id, aborted=True)
    assert len(one.sink.frames) == one.streamer.status.sent < 1000
    assert "aborted" in one.streamer.status.message
    one.streamer.start()
    one.in_state(State.STANDBY)
    assert one.sink.kinds[taken:] == ["SeriesStart", "Frame", "Frame", "SeriesEnd"]
    assert one.sink.taken[taken].series_unique_id != first.series_unique_id


def test_the_start_waits_for_its_receiver_and_nothing_is_lost(bench: Any) -> None:
    one = bench(lambda: ListSource(series(5)))
    one.streamer.prepare()
    one.in_state(State.ON)
    one.sink.open.clear()
    one.streamer.start()
    until(lambda: "waits for a receiver" in one.streamer.status.message)
    time.sleep(3 * FAST.patience_s)
    assert one.streamer.status.state is State.RUNNING
    one.sink.open.set()
    one.in_state(State.STANDBY)
    assert (one.streamer.status.sent, one.streamer.status.dropped) == (5, 0)


def test_waiting_for_a_receiver_can_be_stopped(bench: Any) -> None:
    one = bench(lambda: ListSource(series(5)))
    one.streamer.prepare()
    one.in_state(State.ON)
    one.sink.open.clear()
    one.streamer.start()
    until(lambda: "waits for a receiver" in one.streamer.status.message)
    one.streamer.stop()
    one.in_state(State.STANDBY)
    assert one.sink.taken == []


def test_frames_that_nobody_takes_are_counted_and_the_end_is_missed_aloud(bench: Any) -> None:
    one = bench(many, settings=FAST.model_copy(update={"rate_hz": 200.0}))
    one.streamer.start()
    until(lambda: one.streamer.status.sent > 2)
    one.sink.open.clear()
    until(lambda: one.streamer.status.dropped == 2)
    assert "dropped" in one.streamer.status.message
    one.streamer.stop()
    one.in_state(State.FAULT)
    assert "nobody took the end" in one.streamer.status.message
    assert len(one.sink.frames) == one.streamer.status.sent
    with pytest.raises(SourceBusy, match="Reset first"):
        one.streamer.start()
    one.streamer.reset()
    one.in_state(State.STANDBY)
    assert one.sink.closed


def test_a_slow_receiver_holds_the_stream_back_without_a_loss(bench: Any) -> None:
    one = bench(lambda: ListSource(series(20)), settings=FAST.model_copy(update={"patience_s": 5.0}))
    one.streamer.prepare()
    one.in_state(State.ON)
    one.streamer.start()
    for _ in range(3):
        one.sink.open.clear()
        time.sleep(0.15)
        one.sink.open.set()
    one.in_state(State.STANDBY)
    assert [frame.image_id for frame in one.sink.frames] == list(range(20))


def test_the_rate_is_kept(bench: Any) -> None:
    one = bench(lambda: ListSource(series(101)), settings=FAST.model_copy(update={"rate_hz": 200.0}))
    one.streamer.start()
    began_s = time.monotonic()
    one.in_state(State.STANDBY)
    assert time.monotonic() - began_s >= 0.5 - 0.1
    assert one.streamer.status.measured_rate_hz == pytest.approx(200.0, rel=0.1)


def test_loop_plays_the_source_again_as_a_new_series(bench: Any) -> None:
    one = bench(lambda: ListSource(series(3)), settings=FAST.model_copy(update={"loop": True}))
    one.streamer.start()
    until(lambda: one.streamer.status.series_id >= 3)
    one.streamer.write("loop", False)
    one.in_state(State.STANDBY)
    starts = [message for message in one.sink.taken if isinstance(message, SeriesStart)]
    ends = [message for message in one.sink.taken if isinstance(message, SeriesEnd)]
    assert len(starts) == len(ends) == len({start.series_unique_id for start in starts}) >= 3
    assert all(source.closed for source in one.opened)


def test_an_endless_source_ends_when_looping_ends(bench: Any) -> None:
    endless = ListSource(message for number in count() for message in series(3, str(number)))
    one = bench(endless, settings=FAST.model_copy(update={"loop": True, "rate_hz": 2000.0}))
    one.streamer.start()
    until(lambda: one.streamer.status.series_id >= 3)
    one.streamer.write("loop", False)
    one.in_state(State.STANDBY)
    assert one.sink.kinds[-1] == "SeriesEnd"
    assert len(one.opened) == 1


@pytest.mark.parametrize("verb", ["prepare", "start"])
def test_a_source_that_cannot_be_opened_is_a_fault_with_a_way_out(bench: Any, verb: str) -> None:
    one = bench(SourceError("no/such.h5 does not exist; give an existing file"), lambda: ListSource(series(1)))
    getattr(one.streamer, verb)()
    one.in_state(State.FAULT)
    assert one.streamer.status.message == "no/such.h5 does not exist; give an existing file; Reset acknowledges"
    with pytest.raises(SourceBusy, match="FAULT"):
        one.streamer.prepare()
    one.streamer.reset()
    one.in_state(State.STANDBY)
    one.streamer.start()
    until(lambda: one.streamer.status.sent == 1)


def test_a_source_that_breaks_in_mid_series_is_a_fault(bench: Any) -> None:
    def breaking() -> Iterator[Any]:
        yield from islice(series(5), 3)
        raise SourceError("frame 2 cannot be read")

    one = bench(lambda: ListSource(breaking()))
    one.streamer.start()
    one.in_state(State.FAULT)
    assert "frame 2 cannot be read" in one.streamer.status.message
    one.streamer.reset()
    one.in_state(State.STANDBY)
    assert one.opened[0].closed


def test_settings_change_at_rest_and_ask_for_a_new_preparation(bench: Any) -> None:
    one = bench(lambda: ListSource(series(1)))
    one.streamer.prepare()
    one.in_state(State.ON)
    one.streamer.write("path", "scan.h5")
    one.in_state(State.STANDBY)
    assert one.streamer.status.path == "scan.h5"
    assert one.opened[0].closed
    one.streamer.write("source", "replay")
    assert one.streamer.status.source == "replay"


@pytest.mark.parametrize(
    ("field", "value"), [("source", "tape"), ("rate_hz", 0.0), ("compression", "zip"), ("rate_hz", -1.0)]
)
def test_wrong_settings_are_refused_and_change_nothing(bench: Any, field: str, value: Any) -> None:
    one = bench(lambda: ListSource(series(1)))
    before = one.streamer.status
    with pytest.raises(SettingsError, match=field):
        one.streamer.write(field, value)
    assert one.streamer.status == before


def test_while_frames_flow_only_rate_and_loop_may_change(bench: Any) -> None:
    one = bench(many, settings=FAST.model_copy(update={"rate_hz": 50.0}))
    one.streamer.start()
    until(lambda: one.streamer.status.sent > 0)
    with pytest.raises(SourceBusy, match="Stop or Abort first"):
        one.streamer.write("source", "replay")
    with pytest.raises(SourceBusy):
        one.streamer.start()
    one.streamer.write("rate_hz", 100_000.0)
    one.in_state(State.STANDBY)
    assert one.streamer.status.sent == 1000


def test_while_it_prepares_reset_is_the_way_out(bench: Any) -> None:
    opening = Event()
    one = bench(lambda: opening.wait(20) and ListSource(series(1)))
    one.streamer.prepare()
    try:
        for refused in (one.streamer.start, one.streamer.prepare, lambda: one.streamer.write("scan", "2.1")):
            with pytest.raises(SourceBusy, match=r"INIT: opening twin; wait, or Reset$"):
                refused()
    finally:
        opening.set()
    one.streamer.reset()
    one.in_state(State.STANDBY)


def test_wait_returns_the_next_status(bench: Any) -> None:
    one = bench(lambda: ListSource(repeat(None)))
    seen = one.streamer.wait(None, 0.0)
    assert one.streamer.wait(seen, 0.01) is seen
    one.streamer.write("scan", "2.1")
    assert one.streamer.wait(seen, 1.0).scan == "2.1"


def test_close_ends_a_running_stream_and_may_be_called_twice(bench: Any) -> None:
    one = bench(many, settings=FAST.model_copy(update={"rate_hz": 50.0}))
    one.streamer.start()
    until(lambda: one.streamer.status.sent > 0)
    one.streamer.close()
    one.streamer.close()
    assert one.opened[0].closed
    assert one.sink.closed
    assert one.sink.taken[-1].aborted, "what is cut off is said to be given up"


def test_a_frame_leaves_for_each_trigger_and_is_counted_when_it_returns(bench: Any) -> None:
    one = bench(lambda: ListSource(series(3)), settings=TRIGGERED)
    one.streamer.start()
    for number in range(3):
        one.streamer.trigger()  # the first one before the series is open
        status = one.streamer.status
        assert (status.sent, status.frame_counts) == (number + 1, 24.0 * number)
        time.sleep(0.02)
        assert len(one.sink.frames) == number + 1
    one.in_state(State.STANDBY)
    assert one.sink.kinds == ["SeriesStart", *["Frame"] * 3, "SeriesEnd"]


def test_the_source_is_asked_for_a_frame_only_when_it_is_triggered(bench: Any) -> None:
    asked: list[Any] = []

    def told() -> Iterator[Any]:
        for message in series(4):
            asked.append(message)
            yield message

    one = bench(lambda: ListSource(told()), settings=TRIGGERED)
    one.streamer.start()
    one.streamer.trigger()
    time.sleep(0.05)
    assert [message.image_id for message in asked if isinstance(message, Frame)] == [0]


@pytest.mark.parametrize(("verb", "aborted"), [("stop", False), ("abort", True)])
def test_a_series_that_waits_for_a_trigger_ends_at_once(bench: Any, verb: str, aborted: bool) -> None:
    one = bench(many, settings=TRIGGERED)
    one.streamer.start()
    one.streamer.trigger()
    began_s = time.monotonic()
    getattr(one.streamer, verb)()
    one.in_state(State.STANDBY)
    assert time.monotonic() - began_s < 0.1
    assert one.sink.kinds == ["SeriesStart", "Frame", "SeriesEnd"]
    assert one.sink.taken[-1].aborted is aborted


def test_triggers_of_many_are_neither_lost_nor_counted_twice(bench: Any) -> None:
    one = bench(many, settings=TRIGGERED)
    one.streamer.start()

    def pull() -> None:
        for _ in range(20):
            one.streamer.trigger()

    threads = [threading.Thread(target=pull) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one.streamer.status.sent == len(one.sink.frames) == 80


def test_a_source_that_does_not_announce_its_frames_is_triggered_too(bench: Any) -> None:
    one = bench(lambda: ListSource(series(2, announced=False)), settings=TRIGGERED)
    one.streamer.start()
    one.streamer.trigger()
    one.streamer.trigger()
    one.in_state(State.STANDBY)
    assert one.streamer.status.sent == 2


def test_a_loop_goes_on_by_trigger(bench: Any) -> None:
    one = bench(lambda: ListSource(series(2)), settings=TRIGGERED.model_copy(update={"loop": True}))
    one.streamer.start()
    for _ in range(5):
        one.streamer.trigger()
    one.streamer.stop()
    one.in_state(State.STANDBY)
    assert [type(message).__name__ for message in one.sink.taken].count("SeriesStart") == 3
    assert len(one.sink.frames) == 5


def test_a_trigger_is_refused_in_one_line_where_nothing_is_triggered(bench: Any) -> None:
    one = bench(lambda: ListSource(series(1)))
    with pytest.raises(RefusedError, match=r"^Trigger: trigger is internal; set it to software before Start$"):
        one.streamer.trigger()
    one.streamer.write("trigger", "software")
    assert one.streamer.status.trigger == "software"
    with pytest.raises(RefusedError, match="the streamer is STANDBY: not prepared; Start first"):
        one.streamer.trigger()


def test_a_trigger_without_a_receiver_is_withdrawn(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.devices.streamer.TRIGGER_S", 0.1)
    one = bench(lambda: ListSource(series(2)), settings=TRIGGERED)
    one.streamer.prepare()
    one.in_state(State.ON)
    one.sink.open.clear()
    one.streamer.start()
    with pytest.raises(RefusedError, match="no series is open"):
        one.streamer.trigger()
    one.sink.open.set()
    until(lambda: one.sink.kinds == ["SeriesStart"])
    time.sleep(0.05)
    assert one.streamer.status.sent == 0
    one.streamer.trigger()
    assert one.streamer.status.sent == 1


def test_a_triggered_frame_that_nobody_takes_is_dropped_and_told(bench: Any) -> None:
    one = bench(many, settings=TRIGGERED)
    one.streamer.start()
    one.streamer.trigger()
    one.sink.open.clear()
    one.streamer.trigger()
    assert (one.streamer.status.sent, one.streamer.status.dropped) == (1, 1)
    assert one.streamer.status.frame_counts == 24.0
    one.sink.open.set()


def test_a_trigger_fails_with_its_source(bench: Any) -> None:
    def breaking() -> Iterator[Any]:
        yield from islice(series(5), 1)
        raise SourceError("the detector is off")

    one = bench(lambda: ListSource(breaking()), settings=TRIGGERED)
    one.streamer.start()
    with pytest.raises(RefusedError, match="the series ended before its frame"):
        one.streamer.trigger()
    one.in_state(State.FAULT)


def test_an_announcement_is_for_the_next_series_alone(bench: Any) -> None:
    one = bench(lambda: ListSource(series(4)))
    one.streamer.prepare()
    one.in_state(State.ON)
    one.streamer.announce(json.dumps({"frames": 3, "title": "ascan", "positions": {"eta": [1, 2, 3], "phi": 5.0}}))
    for _ in range(2):
        one.streamer.start()
        until(lambda: one.streamer.status.state is State.STANDBY)
    first, second = (message for message in one.sink.taken if isinstance(message, SeriesStart))
    assert (first.number_of_images, first.user_data) == (3, {"title": "ascan", "positions": {"phi": 5.0}})
    assert (second.number_of_images, second.user_data) == (4, {})
    assert [frame.positions.get("eta") for frame in one.sink.frames] == [1.0, 2.0, 3.0, None, None, None, None]
    assert [frame.positions["theta"] for frame in one.sink.frames[:3]] == [0.0, 0.01, 0.02]


def test_an_announcement_is_refused_while_frames_flow_and_forgotten_at_a_reset(bench: Any) -> None:
    one = bench(many, settings=TRIGGERED)
    one.streamer.announce('{"title": "first"}')
    one.streamer.reset()
    one.streamer.start()
    one.streamer.trigger()
    with pytest.raises(SourceBusy, match="Stop or Abort first"):
        one.streamer.announce("{}")
    assert one.sink.taken[0].user_data == {}
