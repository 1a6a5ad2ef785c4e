"""What a run prints at its end."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from aelab import run_folder, watch

LINES = {  # metric → what a person reads
    "test/squared_error": "squared error of a test image",
    "test/pca_squared_error": "the same, PCA with as many code units",
    "test/principal_angle": "largest angle to PCA's subspace, radians",
    "test/psnr": "PSNR, dB",
    "test/class_error": "classification error, %",
    "test/probe_error": "linear classifier on the code, errors in %",
    "test/knn_error": "nearest neighbours on the code, errors in %",
}


def print_run(folder: Path, metrics: dict[str, float]) -> None:
    """A table of the figures that matter, the folder, and how to look at it."""
    timing = run_folder.read_json(folder / "timing.json")
    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, words in LINES.items():
        if name in metrics:
            table.add_row(words, f"{metrics[name]:.4g}", f"[dim]{name}")
    table.add_row("training, seconds", f"{timing['train_seconds']:.1f}", "[dim]timing.json")
    table.add_row("images a second", f"{timing['images_per_second']:,.0f}", "[dim]timing.json")
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"\nrun folder  {folder}\nlook        {watch.how_to_look(folder)}", highlight=False)
