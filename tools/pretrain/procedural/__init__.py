"""Procedural images for pretraining: textures, fractals, shapes, lines and spots, with their labels.

"Pre-training without natural images" (Kataoka et al. 2020): images and labels come from formulas, so no data with a
license is needed.
"""

from tools.pretrain.procedural.scenes import TASKS, Scenes, render_scenes

__all__ = ["TASKS", "Scenes", "render_scenes"]
