"""What a run prints at its end."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

LINES = {  # metric → what a person reads
    "test/squared_error": "squared error of a test image",
    "test/pca_squared_error": "the same, PCA with as many code units",
    "test/logistic_pca_squared_error": "the same, logistic PCA",
    "test/scratch_squared_error": "the same, the net not pretrained",
    "test/principal_angle": "largest angle to PCA's subspace, rad",
    "test/psnr": "PSNR, dB",
    "test/denoised_squared_error": "squared error, restored",
    "test/psnr_gained": "PSNR gained by restoring, dB",
    "test/nll": "−log p(x) of a test image, nats",
    "test/elbo": "its lower bound on log p(x)",
    "test/kl": "KL(q ‖ p) in it, nats",
    "test/active_units": "latent units in use",
    "test/l0": "active code units an image",
    "test/dead_fraction": "code units never active",
    "test/fvu": "fraction of variance unexplained",
    "test/class_error": "classification error, %",
    "test/probe_error": "linear classifier on the code, %",
    "test/knn_error": "nearest neighbours on the code, %",
}


def print_run(folder: Path, metrics: dict[str, float], timing: dict[str, float], look: str) -> None:
    """A table of the figures that matter, the folder, and the command ``look`` that shows the run."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))  # fits 80 columns whole
    table.add_column(no_wrap=True)
    for name, words in LINES.items():
        if name in metrics:
            table.add_row(words, f"{metrics[name]:.4g}", f"[dim]{name}")
    table.add_row("training, seconds", f"{timing['train_seconds']:.1f}", "[dim]timing.json")
    table.add_row("images a second", f"{timing['images_per_second']:,.0f}", "[dim]timing.json")
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"\nrun folder  {folder}\nlook        {look}", highlight=False)


def say(*words: str) -> None:
    """One line of what is going on."""
    Console(soft_wrap=True).print(*words, highlight=False, markup=False)


def print_chain(folder: Path, done: dict, main: str, metrics: dict[str, float], look: str) -> None:
    """What each stage came to, which were found, and the last one beside its baselines."""
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
    console.print(f"stages      {folder / 'stages'}", highlight=False)


def print_stages(store: Path, entries: list) -> None:
    """The store: name, state, size and command of each stage."""
    table = Table(box=None, padding=(0, 2))
    for column in ("stage", "state", "data", "MB", "command"):
        table.add_column(column, justify="right" if column == "MB" else "left", no_wrap=True, overflow="ellipsis")
    for e in entries:
        table.add_row(e.name, e.state, e.data, f"{e.n_bytes / 1e6:.1f}", e.command)
    console = Console(soft_wrap=True)
    console.print(table)
    total = sum(e.n_bytes for e in entries) / 1e6
    console.print(f"\n{len(entries)} stages, {total:.1f} MB in {store}; delete=[NAME,…] frees it", markup=False)
