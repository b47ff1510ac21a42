"""A healthy eye: its landmarks and colours, and how retina, macula and optic disc are painted."""

from dataclasses import dataclass

import numpy as np

from drft.data.rendering.canvas import Canvas, Field, FloatImage, absorb, over


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Properties that differ from eye to eye; positions and lengths in field radii."""

    disc: tuple[float, float]
    fovea: tuple[float, float]
    disc_radius: float
    cup_ratio: float
    colour: tuple[float, float, float]
    """Colour of the retina in the middle of the field."""
    macular_pigment: float
    tessellation: float
    """How clearly the vessels of the choroid are visible through the retina."""
    mottling: float
    tortuosity: float
    calibre: float
    """Width of all vessels relative to the average eye."""
    left: bool

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "Anatomy":
        """Return a random eye; its colours vary as those of adult fundi under one camera."""
        fovea = (float(rng.normal(-0.06, 0.07)), float(rng.normal(0.04, 0.06)))
        distance = rng.normal(0.78, 0.04)
        return cls(
            disc=(fovea[0] + float(distance), fovea[1] + float(rng.normal(-0.1, 0.06))),
            fovea=fovea,
            disc_radius=float(np.clip(rng.normal(0.142, 0.012), 0.11, 0.175)),
            cup_ratio=float(rng.uniform(0.3, 0.6)),
            colour=_retinal_colour(rng),
            macular_pigment=float(rng.uniform(0.25, 0.75)),
            tessellation=float(rng.beta(1.2, 3.0)),
            mottling=float(rng.uniform(0.02, 0.07)),
            tortuosity=float(rng.gamma(4.0, 0.25)),
            calibre=float(np.clip(rng.normal(1.0, 0.12), 0.75, 1.3)),
            left=bool(rng.random() < 0.5),
        )


def _retinal_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """Return a random colour: warm orange, or pinkish with more blue, from pale to dark."""
    red = float(np.clip(rng.normal(0.7, 0.09), 0.45, 0.88))
    green = red * float(np.clip(rng.normal(0.49, 0.07), 0.3, 0.62))
    pinkish = rng.random() < 0.5
    blue = red * float(np.clip(rng.normal(0.3, 0.06), 0.15, 0.45) if pinkish else rng.uniform(0.02, 0.13))
    return red, green, min(blue, 0.75 * green)


def paint_retina(rng: np.random.Generator, canvas: Canvas, anatomy: Anatomy) -> FloatImage:
    """Return the retina with choroid, macula and fovea, without disc and vessels."""
    image = np.full((canvas.height, canvas.width, 3), anatomy.colour, dtype=np.float32)
    clouds = canvas.noise(rng, 0.5) + 0.6 * canvas.noise(rng, 0.2) + 0.4 * canvas.noise(rng, 0.08)
    image = absorb(image, anatomy.mottling * clouds, (0.7, 1.2, 1.0))
    image = _show_choroid(rng, canvas, anatomy, image)
    macula = canvas.bump(*anatomy.fovea, 0.23) + 0.9 * canvas.bump(*anatomy.fovea, 0.07)
    return absorb(image, anatomy.macular_pigment * macula, (0.36, 0.55, 0.6))


def _show_choroid(rng: np.random.Generator, canvas: Canvas, anatomy: Anatomy, image: FloatImage) -> FloatImage:
    """Paint choroidal vessels as pale streaks that are clearest away from the macula."""
    streaks = np.exp(-4 * np.abs(canvas.noise(rng, 0.12, 3.0))) + np.exp(-5 * np.abs(canvas.noise(rng, 0.09, 2.2)))
    away = 1 - np.exp(-((canvas.distance(*anatomy.fovea) / 0.5) ** 2))
    patches = np.clip(0.5 + 0.5 * canvas.noise(rng, 0.7), 0, 1)
    pale = anatomy.tessellation * away * patches * streaks
    return absorb(image, -0.32 * pale, (0.75, 0.8, 0.2))


def paint_disc(rng: np.random.Generator, canvas: Canvas, anatomy: Anatomy, image: FloatImage) -> FloatImage:
    """Paint the optic disc: glow, crescent, rim (redder on the nasal side) and pale cup."""
    x, y = anatomy.disc
    radius = anatomy.disc_radius
    stretch = float(rng.uniform(1.02, 1.2))
    distance = canvas.distance(x, y, stretch) / radius
    image = over(image, float(rng.uniform(0.1, 0.4)) * np.exp(-distance / 1.6), _paler(anatomy, 0.35))
    crescent = canvas.distance(x - 0.3 * radius, y, stretch) / radius
    image = over(image, float(rng.uniform(0, 0.7)) ** 2 * _inside(crescent, 1.05, 12), _paler(anatomy, 0.7))
    inside = _inside(distance, 1.0, 22)
    image = over(image, 0.92 * inside, _paler(anatomy, 0.75))
    nasal = np.clip((canvas.x - x) / radius, 0, 1) * inside
    image = absorb(image, 0.4 * nasal, (0.15, 0.8, 0.7))
    cup = canvas.distance(x - 0.15 * radius, y, stretch) / (radius * anatomy.cup_ratio)
    return over(image, 0.85 * _inside(cup, 1.15, 4), _paler(anatomy, 1.1))


def _paler(anatomy: Anatomy, degree: float) -> tuple[float, float, float]:
    """Return the colour of the retina with less blood and pigment: more yellow, and white at high degrees."""
    red, green, blue = anatomy.colour
    paler = red * (1 + 0.85 * degree), green * (1 + 1.2 * degree), blue + 0.22 * degree**2
    return min(1.05, paler[0]), min(0.98, paler[1]), min(0.85, paler[2])


def _inside(distance: Field, edge: float, sharpness: float) -> Field:
    """Return 1 where the distance is below ``edge``, 0 where it is above, with a soft transition."""
    inside: Field = 1 / (1 + np.exp(np.clip(sharpness * (distance - edge), -30, 30)))
    return inside
