"""Folders of images: sizes, colours, labels by folder, the cache that is believed only when whole, and what is none."""

import functools

import numpy as np
import pytest
import torch
from helpers import composed
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from aelab.config.build import build
from aelab.data import images
from aelab.data.images import ImageData
from aelab.data.own import fingerprint
from aelab.data.schemas import of_plain
from aelab.errors import UserError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 10, 8, 3), dtype=np.uint8)


@functools.cache
def defaults() -> DictConfig:
    return composed("data=images", "data.path=given below").data


@pytest.fixture
def folder(tmp_path):
    """Twelve colour images of 10 × 8 in two sub-folders, as PNG and TIFF."""
    for i, pixels in enumerate(PIXELS):
        place = tmp_path / "set" / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i:02}.{'PNG' if i < 6 else 'tif'}")
    return tmp_path / "set"


def data(path, *overrides: str) -> ImageData:
    said = OmegaConf.from_dotlist([f"data.path={path}", f"data.cache={path.parent / 'cache'}", *overrides]).data
    return build(OmegaConf.merge(defaults(), said), "data", seed=0, batch_size=4, below=[])


def everything(made: ImageData) -> torch.Tensor:
    return torch.cat([split.x for split in (made.train, made.val, made.test)])


def test_colours_and_labels(folder):
    made = data(folder, "data.colour=true", "data.validation=2")
    assert made.pixel_shape == (3, 10, 8) and made.unit_interval and made.schema.labels == ["a", "b"]
    rows = {tuple(row) for row in everything(made).tolist()}
    expected = torch.from_numpy(np.moveaxis(PIXELS, -1, 1).reshape(12, -1).astype(np.float32) / 255)
    assert rows == {tuple(row) for row in expected.tolist()}
    for split in (made.train, made.val, made.test):
        places = [int((expected == row).all(1).nonzero()) for row in split.x]
        assert split.y.tolist() == [place % 2 for place in places]
    schema = of_plain(made.schema.plain())
    np.testing.assert_allclose(schema.decode(schema.encode(PIXELS, "x").x.numpy()), PIXELS, atol=1e-3)


def test_grey_levels_of_one_size(folder):
    made = data(folder, "data.size=5", "data.validation=2", "data.label=null")
    assert made.pixel_shape == (5, 5) and made.train.y is None and made.n_classes is None
    assert data(folder, "data.size=[5,4]", "data.validation=2").pixel_shape == (5, 4)


def test_a_centred_piece_is_not_stretched(tmp_path):
    wide = np.zeros((4, 12), np.uint8)
    wide[:, 4:8] = 255
    (tmp_path / "set").mkdir()
    for i in range(6):
        Image.fromarray(wide).save(tmp_path / "set" / f"{i}.png")
    whole, piece = (everything(data(tmp_path / "set", "data.size=4", f"data.crop={crop}", "data.validation=1"))
                    for crop in ("none", "centre"))  # fmt: skip
    assert float(piece.min()) == 1.0 and float(whole.min()) < 0.1


def test_sixteen_bits_keep_their_depth(tmp_path):
    (tmp_path / "set").mkdir()
    deep = RNG.integers(0, 65536, (6, 5, 4), dtype=np.uint16)
    for i, pixels in enumerate(deep):
        Image.fromarray(pixels).save(tmp_path / "set" / f"{i}.png")
    made = data(tmp_path / "set", "data.validation=1")
    assert {tuple(row) for row in everything(made).tolist()} == {
        tuple(row) for row in torch.from_numpy(deep.reshape(6, -1) / np.float32(65535)).tolist()}  # fmt: skip


def test_parts_by_folder(folder):
    copies = folder.parent / "copies"
    for part in ("train", "test"):
        for kind in "ab":
            (copies / part / kind).mkdir(parents=True)
            for file in sorted((folder / kind).glob("*.*"))[: 4 if part == "train" else 2]:
                (copies / part / kind / file.name).write_bytes(file.read_bytes())
    made = data(copies, "data.split_column=folder", "data.validation=2")
    assert len(made.test.x) == 4 and made.test.y.tolist() == [0, 0, 1, 1] and len(made.train.x) == 6
    apart = data(copies / "train", f"data.test_path={copies / 'test'}", "data.validation=2")
    assert torch.equal(apart.test.x, made.test.x) and apart.test.y.tolist() == [0, 0, 1, 1]


