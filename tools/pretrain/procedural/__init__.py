"""Procedural images to pretrain on: textures, fractals, shapes, lines and spots, with their labels.

"Pre-training without natural images" (Kataoka et al. 2020): formulas make both image and label, so nothing is
downloaded and nothing is licensed.
"""

from tools.pretrain.procedural.scenes import TASKS, Scenes, render_scenes

__all__ = ["TASKS", "Scenes", "render_scenes"]
