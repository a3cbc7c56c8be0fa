"""What a photo file shows: the kinds of files that are read, and their pixels as RGB.

Whatever a file's mode, the same picture becomes the same RGB:

- Grey, palette, RGB, CMYK, YCbCr and LAB as Pillow converts them; of 16-bit colours, the upper 8.
- Grey of 12 or 16 bits is scaled to 8, rounded down.
- Transparency of any kind (an alpha channel, a palette's, one clear colour) is laid on white.
- Of several frames or pages, the first.
- Floats, integers of 32 bits and numbers with a sign are refused: such a file does not tell which
  of its numbers is white, and a guess would be another picture. So is one clear colour of 16 bits.
"""

import stat
import struct
import threading
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, TiffTags, UnidentifiedImageError

from capjax.data.quiet_pillow import Quiet

# Others that Pillow opens are no photos that people caption, and their decoders take damage badly.
KINDS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
}
ENDINGS = frozenset(ending for endings in KINDS.values() for ending in endings)
LARGE = 2**24  # pixels; larger photos are decoded one at a time, so that threads fit the memory

_ORIENTATIONS = {  # EXIF's -> how the photo is turned upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ONE_LARGE = threading.Lock()
_TAGS = {tag.name: number for number, tag in TiffTags.TAGS_V2.items()}
_GREYS = {"L;2": 85, "L;4": 17}  # a PNG's few greys -> the step from one to the next in 8 bits


class Unreadable(Exception):
    """Why a file shows no picture, and the mend, as the end of a sentence."""


def starts_like_a_photo(path: Path) -> bool:
    """Whether a file's first bytes are those of a kind that is read."""
    try:
        with Quiet(), _regular(path) as file, _opened(file):
            return True
    except Exception:
        return False


def squashed(path: str | Path, size: int) -> np.ndarray:
    """The photo in a file, upright by its EXIF orientation: uint8 [size, size, 3].

    Raises Unreadable, or FileNotFoundError where nothing is there. A file whose damage its format
    shows is refused, not shown in part.
    """
    with Quiet() as complaints, _regular(path) as file:
        try:
            with _opened(file) as photo:
                if photo.format == "PNG":
                    _check_png(photo, file)
                # JPEGs can be decoded at a fraction of their size; twice ours leaves the resize
                # exact enough and spares most of the time of a large photo.
                photo.draft(None, (2 * size, 2 * size))
                with _ONE_LARGE if photo.width * photo.height > LARGE else nullcontext():
                    photo.load()
                    if complaints:
                        raise OSError(complaints[0])
                    turn = _ORIENTATIONS.get(_orientation(photo))
                    shown = rgb(photo)
                    shown = shown if turn is None else shown.transpose(turn)
                    if shown.size != (size, size):
                        shown = shown.resize((size, size), Image.Resampling.BICUBIC)
                    return np.array(shown)
        except Unreadable:
            raise
        except UnidentifiedImageError as error:
            raise Unreadable(
                f"cannot be read: it is damaged or none of {', '.join(KINDS)}; fetch it again, "
                "save it as one of them, or take it out"
            ) from error
        except Image.DecompressionBombError as error:
            raise Unreadable(
                f"is too large or damaged, with over {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels "
                "by its header: scale it down, fetch it again, or take it out"
            ) from error
        # Damage makes Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and
        # more; whichever it is, the file is at fault.
        except Exception as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise Unreadable(f"cannot be read: fetch it again, or take it out ({why})") from error


def proportions(path: str | Path) -> float:
    """Width over height of the photo in a file, upright; raises as `squashed`, which reads it."""
    with Quiet(), _regular(path) as file, _opened(file) as photo:
        wide = photo.width / photo.height
        return 1 / wide if _orientation(photo) >= 5 else wide


def rgb(photo: Image.Image) -> Image.Image:
    """A Pillow image of any mode as RGB, transparent parts white; see the top of this file.

    Raises Unreadable where the file does not tell how bright its numbers are.
    """
    tags = getattr(photo, "tag_v2", {})  # a TIFF's
    signed = 2 in tags.get(_TAGS["SampleFormat"], ())
    # Pillow has an I for the 16 bits of a PGM, too, scaled to all 16.
    if photo.mode == "F" or (photo.mode == "I" and photo.format != "PPM") or signed:
        kind = "floats" if photo.mode == "F" else "integers of 32 bits, or with a sign"
        raise Unreadable(
            f"cannot be read: its pixels are {kind}, and which number is white it does not tell; "
            "save it with 8 or 16 bits a channel"
        )
    if photo.mode.startswith("I"):  # Pillow would clip 16 bits at 255, not scale them
        peak = 2 ** tags.get(_TAGS["BitsPerSample"], (16,))[0] - 1
        negative = tags.get(_TAGS["PhotometricInterpretation"]) == 0
        clear = photo.info.get("transparency")
        return _in_strips(photo, lambda strip: _shallow(strip, peak, negative, clear))
    if photo.has_transparency_data:
        return _in_strips(photo, _on_white)
    return photo if photo.mode == "RGB" else photo.convert("RGB")


def _in_strips(
    photo: Image.Image, convert: Callable[[Image.Image], Image.Image], rows: int = 2**20
) -> Image.Image:
    """What `convert` makes of a photo, some rows at a time: its copies take little memory."""
    width, height = photo.size
    rows = max(1, rows // width)
    if rows >= height:
        return convert(photo)
    whole = Image.new("RGB", photo.size)
    for top in range(0, height, rows):
        whole.paste(convert(photo.crop((0, top, width, min(top + rows, height)))), (0, top))
    return whole


def _shallow(photo: Image.Image, peak: int, negative: bool, clear: int | None) -> Image.Image:
    """Grey of 0 to `peak` as RGB."""
    deep = np.asarray(photo).astype(np.int64)
    grey = np.clip(deep, 0, peak) * 255 // peak
    grey = np.where(deep == clear, 255, 255 - grey if negative else grey)
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _on_white(photo: Image.Image) -> Image.Image:
    photo = (photo.convert("LA") if photo.mode == "La" else photo).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo).convert("RGB")


def _orientation(photo: Image.Image) -> int:
    """1 to 8; EXIF that cannot be read turns nothing: the pixels are as sound as without it."""
    try:
        orientation = photo.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # as many kinds as EXIF has ways to be damaged
        return 1
    return orientation if isinstance(orientation, int) else 1


def _check_png(photo: Image.Image, file: BinaryIO) -> None:
    """What Pillow does not see to in a PNG, before it is loaded.

    Its one clear colour is brought to the 8 bits that its pixels get. Raises Unreadable where that
    cannot be, or where its pixels are not those that were written.
    """
    _, extents, _, raw = photo.tile[0]  # type: ignore[attr-defined]
    if extents != (0, 0, *photo.size):
        raise Unreadable("cannot be read: fetch it again, or take it out (a frame of another size)")
    clear = photo.info.get("transparency")
    if clear is not None and raw in _GREYS:
        photo.info["transparency"] = (clear & 255 // _GREYS[raw]) * _GREYS[raw]
    if clear is not None and raw == "RGB;16B":  # several of its colours become that one
        raise Unreadable(
            "cannot be read: one colour of 16 bits is transparent; save it with 8 bits a channel, "
            "or with an alpha channel"
        )
    at = file.tell()
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind != b"IDAT":
            file.seek(length + 4, 1)
            continue
        total = zlib.crc32(kind)
        while length and (part := file.read(min(length, 2**20))):
            total, length = zlib.crc32(part, total), length - len(part)
        if file.read(4) != struct.pack(">I", total):
            raise Unreadable("cannot be read: fetch it again, or take it out (a wrong checksum)")
    file.seek(at)


def _opened(file: BinaryIO) -> Image.Image:
    Image.init()
    # Of older or smaller builds of Pillow some kinds are missing.
    return Image.open(file, formats=[kind for kind in KINDS if kind in Image.OPEN])


def _regular(path: str | Path) -> BinaryIO:
    """A file, opened; what would wait, as a pipe does, is refused."""
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no file"
            raise Unreadable(f"cannot be read: it is {kind}; give a file, or take it out")
        if not status.st_size:
            raise Unreadable("is empty: fetch it again, or take it out")
        return open(path, "rb")
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: no name of a file
        why = getattr(error, "strerror", None) or error
        raise Unreadable(f"cannot be read: {why}; change that, or take it out") from error
