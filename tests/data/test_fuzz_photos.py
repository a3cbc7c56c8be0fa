"""Damaged photos by the hundred: each is read, the same everywhere, or refused in one sentence."""

import io
import resource
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from capjax import caption
from capjax.data.features import read_photo
from capjax.data.photo_files import PhotoFiles, check_images
from capjax.data.split import Split
from capjax.errors import InputError
from capjax.run.trained import open_run

ENDINGS = (".jpg", ".png", ".webp", ".avif", ".gif", ".tif", ".bmp", "")
SIZES = (0, 1, 255, 13_000, 16_383, 60_000, 0xFFFF, 0x10000, 2**31 - 1, 2**32 - 1)
# What wheels of older Pillows bring: a libtiff that makes up what a damaged fax lacks and says
# nothing, and an AV1 decoder that talks to the terminal. Neither is ours to mend.
OLD = int(PIL.__version__.split(".")[0]) < 13
SECONDS, MEGABYTES = 20, 1500  # for one photo; for all, beyond what was there before


def sound_photos() -> list[bytes]:
    """One of every format, and of every way to pack pixels that is its own code in Pillow."""
    y, x = np.mgrid[:48, :64]
    pixels = np.stack([x * 4, y * 5, x * y, 255 - x], -1).astype(np.uint8)
    colour, clear = Image.fromarray(pixels[..., :3]), Image.fromarray(pixels)
    grey, deep = colour.convert("L"), Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    Image.init()

    def several(**more) -> dict:
        # What one way to save leaves in an image is not the next's, which would stumble over it.
        return {"save_all": True, "append_images": [colour.rotate(9)], **more}

    kinds: list[tuple[Image.Image, str, dict]] = [
        (colour, "JPEG", {"exif": exif}),
        (grey, "JPEG", {"progressive": True}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour, "MPO", several()),
        (colour, "PNG", several()),
        (clear, "PNG", {"exif": exif}),
        (colour.convert("P"), "PNG", {"transparency": 3}),
        (deep, "PNG", {}),
        (colour, "WEBP", {"exif": exif}),
        (clear, "WEBP", {"lossless": True}),
        (colour, "WEBP", several()),
        (colour, "GIF", {}),
        (colour, "GIF", several(transparency=0)),
        (colour, "TIFF", {"exif": exif}),
        (deep, "TIFF", {}),
        (colour, "TIFF", several()),
        (colour, "BMP", {}),
        (colour.convert("P"), "BMP", {}),
        (colour, "PPM", {}),
        (clear, "JPEG2000", {}),
    ]
    kinds += [
        (grey.convert("1") if packing == "group4" else colour, "TIFF", {"compression": packing})
        for packing in ("tiff_adobe_deflate", "tiff_lzw", "jpeg", "packbits", "group4")
        if packing != "group4" or not OLD
    ]
    if "AVIF" in Image.SAVE:  # not in every build of Pillow
        kinds += [(colour, "AVIF", {}), (clear, "AVIF", {"exif": exif})]
    files = []
    for image, kind, options in kinds:
        file = io.BytesIO()
        image.copy().save(file, kind, **options)
        files.append(file.getvalue())
    return files


def damaged(data: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """A photo after one to three mishaps."""
    found = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        if len(found) < 40:
            break
        at = int(rng.integers(len(found)))
        run = int(rng.integers(1, 64))
        match int(rng.integers(9)):
            case 0:  # bits flip
                for i in rng.integers(0, len(found), rng.integers(1, 20)):
                    found[i] ^= 1 << rng.integers(8)
            case 1:  # it is cut
                del found[at:]
            case 2:  # bytes of the head are others
                for i in rng.integers(0, min(len(found), 300), 5):
                    found[i] = rng.integers(256)
            case 3:  # a number of the head grows
                start = int(rng.integers(min(len(found) - 4, 200)))
                order, kind = rng.choice(["<", ">"]), rng.choice(["H", "I"])
                size = int(rng.choice(SIZES)) & (0xFFFF if kind == "H" else 0xFFFFFFFF)
                struct.pack_into(f"{order}{kind}", found, start, size)
            case 4:  # a part is there twice
                found[at:at] = found[max(0, at - 40 * run) : at]
            case 5:  # a part is missing
                del found[at : at + run]
            case 6:  # a part is noise
                found[at : at + run] = rng.bytes(run)
            case 7:  # something follows
                found += rng.bytes(run)
            case _ if found.startswith(b"\x89PNG"):  # a PNG's size is another, with its checksum
                struct.pack_into(">II", found, 16, *rng.choice(SIZES, 2).tolist())
                struct.pack_into(">I", found, 29, zlib.crc32(found[12:29]))
            case _:  # another file goes on
                other = others[rng.integers(len(others))]
                found[at:] = other[int(rng.integers(len(other))) :]
    return bytes(found)


def damaged_files(count: int, seed: int, folder: Path) -> Iterator[Path]:
    rng, sound = np.random.default_rng(seed), sound_photos()
    for i in range(count):
        path = folder / f"{i}{rng.choice(ENDINGS)}"
        path.write_bytes(damaged(sound[i % len(sound)], sound, rng))
        yield path


def checked(path: Path) -> str:
    """What the check says of a photo; "" where it passes."""
    try:
        check_images(Split(("a",), (("a",),), PhotoFiles((str(path),))), progress=False)
    except InputError as error:
        (line,) = str(error).splitlines()
        assert str(path) in line
        return line
    return ""


def megabytes() -> int:
    """The most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@pytest.mark.slow
def test_damaged_photos_are_read_the_same_everywhere_or_refused(tmp_path, capfd):
    before, read = megabytes(), 0
    for path in damaged_files(1000, 0, tmp_path):
        start = time.monotonic()
        if checked(path):
            with pytest.raises(InputError, match=path.name):
                read_photo(path)
        else:
            read += 1
            pixels = read_photo(path)
            assert pixels.dtype == np.uint8
            assert pixels.shape == (224, 224, 3)
            np.testing.assert_array_equal(read_photo(path), pixels)
            assert read_photo(path, 64).shape == (64, 64, 3)
        assert time.monotonic() - start < SECONDS, path.name
    if not OLD:
        assert capfd.readouterr() == ("", "")
    assert megabytes() - before < MEGABYTES
    assert 200 < read < 800  # neither verdict is the rule


@pytest.mark.slow
def test_sound_photos_pass(tmp_path):
    """So what the others are refused for is their damage."""
    for i, data in enumerate(sound_photos()):
        (tmp_path / f"{i}.jpg").write_bytes(data)
        assert not checked(tmp_path / f"{i}.jpg")


@pytest.mark.slow
def test_damaged_photos_are_captioned_or_refused_as_the_check_does(trained, tmp_path, capsys):
    """All that are sound by one command; of the others each is refused, every twentieth by one."""
    files = list(damaged_files(1000, 1, tmp_path))
    why = {path: checked(path) for path in files}
    sound = [str(path) for path in files if not why[path]]
    flag, run = f"--workdir={trained}", open_run(trained)
    assert caption.main([flag, "--greedy", *sound]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == sound
    refused = [path for path in files if why[path]]
    for path in refused:
        with pytest.raises(InputError) as caught:
            caption.caption_photos(run, [path], run.recipe.decoding)
        assert str(caught.value) in why[path]
    for path in refused[::20]:
        assert caption.main([flag, "--greedy", str(path)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("capjax: ")
        assert err.count("\n") == 1
        assert err.removeprefix("capjax: ").strip() in why[path]
