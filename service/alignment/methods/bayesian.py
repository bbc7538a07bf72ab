"""Bayesian optimisation with BoTorch (extra `bayes`): a Gaussian process over all axes, to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from service.alignment.methods.port import Axis, Levelled, Point, logarithm
from service.errors import SettingsError

# Measured at random about the start before a process is fitted; how far, in widths.
FIRST, AROUND = 6, 1.0
# It has found the point when the last so many proposals lay within the tolerances of each other and of the best point.
STILL = 3
RESTARTS, RAW = 4, 64


class Bayesian:
    """Measures where the logarithm of the expected improvement is largest, of `levelled` values.

    BoTorch's SingleTaskGP and LogNoisyExpectedImprovement (Balandat et al., NeurIPS 2020; Ament et al., NeurIPS 2023).
    `ends` by itself, where its proposals come to stand. Raises SettingsError where BoTorch is not installed.
    """

    def __init__(
        self, axes: Sequence[Axis], start: Point, reach: float = 3.0, seed: int = 0, levelled: Levelled = logarithm,
        ends: bool = True,
    ) -> None:  # fmt: skip
        try:
            import botorch  # noqa: F401
        except ImportError as error:
            raise SettingsError("method bayesian needs BoTorch: pip install 'braggloop[bayes]'") from error
        self._widths = np.array([axis.width for axis in axes])
        self._tolerances = np.array([axis.tolerance for axis in axes]) / self._widths
        self._low = np.maximum([axis.low for axis in axes], start - reach * self._widths) / self._widths
        self._high = np.minimum([axis.high for axis in axes], start + reach * self._widths) / self._widths
        self._start = start / self._widths
        self._random = np.random.default_rng(seed)
        self._seed, self._levelled, self._ends = seed, levelled, ends
        self._places: list[Point] = []
        self._values: list[float] = []
        self._next: Point | None = None

    def ask(self) -> Point | None:
        if self._next is None:
            self._next = self._proposal()
        return None if self._still() else np.asarray(self._next * self._widths)

    def tell(self, at: Point, value: float, time_s: float) -> None:
        self._places.append(at / self._widths)
        self._values.append(self._levelled(value))
        self._next = None

    def refused(self) -> None:
        self._places.append(self._start if self._next is None else self._next)
        self._values.append(min(self._values, default=0.0))
        self._next = None

    def failure(self) -> str:
        return ""

    def best(self) -> Point:
        if len(self._values) < FIRST:
            return np.asarray(self._start * self._widths)
        return np.asarray(self._most_likely() * self._widths)

    def _still(self) -> bool:
        if not self._ends or len(self._places) < FIRST + STILL:
            return False
        last = np.array(self._places[-STILL:])
        if not np.all(np.ptp(last, axis=0) <= 2.0 * self._tolerances):
            return False
        return bool(np.all(np.abs(last[-1] - self._most_likely()) <= 2.0 * self._tolerances))

    def _proposal(self) -> Point:
        if not self._places:
            return np.array(self._start, dtype=np.float64)
        if len(self._places) < FIRST:
            drawn = self._start + AROUND * self._random.normal(size=len(self._start))
            return np.asarray(np.clip(drawn, self._low, self._high))
        from botorch.acquisition import qLogNoisyExpectedImprovement

        model = self._process()
        return self._optimum(qLogNoisyExpectedImprovement(model, model.train_inputs[0], prune_baseline=True))

    def _most_likely(self) -> Point:
        from botorch.acquisition import PosteriorMean

        return self._optimum(PosteriorMean(self._process()))

    def _process(self) -> Any:
        import torch
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from botorch.models.transforms import Normalize, Standardize
        from gpytorch.mlls import ExactMarginalLogLikelihood

        torch.manual_seed(self._seed + len(self._places))
        places = torch.tensor(np.array(self._places), dtype=torch.float64)
        values = torch.tensor(self._values, dtype=torch.float64)[:, None]
        count = places.shape[1]
        bounds = torch.tensor(np.stack([self._low, self._high]), dtype=torch.float64)
        model = SingleTaskGP(
            places, values, input_transform=Normalize(count, bounds=bounds), outcome_transform=Standardize(1)
        )
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        return model

    def _optimum(self, acquisition: Any) -> Point:
        import torch
        from botorch.optim import optimize_acqf

        bounds = torch.tensor(np.stack([self._low, self._high]), dtype=torch.float64)
        found, _ = optimize_acqf(acquisition, bounds, q=1, num_restarts=RESTARTS, raw_samples=RAW)
        return np.asarray(found[0].numpy(), dtype=np.float64)
