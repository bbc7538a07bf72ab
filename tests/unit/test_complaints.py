"""What is refused costs one line of the log, however often it comes."""

from __future__ import annotations

import logging

import pytest

from service.errors import LONGEST_LINE
from service.worker.complaints import EVERY_S, Complaints

LOG = logging.getLogger("refused")


def test_first_of_a_kind_at_once_the_others_as_a_count(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 0.0
    complaints = Complaints(LOG, lambda: now_s)
    for image in range(1000):
        complaints.tell("rejected", f"image {image}")
    complaints.tell("stray", "end of series 3")
    complaints.catch_up()
    assert caplog.messages == ["rejected: image 0", "stray: end of series 3"]
    caplog.clear()
    now_s = EVERY_S
    complaints.catch_up()
    complaints.tell("rejected", "image 1000")
    assert caplog.messages == ["rejected: 999 more, the last: image 999"]
    caplog.clear()
    now_s = 2 * EVERY_S
    complaints.tell("rejected", "image 1001")
    complaints.catch_up()
    assert caplog.messages == ["rejected: 2 more, the last: image 1001"]


def test_what_a_sender_wrote_stays_one_line_of_bounded_length(caplog: pytest.LogCaptureFixture) -> None:
    Complaints(LOG).tell("rejected", "channel 'a\nb' " + "x" * 10**6)
    (said,) = caplog.messages
    assert said.startswith("rejected: channel 'a b' xxx")
    assert len(said) < LONGEST_LINE + 20
