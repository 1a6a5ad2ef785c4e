"""MNIST and Fashion-MNIST: 60,000 + 10,000 images of 28 x 28 grey levels in ten classes, from their IDX files."""

import numpy as np

from aelab.data.arrays import Arrays, check, from_numpy
from aelab.data.download import find
from aelab.data.idx import read_idx
from aelab.errors import UserError

FILES = {
    "train_x": "train-images-idx3-ubyte.gz",
    "train_y": "train-labels-idx1-ubyte.gz",
    "test_x": "t10k-images-idx3-ubyte.gz",
    "test_y": "t10k-labels-idx1-ubyte.gz",
}
MNIST_MIRRORS = [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
]
MNIST_MD5 = {
    "train_x": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train_y": "d53e105ee54ea40749a09fcbcd1e9432",
    "test_x": "9fb629c4189551a2d022fa330f9573f3",
    "test_y": "ec29112dd5afa0611ce80d1b7f02629c",
}
FASHION_MIRRORS = [
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
]
FASHION_MD5 = {
    "train_x": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train_y": "25c81989df183df01b3e8a0aad5dffbe",
    "test_x": "bef4ecab320f06d8554ea6380940ec79",
    "test_y": "bb300cfdad3c16e7a12a480ee83cd310",
}


def mnist(root: str | None, cache: str, download: bool) -> Arrays:
    """Handwritten digits, grey levels k/255 (LeCun, Bottou, Bengio & Haffner 1998), from ``root``/mnist/.

    Files not there are looked for in ``cache``/mnist/ and, if ``download``, fetched into it once.
    """
    return _idx_set("mnist", root, cache, download, MNIST_MIRRORS, MNIST_MD5)


def fashion_mnist(root: str | None, cache: str, download: bool) -> Arrays:
    """Articles of clothing, grey levels k/255 (Xiao, Rasul & Vollgraf 2017), from ``root``/fashion_mnist/.

    Files not there are looked for in ``cache``/fashion_mnist/ and, if ``download``, fetched into it once.
    """
    return _idx_set("fashion_mnist", root, cache, download, FASHION_MIRRORS, FASHION_MD5)


def _idx_set(folder: str, root, cache, download, mirrors: list[str], md5: dict[str, str]) -> Arrays:
    read = {}
    for part, name in FILES.items():
        urls = [mirror + name for mirror in mirrors]
        path = find(f"{folder}/{name}", root, cache, download, urls, f"md5:{md5[part]}")
        read[part] = read_idx(path, dimensions=3 if part.endswith("x") else 1)
        if read[part].dtype != np.uint8:
            raise UserError(
                f"data.root: {path} holds {read[part].dtype.name} values, not bytes; give the original file"
            )
    shape = read["train_x"].shape[1:]
    if read["test_x"].shape[1:] != shape:
        raise UserError(
            f"data.root: {folder} has training images of {shape}, test images of {read['test_x'].shape[1:]}"
        )
    # Divided in float32: no double-precision copy of the set (376 MB) is ever made.
    train_x, test_x = (np.divide(read[part], 255, dtype=np.float32) for part in ("train_x", "test_x"))
    return check(from_numpy(train_x, read["train_y"], test_x, read["test_y"], shape, unit_interval=True), "data.root")
