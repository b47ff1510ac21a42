"""One rendered image, from the healthy eye to the camera's pixels."""

import numpy as np
from numpy.typing import NDArray

from drft.data.rendering.anatomy import Anatomy, paint_disc, paint_retina
from drft.data.rendering.canvas import Canvas
from drft.data.rendering.findings import LesionAmounts, draw_findings
from drft.data.rendering.lesions import paint_bright_lesions, paint_laser_scars, paint_red_lesions
from drft.data.rendering.optics import Exposure, expose, frame
from drft.data.rendering.proliferation import paint_proliferation
from drft.data.rendering.vessels import grow_tree, paint_vessels


def render_image(rng: np.random.Generator, grade: int, height: int = 256) -> NDArray[np.uint8]:
    """Render a fundus image of an eye of one grade.

    Args:
        rng: source of chance; equal states give equal images.
        grade: what the eye shows on the international scale, 0 to 4.
        height: height of the image in pixels; it is 1.5 times as wide.

    Returns:
        RGB pixels of shape (height, width, 3).
    """
    eye, lesions, camera = rng.spawn(3)
    return render_eye(eye, lesions, camera, draw_findings(lesions, grade), height)


def render_eye(
    eye: np.random.Generator,
    lesions: np.random.Generator,
    camera: np.random.Generator,
    findings: LesionAmounts,
    height: int = 256,
) -> NDArray[np.uint8]:
    """Render an eye with given findings; the same eye generator gives the same eye, healthy or ill."""
    canvas = Canvas(height)
    anatomy = Anatomy.sample(eye)
    tree = grow_tree(eye, anatomy, findings.venous_beading)
    image = paint_retina(eye, canvas, anatomy)
    image = paint_disc(eye, canvas, anatomy, image)
    image = paint_bright_lesions(lesions, canvas, anatomy, findings, image)
    image = paint_laser_scars(lesions, canvas, anatomy, findings.laser_scars, image)
    image = paint_vessels(canvas, tree, image)
    image = paint_red_lesions(lesions, canvas, anatomy, findings, image)
    image = paint_proliferation(lesions, canvas, anatomy, findings, image)
    if anatomy.left:
        image = image[:, ::-1]
    exposure = Exposure.sample(camera, findings.haze)
    return frame(canvas, expose(camera, canvas, exposure, image))
