"""Phase retrieval as a whole: a simulated strained crystal comes back, and every choice does what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from models.bcdi import search
from models.bcdi.modes import correlation
from models.bcdi.phasing import Phased, PhasingConfig, phase_retrieval
from models.bcdi.recipe import parse_recipe
from models.bcdi.search import PhasingCancelled
from tests.helpers.patterns import blurred, bright, gaps, poisson, strained_crystal, transform

EDGE = 32
SHAPE = (EDGE, EDGE, EDGE)
TRUTH = bright(strained_crystal(EDGE), 1e6)
AUTO = PhasingConfig(starts=6, keep=3, coherence="full")
QUICK = PhasingConfig(recipe="60*HIO+20*RAAR+40*ER", starts=4, keep=2, coherence="full")
SHORT = PhasingConfig(recipe="8*ER", starts=3, keep=2, coherence="full")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def measured(**changes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Counts of the truth and the mask of a detector with gaps; masked pixels count nonsense."""
    rate = np.abs(transform(TRUTH)) ** 2 * changes.get("scale", 1.0) + changes.get("background", 0.0)
    mask = gaps(SHAPE)
    return np.where(mask, poisson(rate), 5e5).astype(np.float32), mask


@pytest.fixture(scope="module")
def recovered() -> Phased:
    return phase_retrieval(*measured(), AUTO)


def test_a_strained_crystal_is_recovered_across_gaps(recovered: Phased) -> None:
    assert correlation(TRUTH, recovered.object_) > 0.95
    assert recovered.figures.chi < 0.01
    size = np.count_nonzero(np.abs(TRUTH) > 0.5 * np.abs(TRUTH).max())
    assert 0.7 * size < recovered.support.sum() < 3 * size


def test_amplitudes_come_back_in_counts(recovered: Phased) -> None:
    """No free scale: the object's total intensity is the measured one."""
    assert np.linalg.norm(recovered.object_) == pytest.approx(np.linalg.norm(TRUTH), rel=0.03)


def test_nothing_is_recentred(recovered: Phased) -> None:
    counts, mask = measured()
    model = np.abs(transform(recovered.object_)) ** 2
    good = np.where(mask, counts, 0.0)
    assert np.unravel_index((model * mask).argmax(), SHAPE) == np.unravel_index(good.argmax(), SHAPE)
    assert np.corrcoef(model[mask], counts[mask])[0, 1] > 0.99


def test_the_record_is_consistent(recovered: Phased) -> None:
    assert recovered.object_.shape == recovered.support.shape == recovered.held_out.shape == SHAPE
    assert recovered.object_.dtype == recovered.kept.dtype == np.complex64
    assert recovered.support.dtype == recovered.held_out.dtype == np.bool_
    assert recovered.mode_weights.dtype == recovered.prtf.dtype == recovered.prtf_q.dtype == np.float32
    assert recovered.kept.shape == (3, *SHAPE)
    assert not recovered.object_[~recovered.support].any()
    assert len(recovered.starts) == 6
    assert len(set(recovered.selected)) == 3
    assert recovered.mode_weights.sum() == pytest.approx(1.0, abs=1e-5)
    assert list(recovered.mode_weights) == sorted(recovered.mode_weights, reverse=True)
    assert recovered.coherence_widths_voxels is recovered.coherence_mixing is None
    assert all(parse_recipe(part) for part in recovered.recipe.split(";"))
    mask = gaps(SHAPE)
    share = recovered.held_out.sum() / mask.sum()
    assert share == pytest.approx(AUTO.held_out, rel=0.3)
    assert not (recovered.held_out & ~mask).any()


def test_figures_are_those_of_the_object(recovered: Phased) -> None:
    counts, mask = measured()
    model, used = np.abs(transform(recovered.object_)), mask & ~recovered.held_out
    chi = np.sum((model - np.sqrt(counts))[used] ** 2) / counts[used].sum()
    assert recovered.figures.chi == pytest.approx(chi, rel=1e-3)


def test_the_transfer_falls_from_near_one(recovered: Phased) -> None:
    assert np.all(np.diff(recovered.prtf_q) > 0)
    assert recovered.prtf_q[-1] < 0.5
    known = recovered.prtf[np.isfinite(recovered.prtf)]
    assert known[:4] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("coherence", ["full", "gaussian"])
def test_the_selected_starts_are_the_best_of_a_recipe_of_ones_own(coherence: str) -> None:
    found = phase_retrieval(*measured(), replace(QUICK, keep=3, coherence=coherence))
    free = [one.free_log_likelihood for one in found.starts]
    assert found.selected == tuple(np.argsort(free)[:3])
    assert correlation(TRUTH, found.object_) > 0.9
    assert "60*HIO" in found.recipe


