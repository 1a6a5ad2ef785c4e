"""A tiny Hydra application with aelab's sweepers and leaderboard, for the tests of sweeps.

y = (x − 1)² + 0.1·c + 0.01·seed.
"""

import os
import subprocess
import sys
from pathlib import Path

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

SEARCH = ["hydra/sweeper=optuna", "hydra.sweeper.study_name=study", "x=interval(-2,2)", "c=0,1"]


class ToySweep:
    """The application in a folder of its own; ``study`` and ``grid`` are where its sweeps lie."""

    def __init__(self, folder: Path) -> None:
        (folder / "conf").mkdir()
        (folder / "app.py").write_text(APP)
        (folder / "conf" / "config.yaml").write_text(CONFIG.replace("CONF", str(CONF)))
        self.folder, self.study, self.grid = folder, folder / "sweeps" / "study", folder / "sweeps" / "grid"

    def start(self, *arguments: str) -> subprocess.Popen:
        env = os.environ | {"COLUMNS": "200", "HYDRA_FULL_ERROR": "0"}
        return subprocess.Popen(
            [sys.executable, "app.py", "-m", *arguments],
            cwd=self.folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        process = self.start(*arguments)
        text = process.communicate(timeout=120)[0]
        assert process.returncode == status, text
        return text

    def numbers(self, name: str) -> list[int]:
        """The numbers of the jobs that have ``begun`` or ``ended``, in that order."""
        path = self.study / f"{name}.txt"
        return [int(line) for line in path.read_text().split()] if path.exists() else []
