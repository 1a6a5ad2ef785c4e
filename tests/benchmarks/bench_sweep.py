"""A sweep's own cost a job: all that is not the job itself (choosing, composing, recording), in one process.

    python tests/benchmarks/bench_sweep.py        # must print less than 0.5 s

The job's own time is taken inside it, from its job.json; the rest of the study's time is the sweep's.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import optuna

from aelab.sweep.jobs import read_jobs
from aelab.sweep.storage import open_storage

TRIALS = 12

with tempfile.TemporaryDirectory() as folder:
    subprocess.run(
        [
            str(Path(sys.executable).with_name("aelab")), "-m", "hydra/sweeper=optuna", f"hydra.sweep.dir={folder}",
            "++hydra.callbacks.leaderboard._target_=aelab.sweep.callback.Leaderboard", "model.n_code=range(2,32)",
            "optimizer.lr=tag(log,interval(1e-4,1e-1))", f"hydra.sweeper.n_trials={TRIALS}", "train.epochs=2",
            "logger=csv",
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    storage = open_storage(f"{folder}/study.journal")
    (study,) = optuna.get_all_study_summaries(storage)
    trials = optuna.load_study(study_name=study.study_name, storage=storage).trials
    whole = (trials[-1].datetime_complete - trials[0].datetime_start).total_seconds()
    jobs = sum(job.seconds for job in read_jobs(Path(folder)))
    own = (whole - jobs) / TRIALS
    print(f"{TRIALS} trials in {whole:.2f} s, their jobs {jobs:.2f} s: the sweep's own {own:.3f} s a job")
