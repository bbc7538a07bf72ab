"""What logits are divided by so that networks are as sure as they are right: found on crystals of validation."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from benchmarks.defects.cases import ORDINARY, continuum
from models.defects import predict
from models.defects.classes import CLASSES
from models.simulate.scenes import FROZEN_SEEDS

TRIED = np.linspace(0.5, 2.0, 151)


def temperatures(crystals: int) -> Mapping[str, float]:
    """Return, for frames and for volumes, the temperature of the least cross entropy (Guo et al., ICML 2017)."""
    shown: dict[str, list[Tensor]] = {"frame": [], "volume": []}
    truth = []
    engines = {"frame": predict.slice_engine(), "volume": predict.default_engine()}
    for case in itertools.islice(continuum(ORDINARY, FROZEN_SEEDS["validation"]), crystals):
        middle = len(case.counts) // 2
        given = {"frame": (case.counts[middle], case.mask[middle]), "volume": (case.counts, case.mask)}
        truth.append(CLASSES.index(case.name))
        for name, (counts, mask) in given.items():
            pattern = torch.from_numpy(predict.filled(counts, mask))
            shown[name].append(engines[name].run(predict.view_of(pattern, case.scattering)).cpu())
    return {name: _best(torch.cat(logits), torch.tensor(truth)) for name, logits in shown.items()}


def _best(logits: Tensor, truth: Tensor) -> float:
    losses = [float(torch.nn.functional.cross_entropy(logits.double() / one, truth)) for one in TRIED]
    return float(TRIED[int(np.argmin(losses))])
