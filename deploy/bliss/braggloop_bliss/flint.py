"""Keeps a tab of Flint true: the pictures of Braggloop's devices, drawn again whenever Flint comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gevent
import numpy as np

from braggloop_bliss.attributes import values
from braggloop_bliss.bliss_api import flint_of_session
from braggloop_bliss.lines import one_line
from braggloop_bliss.pictures import (
    ALIGNMENT,
    ALIGNMENT_CHANGED,
    CRYSTAL,
    CRYSTAL_CHANGED,
    GOOD,
    LINE,
    Image,
    Path,
    crystal_pictures,
    path_picture,
)

TAB = "braggloop"
PLACES = {  # row, column and kind of each plot
    "amplitude": (0, 0, "plot2d"), "phase": (0, 1, "plot2d"), "strain": (0, 2, "plot2d"),
    "measured": (1, 0, "plot2d"), "repaired": (1, 1, "plot2d"), "path": (1, 2, "curve"),
}  # fmt: skip
CLOSED = "Flint is closed; flint() opens it, and the pictures come back"
OPEN_S = 60.0  # it imports much
LOOK_S = 1.0  # how often is asked for a new result
MARGINS = (0.2, 0.16, 0.04, 0.14)  # left, top, right, bottom of the whole: titles have two lines

Device = Callable[[str], Any]


class Pictures:
    """Shows what Reconstruction and CrystalAlignment know, until told to hide it; `device` gives them by that name.

    What is wrong meanwhile is kept in `trouble`, and tried again: a device or Flint that is gone comes back.
    """

    def __init__(self, device: Device) -> None:
        self._feeds = (
            Feed("reconstruction", device, CRYSTAL_CHANGED, CRYSTAL, crystal_pictures),
            Feed("alignment", device, ALIGNMENT_CHANGED, ALIGNMENT, lambda read: [path_picture(read, self._axes)]),
        )
        self._axes: Sequence[str] = ()
        self._work: gevent.Greenlet | None = None
        self._tab: Tab | None = None
        self.trouble = ""

    @property
    def shown(self) -> bool:
        return self._work is not None

    def show(self, axes: Sequence[str]) -> None:
        """Open Flint where it is not open, draw what there is, and go on by itself. Raises what Bliss says."""
        self._end()
        self._axes, self._tab = axes, None
        with gevent.Timeout(OPEN_S, RuntimeError(f"Flint did not open in {OPEN_S:g} s; restart_flint() may help")):
            flint = flint_of_session(creation_allowed=True)
        self._draw(flint).focus()
        self._work = gevent.spawn(self._run)

    def hide(self) -> None:
        """Show no more, and close the tab where Flint is open."""
        self._end()
        self._tab = None
        flint = flint_of_session(creation_allowed=False)
        if flint is not None and flint.plot_exists(TAB):
            flint.remove_plot(TAB)

    def save(self, path: str) -> None:
        """Write what the tab shows to a PNG. Raises RuntimeError where it is not open or the file cannot be written."""
        flint = flint_of_session(creation_allowed=False)
        if flint is None or self._tab is None:
            raise RuntimeError("no pictures to save: show() them first")
        self._draw(flint).save(path)

    def _run(self) -> None:
        while True:
            gevent.sleep(LOOK_S)
            try:
                flint = flint_of_session(creation_allowed=False)
                if flint is not None:
                    self._draw(flint)
                self.trouble = "" if flint is not None else CLOSED
            except (Exception, gevent.Timeout) as error:  # noqa: BLE001 - whatever it was, the next look may succeed
                self.trouble = one_line(error)

    def _draw(self, flint: Any) -> Tab:
        """Draw what is new; all of it into a Flint that has no tab yet."""
        if self._tab is None or not flint.plot_exists(TAB):
            self._tab = Tab(flint)
            for feed in self._feeds:
                feed.known = None
        for feed in self._feeds:
            feed.draw(self._tab)
        return self._tab

    def _end(self) -> None:
        if self._work is not None:
            self._work.kill()
        self._work, self.trouble = None, ""


class Feed:
    """What one device shows; asked for little at each look, and for all of it where that is another."""

    def __init__(
        self, kind: str, device: Device, changed: Sequence[str], shown: Sequence[str], pictures: Callable[[Any], Any]
    ) -> None:
        self._kind, self._device, self._pictures = kind, device, pictures
        self._changed, self._shown = list(changed), list(shown)
        self.known: str | None = None

    def draw(self, tab: Tab) -> None:
        """Draw what is new; raise DevFailed where the device does not answer."""
        device = self._device(self._kind)
        now = repr(values(device, self._changed))
        if now == self.known:
            return
        for picture in self._pictures(values(device, self._shown)):
            tab.draw(picture)
        self.known = now  # drawn to the end


class Tab:
    """The tab of one Flint; its plots are made where they are missing."""

    def __init__(self, flint: Any) -> None:
        self._edges: dict[str, Any] = {}
        self._grid = flint.get_plot("grid", name=TAB, unique_name=TAB, selected=True, closeable=False)
        # All of them before the first is drawn: a plot that grows later keeps the zoom that it was drawn with.
        self._plots = {key: self._plot(key, *place) for key, place in PLACES.items()}

    def focus(self) -> None:
        self._grid.focus()

    def save(self, path: str) -> None:
        if not self._grid.submit("grab().save", path):
            raise RuntimeError(f"{path} could not be written by Flint")

    def draw(self, picture: Image | Path) -> None:
        if isinstance(picture, Image):
            self._draw_image(picture)
        else:
            self._draw_path(picture)

    def _draw_image(self, image: Image) -> None:
        plot = self._plots[image.key]
        edges = (image.data.shape, image.pixel, image.origin)
        moved, self._edges[image.key] = self._edges.get(image.key) != edges, edges
        plot.submit("setForegroundColor", image.ink)
        plot.submit("setDataBackgroundColor", image.background)
        plot.add_image(
            np.ascontiguousarray(image.data), origin=image.origin, scale=(image.pixel, image.pixel),
            colormap=image.colormap, legend="image", resetzoom=moved,  # who zoomed in does not want to be thrown out
        )  # fmt: skip
        plot.submit("setActiveImage", "image")  # whose colours the bar shows
        plot.submit("getColorBarWidget().setLegend", image.legend)
        self._draw_lines(plot, image)
        self._label(plot, image.title, image.labels)

    def _draw_lines(self, plot: Any, image: Image) -> None:
        if image.lines is None:
            plot.submit("removeItem", "lines")
            return
        row, column = np.nonzero(image.lines)
        x, y = ((at + 0.5) * image.pixel + corner for at, corner in zip((column, row), image.origin, strict=True))
        colors = np.array(LINE, np.uint8)
        plot.add_scatter(x, y, np.ones(len(x)), colormap={"colors": colors}, legend="lines", resetzoom=False)

    def _draw_path(self, path: Path) -> None:
        plot = self._plots["path"]
        plot.submit("clear")
        for name, curve in path.curves.items():
            plot.add_curve(
                curve.x, curve.y, legend=name, color=curve.color, symbol=curve.symbol, linestyle=curve.linestyle,
                linewidth=curve.linewidth,
            )  # fmt: skip
        self._label(plot, path.title, path.labels)

    def _label(self, plot: Any, title: str, labels: tuple[str, str]) -> None:
        plot.title = title
        plot.xlabel, plot.ylabel = labels

    def _plot(self, key: str, row: int, column: int, kind: str) -> Any:
        plot = self._grid.get_plot(kind, unique_name=f"{TAB}:{key}", row=row, col=column)
        plot.submit("setAxesMargins", *MARGINS)
        plot.submit("setForegroundColor", GOOD)
        return plot
