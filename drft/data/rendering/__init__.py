"""A painter of fundus photographs: eyes, their lesions and the camera that sees them."""

from drft.data.rendering.findings import Findings, draw_findings
from drft.data.rendering.photograph import render_eye, render_photograph

__all__ = ["Findings", "draw_findings", "render_eye", "render_photograph"]