def test_an_odd_and_uneven_volume_is_inverted() -> None:
    counts, mask = measured()
    cut = (slice(1, None), slice(3, -2), slice(2, -2))  # the peak stays at n // 2
    found = phase_retrieval(counts[cut], mask[cut], replace(AUTO, starts=3))
    assert found.object_.shape == (31, 27, 28)
    assert found.figures.chi < 0.05


@pytest.mark.parametrize("config", [AUTO, SHORT, replace(SHORT, coherence="pseudo-voigt")])
def test_the_same_seed_gives_the_same_object(config: PhasingConfig) -> None:
    config = replace(config, starts=3, keep=2)
    first, second = (phase_retrieval(*measured(), config) for _ in range(2))
    np.testing.assert_array_equal(first.object_, second.object_)
    assert first.starts == second.starts


def test_another_seed_gives_other_starts() -> None:
    first, second = (phase_retrieval(*measured(), replace(SHORT, seed=seed)) for seed in (1, 2))
    assert (first.held_out != second.held_out).any()
    assert len({one.chi for one in first.starts + second.starts}) == 6


def test_held_out_voxels_may_have_a_seed_of_their_own() -> None:
    first, second = (phase_retrieval(*measured(), replace(SHORT, seed=s, held_out_seed=7)) for s in (1, 2))
    np.testing.assert_array_equal(first.held_out, second.held_out)
    assert first.figures != second.figures


@pytest.mark.parametrize("config", [SHORT, replace(AUTO, starts=3, keep=2)])
def test_the_size_of_a_batch_does_not_change_the_result(config: PhasingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = phase_retrieval(*measured(), config)
    monkeypatch.setitem(search.BATCH_VOXELS, "cpu", 1)
    alone = phase_retrieval(*measured(), config)
    assert alone.selected == whole.selected
    assert correlation(alone.object_, whole.object_) > 0.9999
    assert alone.figures.chi == pytest.approx(whole.figures.chi, rel=1e-2)


def test_nothing_held_out_ranks_by_chi() -> None:
    found = phase_retrieval(*measured(), replace(SHORT, held_out=0.0))
    assert not found.held_out.any()
    assert np.isnan(found.figures.free_log_likelihood)
    assert found.selected == tuple(np.argsort([one.chi for one in found.starts])[:2])


def test_more_may_be_asked_to_be_kept_than_start() -> None:
    assert phase_retrieval(*measured(), replace(SHORT, starts=2, keep=9)).kept.shape[0] == 2


def test_the_twin_may_be_emptied_on_the_way() -> None:
    plain = phase_retrieval(*measured(), SHORT)
    emptied = phase_retrieval(*measured(), replace(SHORT, twin_iteration=2))
    assert (plain.object_ != emptied.object_).any()
    assert np.isfinite(emptied.figures.chi)


def test_uneven_exposure_and_background_are_taken_into_account() -> None:
    rng = np.random.default_rng(4)
    scale = rng.uniform(0.2, 1.8, EDGE).astype(np.float32)
    background = rng.uniform(0.0, 40.0, SHAPE[1:]).astype(np.float32)
    counts, mask = measured(scale=scale[:, None, None], background=background)
    told = phase_retrieval(counts, mask, AUTO, scale=scale, background=background)
    assert correlation(TRUTH, told.object_) > 0.95
    for less in ({"scale": scale}, {"background": background}):
        assert told.figures.chi2 < 0.5 * phase_retrieval(counts, mask, AUTO, **less).figures.chi2
    assert np.linalg.norm(told.object_) == pytest.approx(np.linalg.norm(TRUTH), rel=0.05)


def test_scale_of_frames_broadcasts_as_a_volume_does() -> None:
    counts, mask = measured()
    scale = np.linspace(0.5, 1.5, EDGE, dtype=np.float32)
    frames = phase_retrieval(counts, mask, SHORT, scale=scale)
    volume = phase_retrieval(counts, mask, SHORT, scale=np.broadcast_to(scale[:, None, None], SHAPE))
    np.testing.assert_array_equal(frames.object_, volume.object_)


@pytest.mark.parametrize("recipe", ["auto", "10*ER"])
def test_a_start_near_the_truth_ends_there(recipe: str) -> None:
    found = phase_retrieval(*measured(), replace(AUTO, recipe=recipe, starts=2, keep=1), start=TRUTH)
    assert correlation(TRUTH, found.object_) > 0.98
    inside = np.abs(TRUTH) > 0.5 * np.abs(TRUTH).max()
    # Not the twin, not shifted: the start decides both.
    assert abs(np.vdot(TRUTH[inside], found.object_[inside])) > 0.95 * np.linalg.norm(TRUTH) * np.linalg.norm(
        found.object_
    )


def test_a_start_from_a_coarser_reconstruction_is_taken() -> None:
    field = transform(TRUTH)[8:24, 8:24, 8:24]
    coarse = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(field))).astype(np.complex64)
    found = phase_retrieval(*measured(), replace(SHORT, recipe="12*ER"), start=100.0 * coarse)
    assert found.object_.shape == SHAPE
    assert correlation(TRUTH, found.object_) > 0.95


