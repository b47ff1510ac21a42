"""A painter of fundus images: eyes, their lesions and the camera that sees them."""

from drft.data.rendering.findings import LesionAmounts, draw_findings
from drft.data.rendering.fundus_image import render_eye, render_image

__all__ = ["LesionAmounts", "draw_findings", "render_eye", "render_image"]
