"""Render fundus images: eyes, their lesions and the camera."""

from drft.data.rendering.fundus_image import render_eye, render_image
from drft.data.rendering.lesion_amounts import LesionAmounts, sample_lesions

__all__ = ["LesionAmounts", "render_eye", "render_image", "sample_lesions"]
