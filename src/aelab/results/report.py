"""What a run prints at its end."""

import difflib
import io
import shutil
import textwrap
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aelab import log
from aelab.errors import UserError

NEARLY = 0.9  # of the letters: squared_erorr for squared_error, but not biases_mae for biases_rmse

LINES = {  # metric → what a person reads
    "test/squared_error": "squared error of a test sample",
    "test/pca_squared_error": "the same, PCA with as many code units",
    "test/logistic_pca_squared_error": "the same, logistic PCA",
    "test/scratch_squared_error": "the same, the net not pretrained",
    "test/principal_angle": "largest angle to PCA's subspace, rad",
    "test/psnr": "PSNR, dB",
    "test/denoised_squared_error": "squared error, restored",
    "test/psnr_gained": "PSNR gained by restoring, dB",
    "test/nll": "−log p(x) of a test image, at most",
    "test/annealed_nll": "the first ones by annealing, at most",
    "test/annealed_difference": "what importance sampling misses",
    "test/elbo": "its lower bound on log p(x)",
    "test/kl": "KL(q ‖ p) in it, nats",
    "test/log_likelihood": "log p(x) of a test sample, exact",
    "test/log_likelihood_lower": "log p(x) of a test sample, at least",
    "test/log_likelihood_upper": "log p(x) of a test sample, at most",
    "test/perplexity": "perplexity per word, test documents",
    "test/perplexity_lower": "perplexity per word, at least",
    "test/perplexity_upper": "perplexity per word, at most",
    "test/lda_perplexity": "the same, LDA with as many topics",
    "test/retrieval_precision": "nearest documents that have its label",
    "test/rmse": "root mean squared error of a rating",
    "test/mae": "mean absolute error of a rating",
    "test/mean_rmse": "RMSE of the global mean",
    "test/biases_rmse": "RMSE of user and item biases",
    "test/factors_rmse": "RMSE of matrix factorisation",
    "test/active_units": "latent units in use",
    "test/l0": "active code units per image",
    "test/dead_fraction": "code units never active",
    "test/explained_variance": "variance explained, of 1",
    "test/pca_explained_variance": "the same, PCA with as many units",
    "test/class_error": "classification error, %",
    "test/scratch_class_error": "the same, the net not pretrained",
    "test/probe_error": "linear classifier on the code, %",
    "test/knn_error": "nearest neighbours on the code, %",
    "test/svm_error": "support vector machine, %",
    "test/spread_error": "few labels spread over near codes, %",
}


def refuse_misspelt(objective: str) -> None:
    """Raise ``UserError`` for an ``objective`` that is nearly the name of a figure of the test: it is missed at once.

    Any other name may be a figure of somebody's own evaluator, and is looked for when the run is tested.
    """
    for name in map(str.strip, objective.split(",")):
        if name in LINES or not name.startswith("test/"):
            continue
        known = [line.removeprefix("test/") for line in LINES]
        for close in difflib.get_close_matches(name.removeprefix("test/"), known, n=1, cutoff=NEARLY):
            raise UserError(f"objective: no run is tested for {name}; did you mean test/{close}?")


def print_run(folder: Path, metrics: dict[str, float], timing: dict[str, float], look: str) -> None:
    """A table of the figures that matter, the folder, and the command ``look`` that shows the run."""
    if not log.shown():
        return
    table = table_of(metrics)
    table.add_row("training, seconds", f"{timing['train_seconds']:.1f}", "[dim]timing.json")
    table.add_row("images per second", f"{timing['images_per_second']:,.0f}", "[dim]timing.json")
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"\nrun folder  {log.place(folder)}\nlook        {look}", highlight=False, markup=False)


def show(metrics: dict[str, float]) -> None:
    """Print the figures that have words."""
    Console(soft_wrap=True).print(table_of(metrics))