@pytest.mark.parametrize("coherence", ["gaussian", "pseudo-voigt"])
def test_partial_coherence_is_found_and_helps(coherence: str) -> None:
    sigma = 0.3
    steps = np.meshgrid(np.fft.fftfreq(EDGE), np.fft.fftfreq(EDGE), np.fft.rfftfreq(EDGE), indexing="ij")
    envelope = np.exp(-2 * (np.pi * sigma) ** 2 * sum(step**2 for step in steps))
    counts = poisson(blurred(np.abs(transform(TRUTH)) ** 2, envelope))
    mask = np.ones(SHAPE, dtype=bool)
    partial = phase_retrieval(counts, mask, replace(AUTO, coherence=coherence))
    coherent = phase_retrieval(counts, mask, AUTO)
    assert correlation(TRUTH, partial.object_) > 0.95
    assert partial.figures.chi < coherent.figures.chi
    widths = partial.coherence_widths_voxels
    assert widths is not None
    assert np.mean(widths) == pytest.approx(2.3548 * sigma, rel=0.5)
    assert 0.0 <= partial.coherence_mixing <= 1.0


RUNS: list[tuple[PhasingConfig, bool]] = [
    (replace(AUTO, starts=4, keep=2), False),
    (replace(AUTO, starts=4, keep=2, coherence="gaussian"), False),
    (replace(AUTO, starts=4, keep=2), True),
    (SHORT, False),
    (replace(SHORT, coherence="gaussian"), False),
    (replace(SHORT, coherence="gaussian", recipe="ER"), False),
    (replace(SHORT, starts=1, keep=1), True),
]


@pytest.mark.parametrize(("config", "given"), RUNS)
def test_progress_rises_to_one(config: PhasingConfig, given: bool) -> None:
    told: list[float] = []
    phase_retrieval(*measured(), config, start=TRUTH if given else None, progress=told.append)
    assert told == sorted(told)
    assert told[0] > 0.0
    assert told[-1] == 1.0
    assert told.count(1.0) == 1


@pytest.mark.parametrize("after", [0, 5, 100])
def test_a_cancelled_run_stops_between_iterations(after: int) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    with pytest.raises(PhasingCancelled):
        phase_retrieval(*measured(), replace(AUTO, starts=2, keep=1), cancelled=cancelled)
    assert asked == after + 1


def test_counts_that_are_not_finite_are_masked() -> None:
    counts, mask = measured()
    for value, z in ((np.nan, 3), (np.inf, 4)):
        counts[z, 5:9, 5:9] = value
        mask[z, 5:9, 5:9] = True
    hidden = mask & np.isfinite(counts)
    found = phase_retrieval(counts, mask, SHORT)
    same = phase_retrieval(np.where(hidden, counts, 0).astype(np.float32), hidden, SHORT)
    np.testing.assert_array_equal(found.object_, same.object_)


def test_what_masked_voxels_count_does_not_matter() -> None:
    counts, mask = measured()
    other = np.where(mask, counts, -7.0).astype(np.float32)
    first, second = phase_retrieval(counts, mask, SHORT), phase_retrieval(other, mask, SHORT)
    np.testing.assert_array_equal(first.object_, second.object_)


def test_the_callers_arrays_stay_as_they_are() -> None:
    counts, mask = measured()
    scale, background = np.ones(EDGE, np.float32), np.zeros(SHAPE, np.float32)
    given = [counts, mask, scale, background, TRUTH.copy()]
    before = [array.copy() for array in given]
    phase_retrieval(counts, mask, SHORT, scale=scale, background=background, start=given[-1])
    for array, as_it_was in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, as_it_was)


def test_one_photon_is_something_to_invert() -> None:
    counts = np.zeros((8, 8, 8), dtype=np.float32)
    counts[4, 4, 4] = 1.0
    found = phase_retrieval(counts, np.ones(counts.shape, dtype=bool), SHORT)
    assert np.isfinite(found.object_).all()


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape or (8, 8, 8), dtype=np.float32)


