"""The inpainter: what it is shown, what it is asked for, how windows become a volume, what it refuses."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from models.engine.port import Engine
from models.engine.torch import TorchEngine
from models.inpaint.adapt import adapted_engine
from models.inpaint.guide import Guide, guide, no_guide
from models.inpaint.masks import WIDEST, random_hidden
from models.inpaint.network import CHANNELS, EDGE, FLOOR_COUNTS, GUIDE, LINE, build, decoded, trend, variance
from models.inpaint.predict import BATCH, ITEM, SIGMA_SHARE, completed, fillable, inpaint
from models.inpaint.symmetry import centre_sums
from models.inpaint.train import GAPS, TASK, WINDOWS, mirrored
from models.inpaint.trial import MARGIN, moved_gap, trial
from models.inpaint.windows import Pattern, blended, cut, encoded, pattern_of, placed
from models.light import light_of
from models.registry import build as trained
from models.registry import network
from models.simulate.draws import seeded
from models.simulate.scenes import Scenes, training_scenes
from models.training.task import Examples
from tests.helpers.patterns import bright, poisson, strained_crystal, transform

SHAPE = (32, 36, 40)


class Telling:
    """An engine that tells the same intensity everywhere."""

    device = torch.device("cpu")

    def __init__(self, counts: float, sigma: float) -> None:
        network = TorchEngine(build(), ITEM, batch=(1, BATCH))
        self.takes, self.gives = network.takes, network.gives
        self._outputs = torch.tensor([np.log1p(counts), np.log(sigma)], dtype=torch.float32).view(1, 2, 1, 1, 1)
        self.windows = 0

    def run(self, volumes: torch.Tensor) -> torch.Tensor:
        self.takes.require(volumes, self.device)
        self.windows += len(volumes)
        return self._outputs.expand(len(volumes), 2, EDGE, EDGE, EDGE)

    def describe(self) -> dict[str, str]:
        return {"backend": "told"}


@pytest.fixture(scope="module")
def pattern() -> np.ndarray:
    return poisson(np.abs(transform(bright(strained_crystal(48), 1e5))) ** 2)


def cross(shape: tuple[int, ...], width: int = 6) -> np.ndarray:
    mask = np.ones(shape, bool)
    mask[..., shape[-2] // 2 : shape[-2] // 2 + width, :] = False
    mask[..., shape[-1] // 2 - 9 : shape[-1] // 2 - 9 + width] = False
    return mask


# The centre of symmetry.


@settings(max_examples=30, deadline=None)
@given(st.tuples(*(st.integers(-9, 9) for _ in range(3))), st.integers(0, 2**31), st.booleans())
def test_centre_of_a_symmetric_pattern_is_found_behind_a_gap(off: tuple[int, ...], seed: int, hidden: bool) -> None:
    generator = seeded(seed)
    sums = torch.tensor(SHAPE) - 1 + torch.tensor(off)
    axes = [torch.arange(n) - s / 2 for n, s in zip(SHAPE, sums, strict=True)]
    away = sum((axis.view([-1 if a == b else 1 for b in range(3)]) / 5.0).square() for a, axis in enumerate(axes))
    counts = torch.poisson(1e4 * torch.exp(-away) * (1.5 + torch.cos(3.0 * away)), generator=generator)
    seen = torch.ones(SHAPE, dtype=torch.bool)
    if hidden:
        seen[:, :, int(sums[2]) // 2 - 2 : int(sums[2]) // 2 + 3] = False
    found = centre_sums((counts * seen)[None], seen[None])[0]
    assert (found - sums).abs().max() <= 1


def test_a_background_over_a_whole_frame_does_not_move_the_centre() -> None:
    counts = torch.poisson(torch.full((1, 16, 128, 128), 0.5), generator=seeded(0))
    counts[0, 6:11, 18:23, 18:23] += 2000.0
    assert centre_sums(counts, torch.ones_like(counts, dtype=torch.bool)).tolist() == [[16, 40, 40]]


def test_no_counts_have_some_centre() -> None:
    nothing = torch.zeros(1, *SHAPE)
    assert centre_sums(nothing, nothing.bool()).shape == (1, 3)


# Windows.


@settings(max_examples=60, deadline=None)
@given(st.tuples(*(st.integers(1, 70) for _ in range(3))), st.integers(0, 2**31))
def test_windows_cover_what_is_hidden_and_give_it_back(shape: tuple[int, int, int], seed: int) -> None:
    generator = seeded(seed)
    hidden = torch.rand(shape, generator=generator) < 0.02
    hidden[:, :, shape[2] // 2] = True
    starts = placed(hidden)
    values = torch.rand(shape, generator=generator)
    windows = cut(values[None], torch.zeros(len(starts), dtype=torch.long), starts)
    halves = zip(windows[:, None].split(3), starts.split(3), strict=True)
    whole = blended(halves, torch.zeros(1, *shape))[0]
    torch.testing.assert_close(whole[hidden], values[hidden])


@given(st.integers(0, 60), st.integers(1, WIDEST))
def test_a_line_lies_in_the_inner_half_of_one_row_of_windows(first: int, width: int) -> None:
    hidden = torch.zeros(64, 64, 80, dtype=torch.bool)
    hidden[:, :, first : first + width] = True
    (start,) = placed(hidden)[:, 2].unique().tolist()
    assert start + EDGE // 4 <= first
    assert min(first + width, 80) <= start + 3 * EDGE // 4


def test_the_partner_lies_opposite_the_centre() -> None:
    counts = torch.rand(1, *SHAPE)
    seen = torch.ones(1, *SHAPE, dtype=torch.bool)
    sums = torch.tensor([[30, 37, 39]])
    item, start = torch.tensor([0]), torch.tensor([[-3, 1, 5]])
    nothing = Guide(*(part[None] for part in no_guide(counts[0])))
    channels = encoded(Pattern(counts, seen, sums, *nothing, counts, counts), item, start)[0]
    assert channels.shape == (CHANNELS, EDGE, EDGE, EDGE)
    z, y, x = 9, 4, 7  # of the window
    here, there = (z - 3, y + 1, x + 5), (30 - (z - 3), 37 - (y + 1), 39 - (x + 5))
    assert channels[0, z, y, x] == counts[0][here].log1p()
    assert channels[2, z, y, x] == counts[0][there].log1p()
    assert channels[1, 0].sum() == 0.0  # beyond the volume nothing is seen
    torch.testing.assert_close(channels[6, z, y, x], torch.tensor((here[0] - 15.0) / 16.0))


def test_trend_is_smooth_and_reaches_everything() -> None:
    values, seen = torch.rand(2, 1, 32, 32, 32) + 1.0, torch.ones(2, 1, 32, 32, 32)
    seen[0, :, :, :, 8:24] = 0.0
    seen[1, :, 1:] = 0.0
    level, spread = trend(values * seen, seen)
    assert level.min() > 1.2
    assert level.max() < 1.8
    torch.testing.assert_close(spread.flatten(), torch.full((2,), 12**-0.5), rtol=0.1, atol=0)


def test_brighter_patterns_have_the_same_fringes() -> None:
    network = build().eval()
    volume = torch.rand(1, CHANNELS, EDGE, EDGE, EDGE)
    volume[:, 1::2] = (volume[:, 1::2] > 0.2).float()
    volume[:, 7] = 0.3
    brighter = volume.clone()
    brighter[:, [0, 2, GUIDE, LINE]] += 4.0
    brighter[:, 0] *= volume[:, 1]
    volume[:, 0] *= volume[:, 1]
    with torch.no_grad():
        (level, _), (higher, _) = (trend(v[:, :1], v[:, 1:2]) for v in (volume, brighter))
        dim, bright = network(volume)[:, :1] - level, network(brighter)[:, :1] - higher
    torch.testing.assert_close(higher, level + 4.0)
    assert (dim - bright).std() < 0.5 * dim.std()  # only the level itself is told apart


# What is learned.


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return next(training_scenes("train", 2, (64, 64, 64), seed=7, device="cpu"))


@pytest.fixture(scope="module")
def asked(scenes: Scenes) -> Examples:
    return TASK.examples(scenes, seeded(0))


def test_only_hidden_voxels_are_asked_for_and_none_of_them_is_shown(asked: Examples) -> None:
    windows = len(asked.inputs)
    assert windows == 2 * GAPS * WINDOWS
    hidden = asked.weights[:, 0] > 0
    assert hidden.flatten(1).any(1).all()
    assert (asked.inputs[:, 1][hidden] == 0).all()
    assert (asked.inputs[:, 0][hidden] == 0).all()
    assert (asked.weights[:, 1] <= asked.weights[:, 0]).all()


def test_a_mirrored_window_is_that_of_the_mirrored_pattern() -> None:
    counts = torch.rand(1, *SHAPE)
    seen = torch.rand(1, *SHAPE) < 0.9
    sums, start = torch.tensor([[30, 37, 39]]), torch.tensor([[-3, 1, 5]])

    def windows(counts: torch.Tensor, seen: torch.Tensor, sums: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        shown = counts * seen
        said = Guide(told=shown, apart=shown, where=seen, framed=shown, found=seen)
        pattern = Pattern(shown, seen, sums, *said, shown.log1p(), shown)
        return encoded(pattern, torch.tensor([0]), start)

    inputs = windows(counts, seen, sums, start)
    last = torch.tensor([SHAPE]) - 1
    axes = (-3, -2, -1)
    opposite = windows(counts.flip(axes), seen.flip(axes), 2 * last - sums, last - start - EDGE + 1)
    many = Examples(inputs=inputs.repeat(64, 1, 1, 1, 1), targets=inputs[:, :2].repeat(64, 1, 1, 1, 1),
                    weights=inputs[:, :2].repeat(64, 1, 1, 1, 1))  # fmt: skip
    turned = mirrored(many, seeded(0))
    assert any(torch.allclose(one, opposite[0]) for one in turned.inputs)
    assert any(torch.equal(one, inputs[0]) for one in turned.inputs)
    assert torch.equal(turned.targets, turned.inputs[:, :2])
    assert torch.equal(turned.weights, turned.targets)
    assert torch.equal(many.inputs[0], inputs[0])


def test_truth_is_without_error(asked: Examples) -> None:
    truth = torch.stack([asked.targets[:, 0], torch.full_like(asked.targets[:, 0], -2.0)], 1)
    found = TASK.metrics(truth, asked)
    assert found["log"].max() < 1e-4
    assert found["pearson"][asked.targets[:, 0].flatten(1).amax(1) > 1].min() > 0.99
    worse = torch.cat([truth[:, :1] + 0.5, truth[:, 1:]], 1)
    assert TASK.loss(truth, asked) < TASK.loss(worse, asked)


def test_the_likelihood_is_best_where_the_deviation_is_true() -> None:
    generator = seeded(3)
    amplitude = 30.0 + 3.0 * torch.randn(1, 32, 32, 32, generator=generator)
    targets = torch.stack([amplitude.square().log1p(), amplitude.square()], 1)
    asked = Examples(inputs=targets, targets=targets, weights=torch.ones_like(targets))

    def loss(relative: float) -> float:
        told = torch.full_like(amplitude, 900.0).log1p()
        return float(TASK.loss(torch.stack([told, torch.full_like(told, np.log(relative))], 1), asked))

    assert loss(0.1) < min(loss(0.05), loss(0.2))


def test_gaps_of_every_kind_lie_near_the_peak() -> None:
    peaks = torch.full((400, 3), 32)
    hidden = random_hidden(seeded(1), peaks, (64, 64, 64))
    share = hidden.float().mean((1, 2, 3))
    assert (share > 0).float().mean() > 0.97  # some lie beyond the volume
    assert share.max() < 0.5
    across = hidden.all(1).all(1).sum(-1)  # columns that no voxel is seen in
    assert set(across[across > 0].tolist()) <= set(range(1, WIDEST + 1))
    assert (across > 0).float().mean() > 0.4
    frames = hidden.all(-1).all(-1).any(-1)
    assert 0.02 < frames.float().mean() < 0.12


def test_the_guide_fits_what_is_seen_and_stays_within_its_cube(pattern: np.ndarray) -> None:
    wide = np.zeros((48, 48, 90), np.float32)
    wide[..., 20:68] = pattern
    mask = cross(wide.shape)
    counts, seen = torch.from_numpy(wide * mask), torch.from_numpy(mask)
    told, apart, where, _, found = guide(counts, seen, centre_sums(counts[None], seen[None])[0])
    assert not found.any()  # it was not asked for
    assert where.any((0, 1)).sum() == 64
    assert apart[where & seen].mean() < 0.5 * apart[where & ~seen].mean()  # what is seen holds them together
    bright = (counts > 100) & where
    assert torch.corrcoef(torch.stack([told[bright].log(), counts[bright].log()]))[0, 1] > 0.98
    thin, _ = counts[:8], seen[:8]
    assert not guide(thin, seen[:8], torch.tensor([8, 48, 90])).where.any()
    assert not guide(counts * 0, seen, torch.tensor([48, 48, 90])).where.any()


def test_a_crystal_that_explains_all_is_believed_and_none_where_there_is_none(pattern: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    clean = np.abs(transform(bright(strained_crystal(48), 1e6))) ** 2
    flickering = rng.poisson(clean * np.exp(0.05 * rng.normal(size=(48, 1, 1)))).astype(np.float32)
    mask = np.ones(flickering.shape, bool)
    mask[:, :, 26:30] = False
    seen = torch.from_numpy(mask)
    engine = Telling(1.0, 0.1)
    patterns = [
        pattern_of(torch.from_numpy(counts * mask)[None], seen[None], [True], framed=True)
        for counts in (flickering, rng.poisson(20.0, clean.shape).astype(np.float32))
    ]
    crystal, noise = (completed(one, ~mask, engine) for one in patterns)
    assert patterns[0].found.all()
    assert not patterns[1].found.any()
    bright_ones = ~mask & (clean > 100)
    off = np.abs(np.sqrt(crystal[0]) - np.sqrt(clean))[bright_ones] / np.sqrt(clean)[bright_ones]
    assert np.median(off) < 0.05
    assert crystal[1][bright_ones].mean() < noise[1][~mask].mean()


# In use.


def test_seen_voxels_stay_and_hidden_ones_are_told(pattern: np.ndarray) -> None:
    mask, engine = cross(pattern.shape), Telling(100.0, 0.2)
    found = inpaint(np.where(mask, pattern, np.nan), mask, engine=engine, guided=False)
    assert found.volume.dtype == found.std.dtype == np.float32
    np.testing.assert_array_equal(found.volume[mask], pattern[mask])
    np.testing.assert_array_equal(found.filled, ~mask)
    np.testing.assert_allclose(found.volume[~mask], 100.0, rtol=1e-4)
    sigma = SIGMA_SHARE * 0.2 * np.sqrt(100.0 + FLOOR_COUNTS)
    expected = np.sqrt(variance(np.float32(100.0), np.float32(sigma)))
    np.testing.assert_allclose(found.std[~mask], expected, rtol=1e-3)
    assert not found.std[mask].any()


@settings(max_examples=20, deadline=None)
@given(st.floats(1.0, 1e4), st.floats(0.02, 0.4))
def test_variance_is_that_of_counts_with_a_normal_amplitude(median: float, relative: float) -> None:
    rng = np.random.default_rng(0)
    sigma = relative * np.sqrt(median)
    drawn = rng.poisson(rng.normal(np.sqrt(median), sigma, 200_000) ** 2)
    about_the_mean = float(variance(np.float32(median), np.float32(sigma)))
    assert drawn.var() == pytest.approx(about_the_mean, rel=0.03)


def test_no_gap_is_the_identity_without_a_network(pattern: np.ndarray) -> None:
    engine = Telling(1.0, 0.1)
    found = inpaint(pattern, np.ones(pattern.shape, bool), engine=engine)
    np.testing.assert_array_equal(found.volume, pattern)
    assert not found.std.any()
    assert not found.filled.any()
    assert engine.windows == 0


def test_what_lies_too_deep_is_left_empty_and_said(pattern: np.ndarray) -> None:
    mask = np.ones(pattern.shape, bool)
    mask[:, 4:44, 4:44] = False
    found = inpaint(pattern, mask, engine=Telling(5.0, 0.1), guided=False)
    assert found.filled[0, 5, 24]
    assert not found.filled[0, 24, 24]
    assert found.volume[0, 24, 24] == found.std[0, 24, 24] == 0.0


@pytest.mark.parametrize("shape", [(40, 50), (1, 40, 50), (3, 9, 12), (100, 20, 33)])
def test_frames_and_volumes_of_any_size(shape: tuple[int, ...]) -> None:
    counts = np.random.default_rng(0).poisson(20.0, shape).astype(np.float32)
    mask = cross(shape, 3)
    found = inpaint(counts, mask, engine=Telling(7.0, 0.1))
    assert found.volume.shape == found.std.shape == found.filled.shape == shape
    np.testing.assert_allclose(found.volume[~mask], 7.0, rtol=1e-4)


@pytest.mark.parametrize(
    ("counts", "mask", "said"),
    [
        (np.ones((4, 4, 4)), np.zeros((4, 4, 4), bool), "all voxels are masked: nothing is seen"),
        (np.full((4, 4, 4), np.nan), np.ones((4, 4, 4), bool), "64 voxels that the mask calls good are not finite"),
        (-np.ones((4, 4, 4)), np.ones((4, 4, 4), bool), "negative counts: give counts as measured"),
        (np.ones((4, 4, 4)), np.ones((4, 4, 5), bool), r"mask has shape \(4, 4, 5\), counts \(4, 4, 4\)"),
        (-np.ones((4, 4, 4)), np.ones((4, 4, 4), np.uint8), "negative counts: give counts as measured"),
        (np.ones(4), np.ones(4, bool), r"counts have shape \(4,\): expected \[rocking, row, column\]"),
    ],
)
def test_bad_input_is_told_in_one_line(counts: np.ndarray, mask: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        inpaint(counts.astype(np.float32), mask, engine=Telling(1.0, 0.1))


def test_a_mask_of_numbers_is_one_of_truths(pattern: np.ndarray) -> None:
    mask = cross(pattern.shape)
    one, other = (inpaint(pattern, each, engine=Telling(5.0, 0.1), guided=False) for each in (mask, mask.astype(int)))
    np.testing.assert_array_equal(one.volume, other.volume)
    with pytest.raises(ValueError, match=r"what to leave has shape \(2,\)"):
        inpaint(pattern, mask, leave=np.ones(2, bool))


# Its own test.


def test_a_network_that_is_right_passes_its_own_test_and_one_that_is_wrong_does_not() -> None:
    counts = np.random.default_rng(0).poisson(100.0, (40, 40, 40)).astype(np.float32)
    mask = cross(counts.shape)
    light = light_of(counts.shape)
    right, wrong = (trial(counts * mask, mask, ~mask, Telling(told, 0.01), light) for told in (100.0, 150.0))
    assert 0.8 < right < 1.3
    assert wrong > 5.0


def test_a_scan_that_the_network_adapts_to_may_be_a_frame(pattern: np.ndarray) -> None:
    mask = cross(pattern.shape)
    ticks = itertools.count()
    engine = adapted_engine(pattern[24], mask[24], 12.0, guided=False, clock=lambda: float(next(ticks)))
    adapted, shipped = (inpaint(pattern[24], mask[24], engine=each).volume for each in (engine, None))
    assert np.isfinite(adapted).all()
    assert not np.array_equal(adapted, shipped)
    with pytest.raises(ValueError, match="1 s were over before the first step of adaptation"):
        adapted_engine(pattern[24], mask[24], 1.0, guided=False, clock=lambda: float(next(ticks)))
    with pytest.raises(ValueError, match="all voxels are masked"):
        adapted_engine(pattern, np.zeros_like(mask), 0.1)


def test_many_missing_frames_are_left_empty(pattern: np.ndarray) -> None:
    mask = np.ones(pattern.shape, bool)
    mask[20:30] = False
    found = inpaint(pattern, mask, engine=Telling(5.0, 0.1), guided=False)
    assert found.filled[[20, 21, 28, 29]].all()
    assert not found.filled[22:28].any()


def test_only_what_lies_between_seen_voxels_is_filled(pattern: np.ndarray) -> None:
    mask = cross(pattern.shape)
    mask[:, :, :3] = mask[:, -2:] = mask[:4] = False  # beyond the detector, and frames that were not measured
    found = inpaint(pattern * mask, mask, engine=Telling(5.0, 0.1), guided=False)
    inside = np.zeros_like(mask)
    inside[4:, :-2, 3:] = True
    np.testing.assert_array_equal(found.filled, ~mask & inside)
    saturated = np.zeros_like(mask)
    saturated[20:24, 20:24, 30:34] = True
    left = inpaint(pattern * mask, mask & ~saturated, engine=Telling(5.0, 0.1), guided=False, leave=saturated)
    np.testing.assert_array_equal(left.filled, found.filled & ~saturated)


def test_what_is_filled_would_have_been_counted_in_that_light() -> None:
    shape = (40, 40, 40)
    scale = np.linspace(0.5, 1.5, 40, dtype=np.float32)
    scale[20] = 30.0  # without the attenuator
    dark = np.full(shape[1:], 7.0, np.float32)
    counts = np.random.default_rng(0).poisson(100.0 * scale[:, None, None] + dark, shape).astype(np.float32)
    mask = cross(shape)
    found = inpaint(counts * mask, mask, scale=scale, background=dark, guided=False)
    gap = ~mask
    told = found.volume.sum((1, 2), where=gap) / gap.sum((1, 2))
    np.testing.assert_allclose(told, 100.0 * scale + 7.0, rtol=0.1)
    noise = np.sqrt(told)
    least = found.std.min((1, 2), where=gap, initial=np.inf)
    assert (least >= 0.8 * noise).all()


@pytest.mark.parametrize("dark", [0.5, 5.0])
def test_background_alone_leaves_background_alone(dark: float) -> None:
    shape = (32, 40, 40)
    counts = np.random.default_rng(0).poisson(dark, shape).astype(np.float32)
    mask = cross(shape)
    found = inpaint(counts * mask, mask, background=np.full(shape[1:], dark, np.float32), guided=False)
    assert found.volume[~mask].mean() == pytest.approx(dark, rel=0.15)


@pytest.mark.parametrize(
    ("scale", "background", "said"),
    [
        (np.ones(5), None, r"scale has shape \(5,\), which does not fit counts of shape \(6, 8, 9\)"),
        (np.zeros(6), None, "scale has values that are not above zero"),
        (None, np.full((8, 9), np.nan), "background has values that are negative or not finite"),
    ],
)
def test_light_that_is_none_is_told_in_one_line(
    scale: np.ndarray | None, background: np.ndarray | None, said: str
) -> None:
    counts, mask = np.ones((6, 8, 9), np.float32), np.ones((6, 8, 9), bool)
    mask[:, 4] = False
    with pytest.raises(ValueError, match=said):
        inpaint(counts, mask, engine=Telling(1.0, 0.1), scale=scale, background=background)


def test_a_moved_gap_hides_what_was_seen() -> None:
    mask = cross((20, 60, 60))
    moved = moved_gap(~mask, mask)
    assert moved is not None
    asked, judged = moved
    assert not (asked & ~mask).any()
    assert 0.5 < judged.sum() / asked.sum() <= 1.0
    away = ndimage.distance_transform_edt(mask[0])
    assert away[judged.any(0)].min() > MARGIN  # one gap beside the other, not a wide one
    assert moved_gap(np.ones((4, 4, 4), bool), np.zeros((4, 4, 4), bool)) is None


def test_frames_that_never_came_leave_room_for_the_test() -> None:
    counts = np.random.default_rng(0).poisson(100.0, (40, 40, 40)).astype(np.float32)
    mask = cross(counts.shape)
    mask[:13] = mask[30:] = mask[20] = False
    found = trial(counts * mask, mask, fillable(mask), Telling(100.0, 0.01), light_of(counts.shape))
    assert 0.8 < found < 1.3


def test_dark_patterns_say_nothing_about_the_network() -> None:
    mask = cross((32, 32, 32))
    dark = np.zeros(mask.shape, np.float32)
    assert np.isnan(trial(dark, mask, ~mask, Telling(0.01, 0.1), light_of(dark.shape)))


def test_pattern_without_guide_has_none(scenes: Scenes) -> None:
    pattern = pattern_of(scenes.counts, scenes.announced, [False, False])
    assert not pattern.guided.any()
    assert not pattern.guide.any()


def test_decoded_deviations_are_positive_and_bounded() -> None:
    outputs = torch.tensor([[3.0, -50.0], [-2.0, 50.0]]).view(2, 2, 1, 1, 1)
    intensity, sigma = decoded(outputs)
    assert (intensity >= 0).all()
    assert (sigma > 0).all()
    assert torch.isfinite(sigma).all()


def test_shipped_network_does_better_than_lines_and_says_so(asked: Examples) -> None:
    found = network("inpaint")
    assert found.card.name == TASK.name
    for family in TASK.tested_on:
        metrics = found.card.metrics[family]
        assert metrics["log"] < metrics["log_line"]
        assert metrics["pearson"] > metrics["pearson_line"]
    with torch.no_grad():
        values = TASK.metrics(trained(found)(asked.inputs), asked)
    assert values["log"].mean() < values["log_line"].mean()


def test_engine_contract(pattern: np.ndarray) -> None:
    engine: Engine = TorchEngine(build(), ITEM, batch=(1, 2), precision="fp32")
    mask = cross(pattern.shape)
    first, again = (inpaint(pattern, mask, engine=engine, guided=False) for _ in range(2))
    np.testing.assert_array_equal(first.volume, again.volume)
    assert replace(first).std[~mask].min() > 0
