"""What part of a sweep's stage time goes into pretraining: 12 fine-tunings over one stack, which is trained once.

``python tests/benchmarks/bench_chain_sweep.py`` prints the ratio, at most 0.15, and exits with status 1 above it.
Without the store every job would pretrain, and the ratio be that of one chain alone: printed beside it.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT = 0.15
CHAIN = (  # epochs of pretraining and fine-tuning as 1 to 10, as in conf/chain/deep_autoencoder.yaml
    "chain=deep_autoencoder", "logger=csv", "chain.widths=[64,32,8]", "chain.rbm.train.epochs=10",
    "chain.finetune.train.epochs=100", "evaluate.probe=null", "evaluate.knn=null",
)  # fmt: skip
GRID = ("chain.finetune.optimizer.lr=0.001,0.002,0.004,0.008", "chain.finetune.train.batch_size=64,128,256")


def seconds(stage: Path) -> float:
    """Training, testing and drawing of one stage."""
    timing = json.loads((stage / "timing.json").read_text())
    return timing["train_seconds"] + timing["test_seconds"]


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        folders = f"chain.store={root / 'store'}", f"hydra.sweep.dir={root / 'sweep'}"
        subprocess.run(
            [sys.executable, "-m", "aelab.app", "-m", *CHAIN, *GRID, *folders],
            check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        jobs = [json.loads(path.read_text()) for path in (root / "sweep").glob("*/chain.json")]
        tunings = [path for path in (root / "store").glob("deep_autoencoder-*") if path.is_dir()]
        machines = [path for path in (root / "store").glob("rbm-*") if path.is_dir()]
        found = sum(stage["found"] for job in jobs for stage in job["stages"].values())
        pretraining, fine_tuning = (sum(map(seconds, stages)) for stages in (machines, tunings))
    ratio = pretraining / (pretraining + fine_tuning)
    alone = pretraining / (pretraining + fine_tuning / len(jobs))
    print(f"{len(jobs)} jobs: {len(machines)} machines and {len(tunings)} fine-tunings run, {found} stages found")
    print(f"pretraining {pretraining:.1f} s, fine-tuning {fine_tuning:.1f} s")
    print(f"pretraining's part of the sweep's stage time {ratio:.3f} (limit {LIMIT}); of one chain alone {alone:.3f}")
    sys.exit(0 if ratio <= LIMIT and len(jobs) == 12 else 1)


if __name__ == "__main__":
    main()
