"""Which way a metric is good: of most, smaller is better; of these, greater."""

from typing import Literal

Mode = Literal["min", "max"]
GREATER = (  # the last word of the name, or its end after an underscore
    "elbo", "log_likelihood", "log_likelihood_lower", "log_likelihood_upper", "bound", "bound_lower", "bound_upper",
    "raise", "psnr", "psnr_gained", "ssim", "accuracy", "auroc", "average_precision", "r2", "recall",
    "precision", "f1",
)  # fmt: skip


def mode_of(metric: str, asked: Literal["auto", "min", "max"] = "auto") -> Mode:
    """``asked``, or by its name: val/elbo, val/pseudo_log_likelihood and test/psnr grow as a model gets better."""
    if asked != "auto":
        return asked
    word = metric.rpartition("/")[2]
    return "max" if any(word == name or word.endswith(f"_{name}") for name in GREATER) else "min"
