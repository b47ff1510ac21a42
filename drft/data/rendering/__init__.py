"""A painter of fundus photographs: eyes, their lesions and the camera that sees them."""

from drft.data.rendering.findings import LesionAmounts, draw_findings
from drft.data.rendering.photograph import render_eye, render_photograph

__all__ = ["LesionAmounts", "draw_findings", "render_eye", "render_photograph"]
