"""Hydra's grid of all combinations, for people who leave it alone overnight."""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class GridSweeper(BasicSweeper):
    """Hydra's own grid; a failing job ends neither the grid nor the leaderboard, and parallel jobs share the cores."""

    def setup(self, **context: Any) -> None:
        from aelab.sweep.launching import KeepGoing

        super().setup(**context)
        assert self.launcher is not None and self.config is not None  # Hydra has just set them up
        self.launcher = KeepGoing(self.launcher, self.config)
