"""Render one image: the healthy eye, its lesions, and the pixels of the camera."""

import numpy as np
from numpy.typing import NDArray

from drft.data.rendering.anatomy import Anatomy, paint_disc, paint_retina
from drft.data.rendering.canvas import Canvas
from drft.data.rendering.lesion_amounts import LesionAmounts, sample_lesions
from drft.data.rendering.lesions import paint_bright_lesions, paint_laser_scars, paint_red_lesions
from drft.data.rendering.optics import Exposure, expose, frame
from drft.data.rendering.proliferation import paint_proliferation
from drft.data.rendering.vessels import grow_tree, paint_vessels


def render_image(rng: np.random.Generator, grade: int, height: int = 256) -> NDArray[np.uint8]:
    """Render a fundus image of an eye of one grade.

    Args:
        rng: random numbers; equal states give equal images.
        grade: grade of the eye on the international scale, 0 to 4.
        height: height of the image in pixels; it is 1.5 times as wide.

    Returns:
        RGB pixels of shape (height, width, 3).
    """
    eye, lesions, camera = rng.spawn(3)
    return render_eye(eye, lesions, camera, sample_lesions(lesions, grade), height)


def render_eye(
    eye: np.random.Generator,
    lesions: np.random.Generator,
    camera: np.random.Generator,
    amounts: LesionAmounts,
    height: int = 256,
) -> NDArray[np.uint8]:
    """Render an eye with given lesions.

    The three generators are independent: the same ``eye`` gives the same eye with any lesions and any exposure.
    """
    canvas = Canvas(height)
    anatomy = Anatomy.sample(eye)
    tree = grow_tree(eye, anatomy, amounts.venous_beading)
    image = paint_retina(eye, canvas, anatomy)
    image = paint_disc(eye, canvas, anatomy, image)
    image = paint_bright_lesions(lesions, canvas, anatomy, amounts, image)
    image = paint_laser_scars(lesions, canvas, anatomy, amounts.laser_scars, image)
    image = paint_vessels(canvas, tree, image)
    image = paint_red_lesions(lesions, canvas, anatomy, amounts, image)
    image = paint_proliferation(lesions, canvas, anatomy, amounts, image)
    if anatomy.left:
        image = image[:, ::-1]
    exposure = Exposure.sample(camera, amounts.haze)
    return frame(canvas, expose(camera, canvas, exposure, image))
