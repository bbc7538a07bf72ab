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

# Lattice constants of fcc metals, from nickel's to lead's and a little more: others tell of another reflection.
USUAL_LATTICE_NM = (0.34, 0.52)


def scattering_of(direct_nm: NDArray[np.float64], q_lab: NDArray[np.float64], settings: Settings) -> Scattering:
    """Return how a crystal was measured; `direct_nm` (3, 3) a voxel, `q_lab` (3,) 1/angstrom."""
    return Scattering(basis_nm=direct_nm, q=q_lab * ANGSTROM_PER_NM, reflection=settings.defects.reflection)


def odd_lattice(scattering: Scattering) -> str:
    """Return why the crystal cannot have been measured in that reflection, or hardly; empty where it can."""
    lattice_nm = scattering.lattice_nm
    if lattice_nm is None or USUAL_LATTICE_NM[0] <= lattice_nm <= USUAL_LATTICE_NM[1]:
        return ""
    named = " ".join(map(str, scattering.reflection or ()))
    return f"in reflection {named} the lattice constant would be {lattice_nm:.3f} nm, which hardly any fcc metal has"


class Classifier:
    """Called with one crop and its crystal after the other. For one thread.

    Raises SettingsError or SourceError where there is no such engine or network, ValueError where there is nothing to
    classify.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def __call__(
        self, prepared: Preprocessed, phased: Phased, scattering: Scattering, settings: Settings
    ) -> DefectReport:
        """Return what is wrong with the crystal of a crop."""
        gaps = None if prepared.mask.all() else self._engines.get(settings.engine, INPAINTER, INPAINTED, BATCH)
        return classify(
            prepared.intensity,
            phased.object_,
            mask=prepared.mask,
            support=phased.support,
            scattering=scattering,
            engine=self._engines.get(settings.engine, NAME, ITEM),
            inpainter=gaps,
            sure=settings.defects.sure,
        )
