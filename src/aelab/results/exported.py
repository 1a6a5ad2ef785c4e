"""A model for other programs: encoder, decoder and both as ONNX, which onnxruntime has checked, and safetensors."""

import io
import json
import logging
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aelab.errors import UserError
from aelab.models.applied import Applied
from aelab.models.portable import Decoder, Encoder, Whole

TOLERANCE = 1e-5  # of what onnxruntime computes against the model, in units of the largest value, or of 1
CHECKED = (1, 7)  # rows of a batch: none may be fixed in the file


def export(applied: Applied, folder: Path) -> dict[str, float]:
    """Fill ``folder``; file → largest difference. Raises ``UserError`` for one that is not what the model computes."""
    require_packages()
    from safetensors.torch import save

    rows = example(applied, max(CHECKED))
    with torch.no_grad():
        codes = Encoder(applied)(rows)
    parts: dict[str, tuple[nn.Module, Tensor]] = {"encoder.onnx": (Encoder(applied), rows)}
    if applied.model.reconstructs:
        parts |= {"decoder.onnx": (Decoder(applied), codes), "autoencoder.onnx": (Whole(applied), rows)}
    found = {}
    for name, (module, given) in parts.items():
        write_onnx(module.eval(), given, folder / name)
        found[name] = largest_difference(module, given, folder / name)
        if not found[name] <= TOLERANCE:
            raise UserError(f"out: {name} differs by {found[name]:.2g} from the model, more than {TOLERANCE:g}")
    tensors = {name: value.contiguous().clone() for name, value in applied.model.state_dict().items()}
    for number, layer in enumerate(applied.model.below):
        named = {f"below.{number}.{name}": value for name, value in layer._asdict().items()}
        tensors |= {name: value.contiguous().clone() for name, value in named.items() if isinstance(value, Tensor)}
    schema = json.dumps(applied.schema.plain())
    (folder / "weights.safetensors").write_bytes(save(tensors, {"schema": schema}))
    (folder / "schema.json").write_text(schema + "\n")
    return found


def require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
        import safetensors  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"task: export needs {error.name}, which is not installed; pip install 'aelab[export]'"
        ) from error


def example(applied: Applied, n: int) -> Tensor:
    """``n`` made-up rows in the data's own units, such as the model could meet."""
    draw = torch.Generator().manual_seed(0)
    shape = n, applied.schema.n_input
    unit = applied.schema.unit_interval
    x = torch.rand(shape, generator=draw) if unit else torch.randn(shape, generator=draw)
    start = x.shape[1] - sum(applied.schema.categories)
    for size in applied.schema.categories:
        chosen = torch.randint(size, (n,), generator=draw)
        x[:, start : start + size] = torch.eye(size)[chosen]
        start += size
    return Decoder(applied).units.outward(x)


def write_onnx(module: nn.Module, given: Tensor, path: Path) -> None:
    """``module`` for any number of rows."""
    names = (
        ("codes" if isinstance(module, Decoder) else "rows"),
        ("codes" if isinstance(module, Encoder) else "rows_out"),
    )
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        for chatty in ("onnxscript", "onnx_ir", "torch.onnx"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
        torch.onnx.export(
            module, (given,), str(path), input_names=[names[0]], output_names=[names[1]], dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("n", min=1)},), external_data=False, verbose=False,
        )  # fmt: skip


def largest_difference(module: nn.Module, given: Tensor, path: Path) -> float:
    """Of what onnxruntime computes from the file, in units of the largest value, or of 1."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = 0.0
    for n in CHECKED:
        with torch.no_grad():
            expected: Any = module(given[:n]).numpy()
        got = session.run(None, {session.get_inputs()[0].name: given[:n].numpy()})[0]
        if got.shape != expected.shape:
            return float("inf")
        found = max(found, float(np.abs(got - expected).max() / max(1.0, float(np.abs(expected).max()))))
    return found
