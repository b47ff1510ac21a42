"""What several tests share: small studies, trainers that take no time, processes to kill, a browser."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The top of the project."""