def table_of(metrics: dict[str, float]) -> Table:
    """One line for each of the ``metrics`` that has words."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))  # fits 80 columns whole
    table.add_column()
    table.add_column(no_wrap=True)  # a narrower screen wraps words, never a figure
    for name, words in LINES.items():
        if name in metrics:
            table.add_row(words, f"{metrics[name]:.4g}", f"[dim]{name}")
    return table


def say(*words: str) -> None:
    """One line of what is going on."""
    log.say(" ".join(words))


def print_chain(folder: Path, done: dict, main: str, metrics: dict[str, float], look: str) -> None:
    """What each stage came to, which were found, and the last one beside its baselines."""
    if not log.shown():
        return
    columns = {"test/squared_error": "squared error", "val/free_energy_gap": "free-energy gap"}
    columns |= {"test/class_error": "class error, %"}
    columns = {f: title for f, title in columns.items() if any(f in stage.metrics for stage in done.values())}
    table = Table(box=None, padding=(0, 2))
    for title in ("stage", "", "seconds", *columns.values()):
        table.add_column(title, justify="left" if title in ("stage", "") else "right")
    for name, stage in done.items():
        cells = [f"{stage.metrics[f]:.4g}" if f in stage.metrics else "" for f in columns]
        table.add_row(name, "found" if stage.found else "ran", f"{stage.timing['train_seconds']:.1f}", *cells)
    console = Console(soft_wrap=True)
    console.print(table)
    print_run(folder, metrics, done[main].timing, look)
    console.print(f"stages      {log.place(folder / 'stages')}", highlight=False, markup=False)


def print_forecasts(forecasts: list, job: str = "") -> None:
    """Of each stage what would be done, where, and why it is not there; under the ``job`` of a sweep that it is of."""
    if job:
        print(job)
    name, what = (max(len(getattr(f, part)) for f in forecasts) for part in ("name", "what"))
    for f in forecasts:
        print(f"{'  ' if job else ''}{f.name:{name}}  {f.what:{what}}  {log.place(f.place)}")
        if f.why:
            indent = " " * 4
            print(
                textwrap.fill(
                    f.why, shutil.get_terminal_size().columns, initial_indent=indent, subsequent_indent=indent
                )
            )


def print_stages(store: Path, entries: list) -> None:
    """The store: each stage's name, whole so that it can be pasted, state, error, size, age, users, and what it is."""
    whole = 75 + max((len(e.name) + len(e.what) for e in entries), default=0)
    screen = Console(highlight=False)
    narrow = screen.is_terminal and screen.width < whole
    table = Table(box=None, padding=(0, 2, 0, 0))
    columns = ("stage", "state", "error", "MB", "age", "used by", "what it is")
    for column in ("stage", "error", "MB", "age") if narrow else columns:
        table.add_column(column, justify="right" if column in ("MB", "age") else "left", no_wrap=True)
    for e in entries:
        size, age, used = f"{e.n_bytes / 1e6:.1f}", ago(e.age), users(e.used_by)
        if narrow:  # what it is stands below, in the width of the names
            table.add_row(e.name, e.error or e.state, size, age)
        else:
            table.add_row(e.name, e.state, e.error, size, age, used, e.what)
    if narrow:
        lines = [line.rstrip() for line in rendered(table, whole)]
        screen.print(lines[0], style="bold", soft_wrap=True)
        for line, e in zip(lines[1:], entries):
            about = ", ".join(filter(None, (e.what, e.used_by and f"under {users(e.used_by)}")))
            screen.print(line, f"  [dim]{about}", sep="\n", soft_wrap=True)
    else:
        Console(width=max(80, whole), highlight=False).print(table)
    total = sum(e.n_bytes for e in entries) / 1e6
    say(f"\n{len(entries)} stages, {total:.1f} MB in {store}; delete=[NAME,…] frees it")


def rendered(table: Table, width: int) -> list[str]:
    """The lines of a table, without colours."""
    plain = Console(width=width, color_system=None, file=io.StringIO())
    with plain.capture() as said:
        plain.print(table)
    return said.get().splitlines()


def users(names: tuple[str, ...]) -> str:
    """Of a stage: how many others stand on it."""
    return "" if not names else f"{len(names)} stage{'s' * (len(names) > 1)}"


def ago(seconds: float) -> str:
    """A length of time in the largest unit that it has one of."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
