"""A folder of images of one's own: decoded once into a checked cache, sub-folders as labels."""

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aelab import files
from aelab.data.array import BLOCK
from aelab.data.augmentation import Degrees, Mirror, Zoom
from aelab.data.batches import Data
from aelab.data.own import Own, Where, files_below
from aelab.data.scaling import Scaling
from aelab.data.schema import ArraySchema
from aelab.errors import UserError
from aelab.progress import bar
from aelab.ranges import Count, Fraction, Natural, Seed, Share
from aelab.rbm.layer import Layer

log = logging.getLogger(__name__)

VERSION = 1  # of the decoding: a change of it below makes other pixels and wants another number
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # Pillow's names for 16 bits of grey
Crop = Literal["none", "centre"]


@dataclass(kw_only=True)
class ImageSchema(ArraySchema):
    """Grey levels or colours as they stand in the files, 0 … ``levels``, divided by it; ``crop`` as in the config."""

    kind = "images"
    crop: Crop
    levels: int

    @property
    def colour(self) -> bool:
        return self.last

    @property
    def size(self) -> tuple[int, int]:
        return self.shape[-2], self.shape[-1]

    def plain(self) -> dict[str, Any]:
        return super().plain() | {"crop": self.crop, "levels": self.levels}


class ImageData(Data):
    """Images of a folder; see :class:`ImageSource` for how they become inputs."""

    def __init__(
        self, path: str, name: str, cache: str, size: Count | list[Count] | None, crop: Crop, colour: bool,
        label: Literal["folder"] | None, test: Share, test_path: str | None, test_seed: Seed,
        split_column: Literal["folder"] | None, split_index: str | None, stream: str | None, validation: Share,
        train_size: Count | None, labelled: Count | None, binarize: Literal["none", "threshold", "bernoulli"],
        shift: Natural, mirror: Mirror, rotate: Degrees, zoom: Zoom, mix: Fraction, seed: int, batch_size: int,
        below: list[Layer],
    ):  # fmt: skip
        where = Where(test, test_path, test_seed, split_column, split_index, group=None, stream=stream)
        source = ImageSource(path, where, Path(cache).expanduser(), pair(size), crop, colour, label)
        super().__init__(
            source, name=name, root=None, cache=cache, download=False, validation=validation, train_size=train_size,
            labelled=labelled, binarize=binarize, shift=shift, mirror=mirror, rotate=rotate, zoom=zoom, mix=mix,
            seed=seed, batch_size=batch_size, below=below,
        )  # fmt: skip


