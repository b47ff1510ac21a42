"""Studies in the Optuna dashboard."""

from study.dashboard.server import Dashboard, open_dashboard

__all__ = ["Dashboard", "open_dashboard"]
