"""How wide the stacking fault is that splits a dislocation: elasticity in closed form, fitted to the phase around it.

In fcc crystals a/2<110> falls into two partials a/6<112> in its glide plane, some ribbon of fault apart. A ribbon of
width w bends the phase as (w / r)^2: only the voxels next to the line tell it, and only once the character of the line
is known just as well. So all of it is fitted at once, for each of a few widths: the angle between line and Burgers
vector, the glide plane, the place of the line, and a smooth field beneath; which width fits best is told, and how much
better it does.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.defects.report import Split
from models.simulate.dislocations import dissociated

# Widths that are tried, shares of the crystal's diameter: below and above what parts two lines from one.
WIDTHS = (0.0, 0.03, 0.06, 0.09, 0.12, 0.15, 0.18, 0.22, 0.27, 0.33, 0.40, 0.50)
# So many voxels tell enough, and so many which starts are worth their rounds.
MOST_VOXELS, FEWER_VOXELS = 1500, 600
# Starts lie on a grid of angles and glide planes; of each width so many go so many rounds. Then it goes on from its own
# best and from those of its neighbours, so often.
ANGLES_DEG, GLIDES_DEG = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0), 15.0
KEPT, ROUNDS, ONWARD = 3, 6, (4, 4)
# Of the angle, the glide plane (rad) and the place (voxels): how far a start may be off, which holds a fit that the
# phase alone does not, how far a round may go, and in what steps slopes are measured.
EXPECTED = (0.6, 0.6, 1.0, 1.0)
PRIOR = 0.02
FARTHEST_STEP = (0.3, 0.3, 1.0, 1.0)
SLOPE_STEP = 0.02
# The line is no farther from where its phase winds.
FARTHEST_VOXELS = 2.0
# A start turns as often as the line does but for so much.
MOST_OFF_TURNS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is around a line, n voxels: `points_nm` float32 (n, 3) along the direction of Q across it, along the third
    of that right-handed frame, and along the line; `field` complex64 (n,); `q` (3,) of Q in that frame, 1/nm;
    `start` float32 (n,) a first guess of the phase, `smooth` (n, terms) what else it may be made of.
    """

    points_nm: Tensor
    field: Tensor
    q: Tensor
    start: Tensor
    smooth: Tensor
    voxel_nm: float
    diameter_nm: float

    def thinned(self, count: int) -> Surroundings:
        """Return so many voxels or fewer, at all distances from the line."""
        if len(self.points_nm) <= count:
            return self
        kept = self.points_nm[:, :2].norm(dim=1).argsort()[torch.linspace(0, len(self.points_nm) - 1, count).long()]
        return replace(
            self,
            points_nm=self.points_nm[kept],
            field=self.field[kept],
            start=self.start[kept],
            smooth=self.smooth[kept],
        )


def split(around: Surroundings, turns: int, length_nm: float) -> Split | None:
    """Return the ribbon of a line whose phase turns so often, and whose Burgers vector has `length_nm`; None where no
    such line turns so often.
    """
    starts = _starts(around.q, turns, length_nm)
    if not starts:
        return None
    coarse = _Fit(around.thinned(FEWER_VOXELS), length_nm)
    fit = _Fit(around.thinned(MOST_VOXELS), length_nm)
    begun = _least(coarse.fitted(coarse.begun(starts), 0), KEPT)
    best = _least(fit.fitted(begun.unseen(), ROUNDS))
    for rounds in ONWARD:
        narrower, wider = (best.going_on(by) for by in (1, -1))
        best = _least(fit.fitted(_Trials.cat(best, narrower, wider), rounds))
    one, width = int(best.loss.argmin()), _width(best.loss.tolist())
    return Split(
        angle_rad=float(best.at[one, 0]),
        glide_rad=float(best.at[one, 1]),
        sense=int(best.sense[one]),
        width=width,
        width_nm=width * around.diameter_nm,
        losses=tuple(best.loss.tolist()),
        angles_rad=tuple(best.at[:, 0].tolist()),
    )


def _width(losses: list[float]) -> float:
    """Return the width at the least of `losses`, between WIDTHS by a parabola through its logarithm."""
    n = min(max(int(np.argmin(losses)), 1), len(WIDTHS) - 2)
    curve = np.polyfit(WIDTHS[n - 1 : n + 2], np.log(np.maximum(losses[n - 1 : n + 2], 1e-9)), 2)
    if curve[0] <= 0.0:
        return WIDTHS[int(np.argmin(losses))]
    return float(np.clip(-curve[1] / (2.0 * curve[0]), WIDTHS[n - 1], WIDTHS[n + 1]))


