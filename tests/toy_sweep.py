"""A tiny Hydra application with aelab's sweepers and leaderboard, for the tests of sweeps.

y = (x − 1)² + 0.1·c + 0.01·seed.
"""

import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra

CONF = Path(__file__).parents[1] / "conf"

APP = """
import os, time
import hydra
from hydra.core.hydra_config import HydraConfig

def note(name, cfg):
    with open(os.path.join(HydraConfig.get().sweep.dir, name), "a") as file:
        file.write(f"{HydraConfig.get().job.num}\\n")

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    note("begun.txt", cfg)
    time.sleep(cfg.seconds)
    if cfg.x == cfg.fails_at:
        raise RuntimeError("x is where it fails\\nand more")
    note("ended.txt", cfg)
    y = (cfg.x - 1) ** 2 + 0.1 * cfg.c + 0.01 * cfg.seed
    return [y, cfg.x] if "," in cfg.objective else y

main()
"""

CONFIG = """
defaults: [_self_, {override hydra/sweeper: grid}]
x: 0.0
c: 0
seed: 0
seconds: 0.0
fails_at: null
objective: y
direction: minimize
train: {epochs: 3}
hardware: {threads: null}
figures: {format: png, dpi: 60}
hydra:
  searchpath: ["file://CONF"]
  sweep: {dir: "sweeps/${oc.select:hydra.sweeper.study_name,grid}", subdir: "${hydra.job.num}"}
  callbacks: {leaderboard: {_target_: aelab.sweep.callback.Leaderboard}}
  job_logging: {root: {handlers: [console]}}
  output_subdir: null
"""

ENVIRONMENT = {"COLUMNS": "200", "HYDRA_FULL_ERROR": "0"}
SEARCH = ["hydra/sweeper=optuna", "hydra.sweeper.study_name=study", "x=interval(-2,2)", "c=0,1"]


class ToySweep:
    """The application in a folder of its own; ``study`` and ``grid`` are where its sweeps lie."""

    def __init__(self, folder: Path) -> None:
        (folder / "conf").mkdir()
        (folder / "app.py").write_text(APP)
        (folder / "conf" / "config.yaml").write_text(CONFIG.replace("CONF", str(CONF)))
        self.folder, self.study, self.grid = folder, folder / "sweeps" / "study", folder / "sweeps" / "grid"

    def start(self, *arguments: str) -> "Forked":
        """The command in a fork of this process, which has loaded Optuna already: that alone takes three seconds."""
        return Forked(self.folder, ["app.py", "-m", *arguments])

    def run(self, *arguments: str, status: int = 0) -> str:
        process = self.start(*arguments)
        text = process.communicate(timeout=120)
        assert process.returncode == status, text
        return text

    def run_anew(self, *arguments: str) -> None:
        """The command in a Python of its own, as a launcher that starts processes wants it."""
        line = [sys.executable, "app.py", "-m", *arguments]
        subprocess.run(line, cwd=self.folder, env=os.environ | ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)

    def numbers(self, name: str) -> list[int]:
        """The numbers of the jobs that have ``begun`` or ``ended``, in that order."""
        path = self.study / f"{name}.txt"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


class Forked:
    """A script run in a fork of this process, in ``folder``; what it prints is kept."""

    returncode: int | None = None

    def __init__(self, folder: Path, argv: list[str]) -> None:
        self.printed = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as this object
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(self._run(folder, argv))

    def _run(self, folder: Path, argv: list[str]) -> int:
        for stream in (1, 2):
            os.dup2(self.printed.fileno(), stream)
        sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1) for stream in (1, 2))
        os.chdir(folder)
        os.environ.update(ENVIRONMENT)
        sys.argv = argv
        status: int | str | None = 0
        try:
            GlobalHydra.instance().clear()
            runpy.run_path(argv[0], run_name="__main__")
        except SystemExit as end:
            status = end.code
        except BaseException:
            traceback.print_exc()
            status = 1
        if isinstance(status, str):
            print(status, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        return status if isinstance(status, int) else int(bool(status))

    def communicate(self, timeout: float = 120) -> str:
        """What it printed, once it has ended."""
        end = time.time() + timeout
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.time() > end:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f"{self.pid} did not end")
            else:
                time.sleep(0.01)
        self.printed.seek(0)
        return self.printed.read()