def test_what_other_programs_hide_is_no_image_and_no_change(folder):
    """Thumbnails and copies in hidden folders; macOS's ._ files, which are no images."""
    before, key = everything(data(folder, "data.validation=2")), fingerprint({"path": str(folder)})
    for hidden in (folder / ".ipynb_checkpoints", folder / "a" / ".thumbs" / "small"):
        hidden.mkdir(parents=True)
        Image.fromarray(PIXELS[0] // 2).save(hidden / "00.png")
    (folder / "a" / "._00.png").write_bytes(b"resource fork")
    (folder / ".DS_Store").write_bytes(b"finder")
    assert torch.equal(everything(data(folder, "data.validation=2")), before)
    assert fingerprint({"path": str(folder)}) == key


def test_images_are_decoded_once_and_a_damaged_cache_is_noticed(folder, monkeypatch):
    first = everything(data(folder, "data.validation=2"))
    calls = []
    monkeypatch.setattr(images, "read_image", lambda *a, real=images.read_image: calls.append(a) or real(*a))
    assert torch.equal(everything(data(folder, "data.validation=2")), first) and not calls
    place = next((folder.parent / "cache" / "images").glob("*.npy"))
    raw = bytearray(place.read_bytes())
    raw[-7] ^= 1
    place.write_bytes(raw)
    assert torch.equal(everything(data(folder, "data.validation=2")), first) and calls
    calls.clear()
    Image.fromarray(PIXELS[0] // 2).save(folder / "a" / "00.PNG")
    assert not torch.equal(everything(data(folder, "data.validation=2")), first) and calls


# --- what is refused, and how it is said ----------------------------------------------------------------------------


def spoil(how: str, folder) -> None:
    match how:
        case "no image":
            (folder / "a" / "zz.png").write_bytes(b"<html>not found</html>")
        case "cut":
            raw = (folder / "a" / "00.PNG").read_bytes()
            (folder / "a" / "zz.png").write_bytes(raw[: len(raw) // 2])
        case "another size":
            Image.fromarray(PIXELS[0, :9]).save(folder / "a" / "zz.png")
        case "several in one":
            frames = [Image.fromarray(p) for p in PIXELS[:3]]
            frames[0].save(folder / "a" / "zz.tif", save_all=True, append_images=frames[1:])
        case "a bomb":
            Image.new("L", (20_000, 10_000)).save(folder / "a" / "zz.png")
        case "outside of every folder":
            Image.fromarray(PIXELS[0]).save(folder / "zz.png")


@pytest.mark.parametrize(
    ("how", "key", "said"),
    [("no image", "path", "damaged or no image"), ("cut", "path", "damaged or no image"),
     ("another size", "size", r"zz\.png has 9 × 8 pixels, 00\.PNG 10 × 8"),
     ("several in one", "path", "holds 3 images"),
     ("a bomb", "path", "too large"), ("outside of every folder", "label", "zz.png lies in no sub-folder")],
)  # fmt: skip
def test_images_that_are_none(how, key, said, folder):
    spoil(how, folder)
    with pytest.raises(UserError, match=rf"^data\.{key}: .*{said}") as error:
        data(folder)
    assert "\n" not in str(error.value)
    assert not list((folder.parent / "cache").rglob("*.part")), "nothing half-written"


def test_folders_that_hold_none(tmp_path):
    (tmp_path / "empty").mkdir()
    for path, said in (("empty", "holds no image"), ("nowhere", "does not exist")):
        with pytest.raises(UserError, match=rf"^data\.path: .*{said}"):
            data(tmp_path / path)
    with pytest.raises(UserError, match=r"^data\.size: "):
        data(tmp_path / "empty", "data.size=[1,2,3]")
