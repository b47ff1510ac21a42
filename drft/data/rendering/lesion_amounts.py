"""Numbers of lesions at each grade of the international scale.

The scale (Wilkinson et al. 2003, *Ophthalmology* 110:1677): grade 0 no abnormalities; 1 microaneurysms only;
2 more than microaneurysms, less than severe; 3 haemorrhages in four quadrants, venous beading or intraretinal
microvascular abnormalities, no proliferation; 4 neovascularization, or vitreous or preretinal haemorrhage.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class LesionAmounts:
    """Lesions of one eye, as counts or as amounts from 0 to 1."""

    microaneurysms: int = 0
    haemorrhages: int = 0
    """Dot, blot and flame-shaped haemorrhages inside the retina."""
    hard_exudates: int = 0
    exudate_clusters: int = 0
    """Rings and groups of hard exudates."""
    soft_exudates: int = 0
    """Cotton wool spots."""
    venous_beading: float = 0.0
    irma: int = 0
    """Intraretinal microvascular abnormalities."""
    vessels_on_disc: bool = False
    """Neovascularization of the disc."""
    vessels_elsewhere: int = 0
    preretinal_haemorrhages: int = 0
    haze: float = 0.0
    """Cloudy media: cataract, which diabetes makes earlier, or blood in the vitreous."""
    fibrous_bands: int = 0
    laser_scars: int = 0


def sample_lesions(rng: np.random.Generator, grade: int) -> LesionAmounts:
    """Return random lesions of an eye of one grade (0 to 4)."""
    if grade == 0:
        return LesionAmounts()
    if grade == 1:
        return LesionAmounts(microaneurysms=int(rng.integers(2, 9)))
    return (_moderate, _severe, _proliferative)[grade - 2](rng)


def _moderate(rng: np.random.Generator) -> LesionAmounts:
    exudates = _amount(rng, 0.9, 80)
    return LesionAmounts(
        microaneurysms=int(rng.integers(4, 18)),
        haemorrhages=2 + _amount(rng, 1.0, 7),
        hard_exudates=exudates,
        exudate_clusters=1 + int(exudates > 60) + int(rng.integers(2)),
        soft_exudates=int(rng.integers(1, 4)) if rng.random() < 0.25 else 0,
        haze=rng.uniform(0, 0.08),
    )


def _severe(rng: np.random.Generator) -> LesionAmounts:
    exudates = _amount(rng, 0.8, 90)
    return LesionAmounts(
        microaneurysms=int(rng.integers(15, 45)),
        haemorrhages=28 + _amount(rng, 1.0, 26),
        hard_exudates=exudates,
        exudate_clusters=1 + int(exudates > 60) + int(rng.integers(3)),
        soft_exudates=int(rng.integers(1, 7)) if rng.random() < 0.55 else 0,
        venous_beading=float(rng.uniform(0.4, 1.0)) if rng.random() < 0.7 else 0.0,
        irma=int(rng.integers(1, 5)) if rng.random() < 0.7 else 0,
        haze=rng.uniform(0, 0.16),
    )


def _proliferative(rng: np.random.Generator) -> LesionAmounts:
    exudates = _amount(rng, 0.5, 60)
    bleeding = rng.random() < 0.65
    on_disc = bool(rng.random() < 0.5)
    return LesionAmounts(
        microaneurysms=int(rng.integers(4, 25)),
        haemorrhages=3 + _amount(rng, 1.0, 14),
        hard_exudates=exudates,
        exudate_clusters=1 + int(rng.integers(3)),
        soft_exudates=int(rng.integers(1, 4)) if rng.random() < 0.3 else 0,
        venous_beading=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.4 else 0.0,
        irma=int(rng.integers(1, 4)) if rng.random() < 0.4 else 0,
        vessels_on_disc=on_disc,
        vessels_elsewhere=int(rng.integers(1, 4)) if not on_disc or rng.random() < 0.4 else 0,
        preretinal_haemorrhages=int(rng.integers(1, 4)) if bleeding else 0,
        haze=rng.uniform(0.1, 0.45) if bleeding and rng.random() < 0.6 else rng.uniform(0, 0.2),
        fibrous_bands=int(rng.integers(1, 4)) if rng.random() < 0.5 else 0,
        laser_scars=int(rng.integers(50, 140)) if rng.random() < (0.3 if bleeding else 0.8) else 0,
    )


def _amount(rng: np.random.Generator, share: float, typical: float) -> int:
    """Return with probability ``share`` a number around ``typical`` with a long tail, else 0."""
    return int(typical * rng.lognormal(-0.2, 0.8)) if rng.random() < share else 0
