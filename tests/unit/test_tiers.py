"""Tiers: what is shown before the search is done, in order, and what becomes of the result."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models.engine.port import Engine
from service import compose, pipeline
from service.compose import inversion, runners, trained_engine
from service.engines import Engines
from service.errors import SettingsError
from service.pipeline import run
from service.records import Reconstruction, Volume
from service.settings import (
    DefectsSettings,
    EngineSettings,
    PhasingSettings,
    RepairSettings,
    Settings,
    TiersSettings,
)
from service.tiers import Tier, Tiers
from tests.helpers.patterns import poisson, transform
from tests.helpers.results import make_crystal, make_volume

EDGE = 32
ALL = TiersSettings(direct=True, adaptive_steps=5, refined_s=5.0)
QUICK = Settings(phasing=PhasingSettings(starts=2, keep=2, recipe="30*ER+120*HIO+30*ER", size=EDGE), tiers=ALL)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def volume() -> Volume:
    intensity = np.abs(transform(make_crystal(EDGE)[0])) ** 2
    counts = poisson(1e6 * intensity / intensity.max())
    return make_volume(EDGE, counts=counts, mask=np.ones(counts.shape, bool))


def test_each_tier_is_shown_with_its_figures_and_the_search_is_the_result(volume: Volume) -> None:
    shown: list[Reconstruction] = []
    result = run(volume, QUICK, tiers=runners().tiers, show=shown.append)
    assert [one.figures.tier for one in shown] == ["direct", "adaptive", "refined"]
    for one in shown:
        assert one.object_.shape == (EDGE, EDGE, EDGE)
        assert np.isfinite([one.figures.chi, one.figures.free_log_likelihood, one.figures.strain_rms]).all()
        assert one.latencies_s["preprocess"] > 0.0
    deviances = {one.figures.tier: one.figures.free_log_likelihood for one in (*shown, result)}
    assert deviances["refined"] <= deviances["direct"]
    assert result.figures.tier == "search"
    assert result.latencies_s["tiers"] > 0.0


def test_what_the_network_does_not_know_is_doubted() -> None:
    """Phases without any order: nothing that latents could tell."""
    disorder = np.exp(3j * np.random.default_rng(0).standard_normal((EDGE,) * 3))
    intensity = np.abs(transform(make_crystal(EDGE)[0] * disorder)) ** 2
    counts = poisson(1e6 * intensity / intensity.max())
    other = make_volume(EDGE, counts=counts, mask=np.ones(counts.shape, bool))
    shown: list[Reconstruction] = []
    settings = QUICK.model_copy(update={"tiers": TiersSettings(direct=True, adaptive_steps=5)})
    run(other, settings, tiers=runners().tiers, show=shown.append)
    assert [one.figures.tier for one in shown] == ["direct", "adaptive"]
    for one in shown:
        assert "not of a kind that it knows" in one.figures.doubt


def test_later_crystals_take_the_hand_of_those_shown(volume: Volume) -> None:
    shown: list[Reconstruction] = []
    settings = QUICK.model_copy(update={"tiers": TiersSettings(direct=True)})
    result = run(volume, settings, tiers=runners().tiers, show=shown.append)
    assert not result.figures.hand_chosen  # which is of the result before
    again = pipeline.nearest_hand(result.object_, shown[0].object_)
    assert not again[1]


@pytest.mark.parametrize("settings", [QUICK.model_copy(update={"tiers": TiersSettings()}), QUICK])
def test_nothing_is_shown_where_nothing_is_asked(volume: Volume, settings: Settings) -> None:
    shown: list[Reconstruction] = []
    start = None if not settings.tiers.direct else make_crystal(EDGE)[0].astype(np.complex64)
    result = run(volume, settings, tiers=runners().tiers, start=start, show=shown.append)
    assert not shown
    assert result.figures.tier == "search"
    assert "tiers" not in result.latencies_s


def test_a_tier_that_fails_is_noted_and_the_search_goes_on(volume: Volume) -> None:
    def failing(*_: object) -> Iterator[Tier]:
        raise ValueError("no crystal at all")
        yield

    result = run(volume, QUICK, tiers=failing, show=lambda _: None)  # type: ignore[arg-type]
    assert result.figures.tier == "search"
    assert any("no crystal at all" in note for note in result.notes)


def test_a_crystal_that_cannot_be_shown_is_noted_too(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pipeline.to_lab

    def once(*arguments: object) -> object:
        monkeypatch.setattr(pipeline, "to_lab", whole)
        raise ValueError("the support is empty")

    monkeypatch.setattr(pipeline, "to_lab", once)
    shown: list[Reconstruction] = []
    result = run(volume, QUICK, tiers=runners().tiers, show=shown.append)
    assert any("no direct crystal" in note and "the support is empty" in note for note in result.notes)
    assert [one.figures.tier for one in shown] == ["adaptive", "refined"]


@pytest.mark.parametrize("wrong", [SettingsError("no network is called 'invert'"), RuntimeError("CUDA error")])
def test_no_engine_costs_no_series(volume: Volume, wrong: Exception) -> None:
    def make(*_: object) -> Any:
        raise wrong

    result = run(volume, QUICK, tiers=Tiers(Engines(make)), show=lambda _: None)
    assert result.figures.tier == "search"
    assert any(str(wrong) in note for note in result.notes)


def test_tiers_begin_with_the_network() -> None:
    for wrong in ({"adaptive_steps": 3}, {"refined_s": 1.0}):
        with pytest.raises(ValidationError, match="set direct to true"):
            TiersSettings(**wrong)


def test_a_worker_makes_its_engines_before_the_first_series(volume: Volume) -> None:
    made: list[str] = []

    def make(settings: EngineSettings, name: str, shape: tuple[int, ...], at_once: int = 1) -> Engine:
        made.append(name)
        return trained_engine(settings, name, shape, at_once)

    tiers = Tiers(Engines(make))
    tiers.warm(QUICK.model_copy(update={"tiers": TiersSettings()}))
    assert not made
    tiers.warm(QUICK)
    assert sorted(made) == ["inpaint", "invert"]
    run(volume, QUICK, tiers=tiers, show=lambda _: None)
    assert len(made) == 2


def test_what_runs_networks_shares_its_engines(monkeypatch: pytest.MonkeyPatch, volume: Volume) -> None:
    made: list[str] = []

    def make(settings: EngineSettings, name: str, shape: tuple[int, ...], at_once: int = 1) -> Engine:
        made.append(name)
        return trained_engine(settings, name, shape, at_once)

    monkeypatch.setattr(compose, "trained_engine", make)
    use, hidden = compose.runners(), volume.mask.copy()
    hidden[:, EDGE // 4] = False
    asked = {"repair": RepairSettings(inpaint=True), "defects": DefectsSettings(classify=True)}
    run(
        replace(volume, mask=hidden), QUICK.model_copy(update=asked), repair=use.repair, tiers=use.tiers,
        classifier=use.classifier, show=lambda _: None,
    )  # fmt: skip
    assert sorted(made) == ["defects", "inpaint", "invert"]


def test_a_worker_without_the_network_starts_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nothing = QUICK.model_copy(update={"engine": EngineSettings(networks=tmp_path)})
    with caplog.at_level(logging.WARNING):
        assert inversion(None, nothing)
    assert "no crystal will be shown before the search: no trained network is called 'invert'" in caplog.text
