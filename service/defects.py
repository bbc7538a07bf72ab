"""Defects: what is wrong with the crystal of a series, told beside its reconstruction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.bcdi.geometry import ANGSTROM_PER_NM
from models.bcdi.phasing import Phased
from models.bcdi.preprocess import Preprocessed
from models.defects.predict import ITEM, NAME, classify
from models.defects.report import DefectReport, Scattering
from models.inpaint.predict import BATCH
from models.inpaint.predict import ITEM as INPAINTED
from models.inpaint.predict import NAME as INPAINTER
from service.engines import Engines
from service.settings import Settings


class Classifier:
    """Called with one crop and its crystal after the other. For one thread.

    Raises SettingsError or SourceError where there is no such engine or network, ValueError where there is nothing to
    classify.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def __call__(
        self,
        prepared: Preprocessed,
        phased: Phased,
        direct_nm: NDArray[np.float64],
        q_lab: NDArray[np.float64],
        settings: Settings,
    ) -> DefectReport:
        """Return what is wrong with the crystal of a crop; `direct_nm` (3, 3) a voxel, `q_lab` (3,) 1/angstrom."""
        gaps = None if prepared.mask.all() else self._engines.get(settings.engine, INPAINTER, INPAINTED, BATCH)
        return classify(
            prepared.intensity,
            phased.object_,
            mask=prepared.mask,
            support=phased.support,
            scattering=Scattering(
                basis_nm=direct_nm, q=q_lab * ANGSTROM_PER_NM, reflection=settings.defects.reflection
            ),
            engine=self._engines.get(settings.engine, NAME, ITEM),
            inpainter=gaps,
            sure=settings.defects.sure,
        )
