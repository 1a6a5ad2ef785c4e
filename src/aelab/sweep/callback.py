"""The Hydra callback that makes a leaderboard of any multirun; nothing heavy at the top, every start imports it."""

import shutil
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from aelab import locks, log
from aelab.config.overrides import said
from aelab.errors import UserError
from aelab.files import write_text
from aelab.sweep.jobs import Job, Sweep, names, outcome, read_jobs, this_sweep

# What a sweep adds to a job's overrides: no choice of anybody.
ADDED = ("+callbacks@callbacks.pruning=", "callbacks.pruning.", "logger.group=")


class Leaderboard(Callback):
    """Each job, wherever a launcher runs it, writes ``job.json`` into its folder; the end of the sweep collects them.

    The process ends with status 1 when a job failed: after the leaderboard, which names it and the reason.
    """

    job: Job | None = None  # of which this process speaks; none where nothing is run

    def on_job_start(self, config: DictConfig, **context: Any) -> None:
        number = OmegaConf.select(config, "hydra.job.num", default=None)  # a single run has none
        if number is None or OmegaConf.select(config, "dry", default=False):
            return
        overrides = [item for item in said(config.hydra.overrides.task) if not item.startswith(ADDED)]
        self.job = Job(number, Path(config.hydra.runtime.output_dir), overrides, "running", [], 0.0, "")
        self.at_work = locks.take(locks.of_job(Path(config.hydra.sweep.dir), number))
        self.job.write()
        self.begun = time.monotonic()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **context: Any) -> None:
        if OmegaConf.select(config, "hydra.job.num", default=None) is None or self.job is None:
            return
        from aelab.sweep.launching import returned

        job, result = self.job, returned(job_return)
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            return  # the process ends here, and the job's lock with it; only Hydra from 1.4 on tells of it
        job.status, job.values, job.reason = outcome(result)
        job.seconds = time.monotonic() - self.begun
        if job.status == "failed" and isinstance(result, Exception) and not isinstance(result, UserError):
            write_text(job.folder / "traceback.txt", "".join(traceback.format_exception(result)))
        job.write()
        sweep = this_sweep() or Sweep(job.number + 1, 0, time.time(), list(job.settings), 1)
        log.say(sweep.line(job, names(OmegaConf.select(config, "objective", default=""))))
        if self.at_work is not None:
            self.at_work.release()

    def on_multirun_end(self, config: DictConfig, **context: Any) -> None:
        if sys.exc_info()[0] is not None:
            return  # something ended the sweep, and is what a person should hear of; Hydra 1.3 does not even call this
        folder = Path(config.hydra.sweep.dir)
        jobs = read_jobs(folder)
        if OmegaConf.select(config, "dry", default=False):
            leave_no_trace(folder)
            return
        if not jobs:
            return
        from aelab.config.messages import one_line
        from aelab.sweep.board import Board
        from aelab.sweep.leaderboard import publish

        directions = OmegaConf.select(config, "hydra.sweeper.direction", default=None) or config.direction
        board = Board(jobs, names(config.objective), names(directions)[0])
        try:
            publish(board, folder, config)
        except Exception as error:  # hydra would pass over it, and the status would be that of a success
            sys.exit(f"aelab: {one_line(error) or ''.join(traceback.format_exception(error))}")
        if board.failures:
            sys.exit(1)


def leave_no_trace(folder: Path) -> None:
    """Take away a sweep's folder made for jobs that were only spoken of: Hydra's multirun.yaml and a lock are in it."""
    if {path.name for path in folder.glob("*")} <= {"multirun.yaml", ".locks"}:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # other sweeps may lie beside it
            folder.parent.rmdir()
