"""Hydra's grid of all combinations, for people who leave it alone overnight."""

from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class GridSweeper(BasicSweeper):
    """Hydra's own grid; a failing job ends neither the grid nor the leaderboard, and parallel jobs share the cores.

    Killed and started again with the same command and hydra.sweep.dir, it goes on: jobs that are done are found.
    """

    def setup(self, **context: Any) -> None:
        from aelab.sweep.launching import Grid, check_counts

        check_counts(context["config"])
        super().setup(**context)
        assert self.launcher is not None and self.config is not None  # Hydra has just set them up
        self.launcher = Grid(self.launcher, self.config, lambda: sum(map(len, self.overrides or [])))

    def sweep(self, arguments: list[str]) -> Any:
        from aelab import locks
        from aelab.errors import UserError
        from aelab.sweep.launching import goes_on

        assert self.config is not None
        folder = Path(self.config.hydra.sweep.dir)
        lock = locks.take(folder / ".locks" / "grid", wait=1.0)
        if lock is None:
            raise UserError(f"hydra.sweep.dir: another process is at work in {folder}; let it end, or choose another")
        try:
            with goes_on(self.config, in_same_folder=False):
                return super().sweep(arguments)
        finally:
            lock.release()
