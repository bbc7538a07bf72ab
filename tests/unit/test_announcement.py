from __future__ import annotations

import json

import numpy as np
import pytest

from service.adapters.announced import Announced
from service.announcement import Announcement, parse_announcement
from service.errors import SettingsError
from service.ports import EndOfStream
from service.records import Frame, Message, SeriesStart
from tests.helpers.streams import ListSource, series

WHOLE = {
    "frames": 2, "count_time_s": 0.1, "positions": {"theta": [0.1, 0.2], "eta": [1.0, 2.0], "chi": 90.0},
    "title": "ascan eta 1 2 1 0.1", "sample": "gold",
}  # fmt: skip


def drain(source: Announced) -> list[Message]:
    messages: list[Message] = []
    while True:
        try:
            message = source.receive(0.0)
        except EndOfStream:
            return messages
        if message is not None:
            messages.append(message)


def test_all_is_told_in_the_start_and_positions_that_frames_lack_in_them() -> None:
    source = ListSource([*series(3), *series(3)])
    announced = Announced(source, parse_announcement(json.dumps(WHOLE)))
    start, *frames, _, _, later, _, _, _ = drain(announced)
    assert isinstance(start, SeriesStart)
    assert (start.number_of_images, start.header["count_time"]) == (2, 0.1)
    assert start.user_data == {"positions": {"chi": 90.0}, "title": WHOLE["title"], "sample": "gold"}
    assert [frame.positions for frame in frames if isinstance(frame, Frame)] == [
        {"theta": 0.0, "eta": 1.0},  # theta is the frames' own
        {"theta": 0.01, "eta": 2.0},
    ]
    assert {frame.count_time_s for frame in frames if isinstance(frame, Frame)} == {0.1}
    assert isinstance(later, Frame)
    assert later.positions == {"theta": 0.0}, "the next series was not announced"
    announced.close()
    assert source.closed


def test_positions_that_a_start_tells_stay() -> None:
    start = SeriesStart(
        series_id=1, series_unique_id="a", number_of_images=None, channels=("default",), shape=(2, 2), dtype="uint8",
        user_data={"positions": {"chi": 91.0}, "title": "twin"},
    )  # fmt: skip
    told = Announcement(positions={"chi": 90.0, "phi": 1.0}).of_start(start)
    assert told.user_data == {"positions": {"chi": 91.0, "phi": 1.0}, "title": "twin"}
    assert told.number_of_images is None
    assert Announcement(positions={"eta": (1.0, 2.0)}).of_start(start).number_of_images == 2


def test_nothing_announced_changes_nothing() -> None:
    messages = list(series(2))
    told = drain(Announced(ListSource(messages), Announcement()))
    assert [type(message) for message in told] == [type(message) for message in messages]
    assert told[0] == messages[0]
    assert np.array_equal(told[1].data["threshold_1"], messages[1].data["threshold_1"])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("theta", "Invalid JSON"),
        ("[]", "object"),
        ('{"frames": 0}', "frames: "),
        ('{"count_time_s": 0}', "count_time_s: "),
        ('{"count_time_s": Infinity}', "count_time_s: "),
        ('{"frame": 3}', "frame: "),
        ('{"positions": {"theta": "far"}}', "positions.theta"),
        ('{"positions": {"theta": []}}', "positions.theta"),
        ('{"frames": 3, "positions": {"theta": [1, 2]}}', "theta has 2 positions, expected 3, one a frame"),
        ('{"positions": {"theta": [1, 2], "eta": [1]}}', "eta has 1 positions, expected 2, one a frame"),
    ],
)
def test_what_announces_nothing_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        parse_announcement(text)
    line = str(refusal.value)
    assert line.startswith("Announce: ")
    assert said in line
    assert "\n" not in line