GOOD = np.ones((8, 8, 8), dtype=bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: phase_retrieval(ones(8, 8), GOOD), r"volume \[z, y, x\].*got shape \(8, 8\)"),
        (lambda: phase_retrieval(ones(1, 8, 8), GOOD), r"at least 2 voxels an axis, got shape \(1, 8, 8\)"),
        (lambda: phase_retrieval(ones(), GOOD[1:]), r"mask has shape \(7, 8, 8\), counts \(8, 8, 8\)"),
        (lambda: phase_retrieval(ones(), ~GOOD), "all voxels are masked"),
        (lambda: phase_retrieval(ones() * np.nan, GOOD), "all voxels are masked"),
        (lambda: phase_retrieval(0 * ones(), GOOD), "zero counts"),
        (lambda: phase_retrieval(ones() - 2 * (np.arange(8) == 3), GOOD), "negative counts"),
        (lambda: phase_retrieval(ones(), GOOD, scale=0 * ones(8)), "scale has values that are not above zero"),
        (lambda: phase_retrieval(ones(), GOOD, scale=np.nan * ones(8)), "scale has values that are not above zero"),
        (lambda: phase_retrieval(ones(), GOOD, scale=ones(7)), r"scale has shape \(7,\), which does not fit"),
        (lambda: phase_retrieval(ones(), GOOD, background=ones(3, 3)), r"background has shape \(3, 3\)"),
        (lambda: phase_retrieval(ones(), GOOD, replace(SHORT, recipe="20*XYZ")), "recipe '20[*]XYZ'"),
        (lambda: phase_retrieval(ones(), GOOD, replace(SHORT, recipe="")), "recipe ''"),
    ],
)
def test_what_cannot_be_inverted_is_refused_in_one_line(call: Callable[[], Phased], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("starts", (0, -1)),
        ("keep", (0, -1)),
        ("shrink_period", (0,)),
        ("beta", (0.0, 1.5, np.nan)),
        ("search_threshold", (0.0, 2.0)),
        ("shrink_threshold", (0.0, -1.0, 2.0)),
        ("shrink_first_sigma", (0.0, -1.0, np.nan, np.inf)),
        ("shrink_last_sigma", (0.0, -1.0, np.nan, np.inf)),
        ("held_out", (-0.1, 0.5, 7.0, np.nan)),
        ("seed", (-1,)),
        ("held_out_seed", (-1,)),
        ("twin_iteration", (-1,)),
        ("coherence", ("foo",)),
        ("device", ("foo", "cuda:99", "meta")),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_name(name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=f"{name} is .*: expected"):
            PhasingConfig(**{name: value})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"background": np.float32(np.nan)}, "background"),
        ({"background": np.float32(-1.0)}, "background"),
        ({"background": np.float32(1e9)}, "no counts above the background"),
        ({"scale": np.float32(np.inf)}, "scale"),
        ({"start": np.zeros((8, 8, 8), np.complex64)}, "start"),
        ({"start": np.ones((8, 8), np.complex64)}, "start"),
    ],
)
def test_what_cannot_be_modelled_is_one_line(wrong: dict[str, Any], said: str) -> None:
    counts = np.ones((8, 8, 8), np.float32)
    with pytest.raises(ValueError, match=said) as error:
        phase_retrieval(counts, counts > 0, PhasingConfig(starts=1, keep=1), **wrong)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="device is cuda, but PyTorch finds no CUDA device here"):
        phase_retrieval(*measured(), replace(SHORT, device="cuda"))


@pytest.mark.parametrize("unit", [1e-40, 1e-20, 1e20, 1e60])
def test_a_start_in_any_unit_is_taken(unit: float) -> None:
    found = phase_retrieval(*measured(), replace(SHORT, starts=1), start=TRUTH.astype(np.complex128) * unit)
    assert correlation(TRUTH, found.object_) > 0.98


def test_a_start_that_is_far_off_is_searched_from_where_it_is_asked_to() -> None:
    truth = bright(strained_crystal(40), 1e5)
    counts = poisson(np.abs(transform(truth)) ** 2)
    seen = np.ones(counts.shape, bool)
    rough = (np.abs(truth) > 0).astype(np.complex64)[None]
    polished, searched = (
        phase_retrieval(counts, seen, PhasingConfig(coherence="full", search_from_start=search), start=rough)
        for search in (False, True)
    )
    assert "HIO" in searched.recipe
    assert "HIO" not in polished.recipe
    assert correlation(searched.object_, truth) > 0.97