class _Start(NamedTuple):
    angle_rad: float
    glide_rad: float
    sense: int
    order: int


def _starts(q: Tensor, turns: int, length_nm: float) -> list[_Start]:
    """Return the lines of a grid that turn as often as this one does, -Q.b = 2 pi turns, split in either order."""
    across, _, along = q.tolist()
    angles, glides = np.radians(ANGLES_DEG), np.radians(np.arange(0.0, 360.0, GLIDES_DEG))
    starts = []
    for angle, glide, sense in itertools.product(angles, glides, (1, -1)):
        q_b = length_nm * (across * np.sin(angle) * np.cos(glide) + sense * along * np.cos(angle))
        if abs(-q_b / (2.0 * np.pi) - turns) <= MOST_OFF_TURNS:
            starts += [_Start(float(angle), float(glide), sense, order) for order in (1, -1)]
    return starts


class _Trials(NamedTuple):
    """Lines, first axis all: `at` float32 (trials, 4) angle, glide plane and place, voxels, of where the phase winds,
    `sense` of the screw part, `order` of the partials, `winding` how far aside of that the ribbon's middle is, in its
    widths; number of the `width`, amplitudes `smooth` (trials, terms); `loss`, infinite where it was not looked at.
    """

    at: Tensor
    sense: Tensor
    order: Tensor
    winding: Tensor
    width: Tensor
    smooth: Tensor
    loss: Tensor

    @staticmethod
    def cat(*some: _Trials) -> _Trials:
        return _Trials(*map(torch.cat, zip(*some, strict=True)))

    def where(self, those: Tensor) -> _Trials:
        return _Trials(*(values[those] for values in self))

    def going_on(self, by: int) -> _Trials:
        """Return trials, one for each width, that go on `by` widths away."""
        there = self.width + by
        kept = (there >= 0) & (there < len(WIDTHS))
        return self.unseen()._replace(width=there).where(kept)

    def unseen(self) -> _Trials:
        return self._replace(loss=torch.full_like(self.loss, torch.inf))


