"""Small files in the formats of the public data sets, for tests that must not need the real ones."""

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

IDX_CODES = {"uint8": 0x08, "int32": 0x0C, "float32": 0x0D}


def idx_bytes(array: np.ndarray) -> bytes:
    head = bytes([0, 0, IDX_CODES[array.dtype.name], array.ndim])
    return (
        head
        + b"".join(n.to_bytes(4, "big") for n in array.shape)
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


def write_mnist(folder: Path, n_train: int, n_test: int, packed: bool = True) -> dict[str, np.ndarray]:
    """The four files of MNIST or Fashion-MNIST in ``folder``, with random images; returns what is in them."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for part, n in (("train", n_train), ("t10k", n_test)):
        for kind, array in (
            ("images-idx3", rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)),
            ("labels-idx1", (np.arange(n) % 10).astype(np.uint8)),
        ):
            raw, name = idx_bytes(array), f"{part}-{kind}-ubyte"
            (folder / (name + ".gz" if packed else name)).write_bytes(gzip.compress(raw) if packed else raw)
            written[name] = array
    return written


def write_olivetti(folder: Path, faces: np.ndarray | None = None) -> np.ndarray:
    """olivettifaces.mat in ``folder``: 400 random photographs of 64 x 64, a column each; returns them (4096, 400)."""
    from scipy.io import savemat

    if faces is None:
        faces = np.random.default_rng(0).integers(0, 256, (64 * 64, 400), dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / "olivettifaces.mat", {"faces": faces})
    return faces


def write_own(folder: Path, n: int = 100) -> None:
    """A person's own data: a table, an array and images of one set, ratings and documents."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    words = np.array(["smith", "nurse", "clerk"])[rng.integers(0, 3, n)]
    rows = zip(rng.normal(40, 10, n), rng.normal(size=n), rng.lognormal(9, 1, n), words, rng.integers(0, 2, n))
    lines = [f"{a:.2f},{b:.3f},{c:.2f},{w},{k},{i // 5}" for i, (a, b, c, w, k) in enumerate(rows)]
    kinds = rng.integers(0, 2, (20, 1)) ^ rng.integers(0, 2, (1, 14))  # two kinds of users, two kinds of items
    given = np.clip(2 + 2 * kinds + rng.integers(-1, 2, kinds.shape), 1, 5)
    pairs = [(u, i) for u, i in np.ndindex(given.shape) if rng.random() < 0.8]
    lines_of_ratings = ["user,item,rating", *(f"u{u},film {i},{given[u, i]}" for u, i in pairs)]
    (folder / "ratings.csv").write_text("\n".join(lines_of_ratings) + "\n")
    topics = ["rain wind cloud storm sun snow", "goal team match score league coach"]
    documents = [" ".join(rng.choice(topics[i % 2].split(), 5 + i % 4)) for i in range(60)]
    lines_of_documents = ["text,label", *(f"{text},{i % 2}" for i, text in enumerate(documents))]
    (folder / "documents.csv").write_text("\n".join(lines_of_documents) + "\n")
    (folder / "table.csv").write_text("\n".join(["age,score,income,job,kind,household", *lines]) + "\n")
    pixels = rng.integers(0, 256, (n, 8, 6), dtype=np.uint8)
    np.savez(
        folder / "array.npz", x=pixels, kind=np.arange(n) % 2, other=rng.normal(size=(n, 48)), part=np.arange(n) // 5
    )
    np.savez(folder / "colours.npz", x=rng.integers(0, 256, (n, 8, 6, 3), dtype=np.uint8), kind=np.arange(n) % 2)
    np.save(folder / "volumes.npy", rng.random((n, 5, 8, 6), dtype=np.float32))
    for i, image in enumerate(pixels):
        (folder / "images" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "images" / "ab"[i % 2] / f"{i:03}.png")