class ImageSource(Own):
    """All images below a folder, by name. ``label``: the folder they lie in; with ``split_column``, that below it."""

    def __init__(
        self, path: str, where: Where, cache: Path, size: tuple[int, int] | None, crop: Crop, colour: bool,
        label: str | None,
    ):  # fmt: skip
        super().__init__(path, where)
        self.cache, self.crop, self.colour, self.label = cache, crop, colour, label
        self.files = image_files(self.path, self.at)
        if len(self.files) < 3 and where.test_path is None:
            raise UserError(f"{self.at} holds {len(self.files)} images, which can't be split into three sets; add some")
        self.array = decoded(self.files, self.path, cache, size, crop, colour, self.at)

    def __len__(self) -> int:
        return len(self.files)

    def folders(self, level: int) -> list[str | None]:
        """The folder of each image, ``level`` steps below the root; None for one that lies higher."""
        parts = [file.relative_to(self.path).parts[:-1] for file in self.files]
        return [part[level] if len(part) > level else None for part in parts]

    def column(self, name: str, key: str) -> np.ndarray:
        return np.array(self.folders(0), dtype=object)

    def labels(self) -> np.ndarray | None:
        if self.label is None:
            return None
        found = self.folders(0 if self.where.split_column is None else 1)
        if all(name is None for name in found):
            return None
        if None in found:
            lost = self.files[found.index(None)]
            raise UserError(
                f"data.label: {lost} lies in no sub-folder and others do; sort it in, or set data.label=null"
            )
        return np.array(found, dtype=object)

    def elsewhere(self, path: str) -> "ImageSource":
        size = (self.array.shape[1], self.array.shape[2])
        where = self.where._replace(split_column=None)
        return ImageSource(path, where, self.cache, size, self.crop, self.colour, self.label)

    def blocks(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        at_once = max(1, BLOCK // (8 * self.array[0].size))
        for start in range(0, len(rows), at_once):
            numbers = rows[start : start + at_once]
            yield numbers, np.asarray(self.array[numbers])

    def fit(self, rows: np.ndarray) -> ImageSchema:
        """Nothing is fitted: levels are levels, whatever the images."""
        height, width = self.array.shape[1:3]
        levels = int(np.iinfo(self.array.dtype).max)
        return ImageSchema(
            shape=(3, height, width) if self.colour else (height, width), last=self.colour, unit_interval=True,
            scaling=Scaling(np.zeros(()), np.asarray(float(levels))), crop=self.crop, levels=levels,
        )  # fmt: skip


def pair(size: int | list[int] | None) -> tuple[int, int] | None:
    """``data.size`` as (height, width)."""
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or min(sides) < 1:
        raise UserError(f"data.size: must be a number of pixels or [height,width], got {size}")
    return sides


def image_files(root: Path, at: str) -> list[Path]:
    """The images below ``root``, or the one that it is, in the order of their names."""
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise UserError(f"{at} does not exist; give a folder of images")
    found = files_below(root, *SUFFIXES)
    if not found:
        raise UserError(f"{at} holds no image; give a folder with .png, .jpg or .tif files")
    return found


def decoded(
    paths: list[Path], root: Path, cache: Path, size: tuple[int, int] | None, crop: Crop, colour: bool, at: str
) -> np.ndarray:
    """Images (n, height, width) or (n, height, width, 3), uint8 or uint16, on disk; decoded if they were not before.

    The cache is found by name, length and time of every file, and believed only if its digest is right.
    """
    stats = [(str(p.relative_to(root)), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
    what = json.dumps([VERSION, str(root.resolve()), stats, size, crop, colour])
    place = cache / "images" / f"{hashlib.blake2b(what.encode(), digest_size=16).hexdigest()}.npy"
    proof = place.with_suffix(".digest")
    if place.is_file() and proof.is_file():
        if proof.read_text() == digest_of(place):
            return np.load(place, mmap_mode="r", allow_pickle=False)
        log.warning("data.cache: %s is damaged; the images are decoded again", place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(place, lambda part: decode_into(part, paths, size, crop, colour, at))
        files.write_text(proof, digest_of(place))
    except OSError as error:
        raise UserError(f"data.cache: cannot write {place} ({error.strerror}); give another folder") from error
    return np.load(place, mmap_mode="r", allow_pickle=False)


def decode_into(
    place: Path, paths: list[Path], size: tuple[int, int] | None, crop: Crop, colour: bool, at: str
) -> None:
    """Write the array of all images to ``place``, one after the other: no more than one is held in memory."""
    first = read_image(paths[0], size, crop, colour)
    shape = (len(paths), *first.shape)
    array = np.lib.format.open_memmap(place, "w+", first.dtype, shape)
    for i, path in enumerate(bar(paths, "decoding images")):
        image = read_image(path, size, crop, colour)
        if image.shape != first.shape:
            raise UserError(
                f"data.size: {path.name} has {image.shape[0]} × {image.shape[1]} pixels, {paths[0].name} "
                f"{first.shape[0]} × {first.shape[1]}; give data.size=[height,width]"
            )
        if image.dtype != first.dtype:
            raise UserError(f"{at}: {path.name} has {8 * image.itemsize} bits, {paths[0].name} {8 * first.itemsize}")
        array[i] = image
    array.flush()


def read_image(path: Path, size: tuple[int, int] | None, crop: Crop, colour: bool) -> np.ndarray:
    """(height, width) or (height, width, 3), uint8, or uint16 where a grey image has 16 bits."""
    from PIL import Image, ImageOps

    at = f"data.path: {path}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                if (frames := getattr(file, "n_frames", 1)) > 1:
                    raise UserError(f"{at} holds {frames} images; save each in a file of its own")
                image: Image.Image = ImageOps.exif_transpose(file)
                deep = image.mode in DEEP
                if image.mode == "F" or (deep and colour):
                    raise UserError(f"{at} holds {image.mode} values, not 8 bits of grey or colour; take data=array")
                image = image.convert("F" if deep else "RGB" if colour else "L")
                if size is not None and (image.height, image.width) != size:
                    image = fitted(image, size, crop)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(
            f"{at} is too large to be an image that is meant ({str(error)[:80]}); make it smaller"
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises for a file that is none
        reason = "no image" if isinstance(error, Image.UnidentifiedImageError) else str(error)[:80]
        raise UserError(f"{at} is damaged or no image ({reason}); mend it, or take it out") from error
    pixels = np.asarray(image)
    return pixels.round().clip(0, 65535).astype(np.uint16) if deep else pixels


def fitted(image: Any, size: tuple[int, int], crop: Crop) -> Any:
    """``image`` in ``size`` (height, width): all of it, or of the largest centred piece of the same proportions."""
    from PIL import Image, ImageOps

    height, width = size
    if crop == "centre":
        return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