def _least(trials: _Trials, count: int = 1) -> _Trials:
    """Return the best trials of each width, `count` or as many as there are."""
    of_width = torch.where(trials.width == torch.arange(len(WIDTHS))[:, None], trials.loss, torch.inf)
    count = min(count, len(trials.loss) // len(WIDTHS))
    return trials.where(of_width.topk(count, largest=False).indices.reshape(-1))


@dataclass(frozen=True, slots=True)
class _Fit:
    """Fits lines to what is `around`, many at once."""

    around: Surroundings
    length_nm: float

    def begun(self, starts: list[_Start]) -> _Trials:
        """Return trials of all starts and WIDTHS; their smooth field makes up for how they differ from the guess."""
        count = len(WIDTHS)
        at = torch.tensor([[start.angle_rad, start.glide_rad, 0.0, 0.0] for start in starts], dtype=torch.float32)
        sense = torch.tensor([float(start.sense) for start in starts])
        order = torch.tensor([float(start.order) for start in starts])
        trials = _Trials(
            at=at.repeat(count, 1),
            sense=sense.repeat(count),
            order=order.repeat(count),
            winding=torch.zeros(count * len(starts)),
            width=torch.arange(count).repeat_interleave(len(starts)),
            smooth=torch.empty(0),
            loss=torch.full((count * len(starts),), torch.inf),
        )
        trials = trials._replace(winding=self.winding(trials))
        off = self.around.start - self.phase(trials)
        mean = torch.polar(torch.ones_like(off), off).mean(1, keepdim=True).angle()
        bright = self.around.field.abs().expand_as(off)
        terms = self.around.smooth.expand(len(off), -1, -1)
        return trials._replace(smooth=_solved(terms, _wrapped(off - mean) + mean, bright))

    def fitted(self, trials: _Trials, rounds: int) -> _Trials:
        """Return the best that each trial comes to: at each round where all terms together fit best, as far as slopes
        hold.
        """
        best, bright = trials, self.around.field.abs()
        held = torch.zeros(self.around.smooth.shape[1] + 4)
        held[-4:] = bright.sum() * (PRIOR / torch.tensor(EXPECTED)) ** 2
        farthest = torch.tensor(FARTHEST_STEP)
        for number in range(rounds + 1):
            here = self.phase(trials)
            left = _wrapped(self.around.field.angle() - here - trials.smooth @ self.around.smooth.T)
            trials = trials._replace(loss=((1.0 - left.cos()) * bright).sum(1) / bright.sum())
            best = _better(trials, best)
            if number == rounds:
                break
            smooth = self.around.smooth.expand(len(left), -1, -1)
            terms = torch.cat([smooth, self.slopes(trials, here)], 2)
            # 1 - cos is steep as sin is: what is off by half a turn counts nothing.
            found = _solved(terms, left, bright * torch.sinc(left / torch.pi).clamp(min=0.05), held)
            at = trials.at + found[:, -4:].clamp(-farthest, farthest)
            angle, glide, place = at[:, :1].clamp(0.0, 0.5 * torch.pi), at[:, 1:2], at[:, 2:]
            at = torch.cat([angle, glide, place.clamp(-FARTHEST_VOXELS, FARTHEST_VOXELS)], 1)
            trials = trials._replace(at=at, smooth=trials.smooth + found[:, :-4])
        return best

    def slopes(self, trials: _Trials, here: Tensor) -> Tensor:
        """Return how the phase, which is `here` (trials, n), changes with `at`, (trials, n, 4)."""
        moved = (self.phase(trials._replace(at=trials.at + SLOPE_STEP * (torch.arange(4) == n))) for n in range(4))
        return torch.stack([_wrapped(one - here) / SLOPE_STEP for one in moved], 2)

    def phase(self, trials: _Trials) -> Tensor:
        """Return -Q.u of the lines, float32 (trials, n) rad."""
        edge, normal, line, none = _frame(trials)
        partials_nm = self.partials_nm(trials)
        width_nm = torch.tensor(WIDTHS)[trials.width] * self.around.diameter_nm
        aside_nm = trials.winding * width_nm
        winding_nm = torch.cat([trials.at[:, 2:] * self.around.voxel_nm, none], 1)
        points_nm = self.around.points_nm.T.expand(len(trials.at), -1, -1)
        through_nm = winding_nm + aside_nm[:, None] * edge
        return -torch.einsum(
            "c,bcn->bn", self.around.q, dissociated(points_nm, line, partials_nm, through_nm, normal, width_nm)
        )

    def winding(self, trials: _Trials) -> Tensor:
        """Return how far aside of where the phase winds the middle of the ribbon is, (trials,) in its widths.

        It jumps by how often the first partial turns, which shows but for whole turns: these wind at the first, the
        others at the second.
        """
        first, second = (-(self.partials_nm(trials) @ self.around.q) / (2.0 * torch.pi)).unbind(1)
        turns = (first + second).round()
        return 0.5 * ((turns - 2.0 * first.round()) / torch.where(turns == 0.0, 1.0, turns)).clamp(-1.0, 1.0)

    def partials_nm(self, trials: _Trials) -> Tensor:
        """Return the Burgers vectors of both partials, (trials, 2, 3): halves of b and b / (2 sqrt 3) across it in the
        glide plane.
        """
        edge, _, line, _ = _frame(trials)
        angle = trials.at[:, :1]
        along = trials.sense[:, None] * angle.cos()
        half = 0.5 * (angle.sin() * edge + along * line)
        across = trials.order[:, None] / (2.0 * 3.0**0.5) * (angle.sin() * line - along * edge)
        return self.length_nm * torch.stack([half + across, half - across], 1)


def _frame(trials: _Trials) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the directions of the edge part, of the normal of the glide plane, and of the line, (trials, 3); zeros
    (trials, 1).
    """
    glide, none = trials.at[:, 1:2], torch.zeros(len(trials.at), 1)
    edge = torch.cat([glide.cos(), glide.sin(), none], 1)
    return edge, torch.cat([-glide.sin(), glide.cos(), none], 1), torch.cat([none, none, none + 1.0], 1), none


def _better(trials: _Trials, best: _Trials) -> _Trials:
    better = trials.loss < best.loss
    return _Trials(
        *(torch.where(better.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(trials, best, strict=True))
    )


def _solved(terms: Tensor, values: Tensor, weights: Tensor, held: Tensor | None = None) -> Tensor:
    """Return what fits best, (trials, m) of `terms` (trials, n, m) for `values` (trials, n), `held` (m,) towards 0."""
    weighted = terms * weights[..., None]
    matrix = weighted.mT @ terms
    diagonal = 1e-6 * matrix.diagonal(dim1=1, dim2=2) + (0.0 if held is None else held) + 1e-12
    wanted = (weighted.mT @ values[..., None])[..., 0]
    # Its terms are far from equally large.
    solved: Tensor = torch.linalg.solve((matrix + torch.diag_embed(diagonal)).double(), wanted.double())
    return solved.float()


def _wrapped(phase: Tensor) -> Tensor:
    return phase - 2.0 * torch.pi * (phase / (2.0 * torch.pi)).round()
