"""The Hydra callback that makes a leaderboard of any multirun; nothing heavy at the top, every start imports it."""

import logging
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from aelab import locks
from aelab.files import write_text
from aelab.sweep.jobs import Job, names, outcome, read_jobs

# What a sweep adds to a job's overrides: no choice of anybody.
ADDED = ("+callbacks@callbacks.pruning=", "callbacks.pruning.", "logger.group=")
log = logging.getLogger(__name__)


class Leaderboard(Callback):
    """Each job, wherever a launcher runs it, writes ``job.json`` into its folder; the end of the sweep collects them.

    The process ends with status 1 when a job failed: after the leaderboard, which names it and the reason.
    """

    def on_job_start(self, config: DictConfig, **context: Any) -> None:
        number = OmegaConf.select(config, "hydra.job.num", default=None)  # a single run has none
        if number is None:
            return
        overrides = [item for item in config.hydra.overrides.task if not item.startswith(ADDED)]
        self.job = Job(number, Path(config.hydra.runtime.output_dir), overrides, "running", [], 0.0, "")
        self.at_work = locks.take(locks.of_job(Path(config.hydra.sweep.dir), number))
        self.job.write()
        self.begun = time.monotonic()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **context: Any) -> None:
        if OmegaConf.select(config, "hydra.job.num", default=None) is None:
            return
        from aelab.errors import UserError
        from aelab.sweep.launching import returned

        job, result = self.job, returned(job_return)
        job.status, job.values, job.reason = outcome(result)
        job.seconds = time.monotonic() - self.begun
        if job.status == "failed":
            log.error("job %d failed: %s", job.number, job.reason)
            if isinstance(result, Exception) and not isinstance(result, UserError):
                write_text(job.folder / "traceback.txt", "".join(traceback.format_exception(result)))
        job.write()
        if self.at_work is not None:
            self.at_work.release()

    def on_multirun_end(self, config: DictConfig, **context: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        jobs = read_jobs(folder)
        if not jobs:
            return
        from aelab.sweep.board import Board
        from aelab.sweep.leaderboard import publish

        directions = OmegaConf.select(config, "hydra.sweeper.direction", default=None) or config.direction
        board = Board(jobs, names(config.objective), names(directions)[0])
        publish(board, folder, config)
        if board.failures:
            sys.exit(1)
