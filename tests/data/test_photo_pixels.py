"""A picture has the same pixels in whatever mode and format it was saved, or is refused."""

import io
import struct
import threading
import warnings
import zlib

import numpy as np
import PIL
import pytest
from PIL import Image, ImageCms

from capjax.data.features import read_photo
from capjax.data.photo_files import PhotoFiles, check_images
from capjax.data.photo_pixels import ENDINGS, KINDS, rgb
from capjax.data.split import Split
from capjax.errors import InputError

SIDE = 8
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (SIDE, SIDE), np.uint8)
COLOUR = RNG.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
ALPHA = RNG.integers(0, 256, (SIDE, SIDE), np.uint8)
HOLE = GREY[3, 3] == GREY  # what one clear colour makes a hole of
ONE_HOLE = (COLOUR[3, 3] == COLOUR).all(-1)


def grey_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, -1)


def on_white(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The oracle: a picture over white, rounded."""
    share = alpha[..., None] / 255
    return np.rint(picture * share + 255 * (1 - share)).astype(np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(bits: int, kind: int, numbers: np.ndarray, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG of numbers [SIDE, SIDE] or [SIDE, SIDE, channels], written by the specification."""
    if bits == 16:
        rows = [row.astype(">u2").tobytes() for row in numbers]
    else:  # the bits of all numbers of a row, packed
        spread = (numbers[..., None] >> np.arange(bits)[::-1]) & 1
        rows = [np.packbits(row.ravel()).tobytes() for row in spread]
    head = struct.pack(">IIBBBBB", SIDE, SIDE, bits, kind, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    more = b"".join(chunk(*one) for one in extra)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + body + chunk(b"IEND", b"")


def tiff(bits: list[int], photometric: int, numbers: bytes, **more: list[int]) -> bytes:
    """A little-endian TIFF of one strip; more: extra, format, map."""
    tags = {
        256: [SIDE], 257: [SIDE], 258: bits, 259: [1], 262: [photometric], 273: [8],
        277: [len(bits)], 278: [SIDE], 279: [len(numbers)], 320: more.get("map"),
        338: more.get("extra"), 339: more.get("format"),
    }  # fmt: skip
    entries = [(tag, values) for tag, values in sorted(tags.items()) if values]
    numbers += b"\0" * (len(numbers) % 2)
    at = 8 + len(numbers)
    directory, beyond = struct.pack("<H", len(entries)), b""
    after = at + 2 + 12 * len(entries) + 4
    for tag, values in entries:
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            packed, beyond = struct.pack("<I", after + len(beyond)), beyond + packed
        directory += struct.pack("<HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", at) + numbers + directory + bytes(4) + beyond


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def twelve(grey: np.ndarray) -> bytes:
    """Two numbers of 12 bits in three bytes."""
    high = (grey.astype(int) * 4095 // 255).reshape(-1, 2)
    return b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in high.tolist())


def in_lab(picture: np.ndarray) -> Image.Image:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(Image.fromarray(picture), srgb, lab, outputMode="LAB")


deep = GREY.astype(np.uint16) * 257
deep_colour = COLOUR.astype(np.uint16) * 257
deep_alpha = ALPHA.astype(np.uint16) * 257
few = RNG.integers(0, 16, (SIDE, SIDE), np.uint8)
L, RGB = Image.fromarray(GREY), Image.fromarray(COLOUR)
RGBA = Image.fromarray(np.dstack([COLOUR, ALPHA]))
LA = Image.merge("LA", [L, Image.fromarray(ALPHA)])
ramp = [i * 257 for i in range(256)] * 3
palette = L.copy()
palette.putpalette([i for i in range(256) for _ in range(3)])  # index = grey
premultiplied = np.rint(GREY * (ALPHA / 255)).astype(np.uint8)
clear = struct.pack(">H", int(GREY[3, 3]))
clear_deep = struct.pack(">H", int(deep[3, 3]))
clear_colour = struct.pack(">HHH", *COLOUR[3, 3].tolist())

SAME = {  # name: (file, what it shows, how far off it may be)
    "1.png": (png(1, 0, GREY >> 7), grey_rgb((GREY >> 7) * 255), 0),
    "2 bits.png": (png(2, 0, GREY >> 6), grey_rgb((GREY >> 6) * 85), 0),
    "4 bits.png": (png(4, 0, few), grey_rgb(few * 17), 0),
    "L.png": (saved(L, "PNG"), grey_rgb(GREY), 0),
    "L.tif": (saved(L, "TIFF"), grey_rgb(GREY), 0),
    "L.bmp": (saved(L, "BMP"), grey_rgb(GREY), 0),
    "L.pgm": (saved(L, "PPM"), grey_rgb(GREY), 0),
    "L lzw.tif": (saved(L, "TIFF", compression="tiff_lzw"), grey_rgb(GREY), 0),
    "white is 0.tif": (tiff([8], 0, (255 - GREY).tobytes()), grey_rgb(GREY), 0),
    "16 bits.png": (png(16, 0, deep), grey_rgb(GREY), 0),
    "16 bits.tif": (saved(Image.fromarray(deep), "TIFF"), grey_rgb(GREY), 0),
    "16 bits.pgm": (b"P5 8 8 65535\n" + deep.astype(">u2").tobytes(), grey_rgb(GREY), 0),
    "16 bits big.tif": (saved(Image.fromarray(deep.astype(">u2")), "TIFF"), grey_rgb(GREY), 0),
    "16 bits, white is 0.tif": (tiff([16], 0, (65535 - deep).tobytes()), grey_rgb(GREY), 0),
    "12 bits.tif": (tiff([12], 1, twelve(GREY)), grey_rgb(GREY), 1),
    "P.png": (saved(palette, "PNG"), grey_rgb(GREY), 0),
    "P.gif": (saved(palette, "GIF"), grey_rgb(GREY), 0),
    "P.tif": (saved(palette, "TIFF"), grey_rgb(GREY), 0),
    "P.bmp": (saved(palette, "BMP"), grey_rgb(GREY), 0),
    "RGB.png": (saved(RGB, "PNG"), COLOUR, 0),
    "RGB.tif": (saved(RGB, "TIFF"), COLOUR, 0),
    "RGB.bmp": (saved(RGB, "BMP"), COLOUR, 0),
    "RGB.ppm": (saved(RGB, "PPM"), COLOUR, 0),
    "RGB.webp": (saved(RGB, "WEBP", lossless=True), COLOUR, 0),
    "RGB 16 bits.png": (png(16, 2, deep_colour), COLOUR, 0),
    "RGB 16 bits.tif": (tiff([16] * 3, 2, deep_colour.tobytes()), COLOUR, 0),
    "RGBX.tif": (tiff([8] * 4, 2, np.dstack([COLOUR, ALPHA]).tobytes(), extra=[0]), COLOUR, 0),
    "CMYK.tif": (saved(RGB.convert("CMYK"), "TIFF"), COLOUR, 1),
    "YCbCr.tif": (saved(RGB.convert("YCbCr"), "TIFF"), COLOUR, 3),
    "RGBA.png": (saved(RGBA, "PNG"), on_white(COLOUR, ALPHA), 1),
    "RGBA.tif": (saved(RGBA, "TIFF"), on_white(COLOUR, ALPHA), 1),
    "RGBA.webp": (saved(RGBA, "WEBP", lossless=True, exact=True), on_white(COLOUR, ALPHA), 1),
    "RGBA 16 bits.png": (
        png(16, 6, np.dstack([deep_colour, deep_alpha])),
        on_white(COLOUR, ALPHA),
        1,
    ),
    "LA.png": (saved(LA, "PNG"), on_white(grey_rgb(GREY), ALPHA), 1),
    "LA.tif": (saved(LA, "TIFF"), on_white(grey_rgb(GREY), ALPHA), 1),
    "LA 16 bits.png": (
        png(16, 4, np.dstack([deep, deep_alpha])),
        on_white(grey_rgb(GREY), ALPHA),
        1,
    ),
    "La.tif": (
        tiff([8, 8], 1, np.dstack([premultiplied, ALPHA]).tobytes(), extra=[1]),
        grey_rgb(premultiplied.astype(int) + 255 - ALPHA),
        1,
    ),
    "PA.tif": (
        tiff([8, 8], 3, np.dstack([GREY, ALPHA]).tobytes(), extra=[2], map=ramp),
        on_white(grey_rgb(GREY), ALPHA),
        1,
    ),
    "P, an alpha each.png": (
        saved(palette, "PNG", transparency=bytes(range(256))),
        on_white(grey_rgb(GREY), GREY),
        1,
    ),
    "P, one clear.png": (
        saved(palette, "PNG", transparency=int(GREY[3, 3])),
        on_white(grey_rgb(GREY), ~HOLE * 255),
        0,
    ),
    "P, one clear.gif": (
        saved(palette, "GIF", transparency=int(GREY[3, 3])),
        on_white(grey_rgb(GREY), ~HOLE * 255),
        0,
    ),
    "1, one clear.png": (png(1, 0, GREY >> 7, (b"tRNS", b"\0\0")), grey_rgb(GREY * 0 + 255), 0),
    "2 bits, one clear.png": (
        png(2, 0, GREY >> 6, (b"tRNS", b"\0\1")),
        on_white(grey_rgb((GREY >> 6) * 85), (GREY >> 6 != 1) * 255),
        0,
    ),
    "4 bits, one clear.png": (
        png(4, 0, few, (b"tRNS", b"\0\3")),
        on_white(grey_rgb(few * 17), (few != 3) * 255),
        0,
    ),
    "L, one clear.png": (
        png(8, 0, GREY, (b"tRNS", clear)),
        on_white(grey_rgb(GREY), ~HOLE * 255),
        0,
    ),
    "16 bits, one clear.png": (
        png(16, 0, deep, (b"tRNS", clear_deep)),
        on_white(grey_rgb(GREY), ~HOLE * 255),
        0,
    ),
    "RGB, one clear.png": (
        png(8, 2, COLOUR, (b"tRNS", clear_colour)),
        on_white(COLOUR, ~ONE_HOLE * 255),
        0,
    ),
}

floats = (GREY / 255).astype("<f4").tobytes()
REFUSED = {  # name: (file, word of why)
    "32 bits, to 255.tif": (tiff([32], 1, GREY.astype("<u4").tobytes()), "32 bits"),
    "32 bits, to 65535.tif": (saved(Image.fromarray(deep.astype(np.int32)), "TIFF"), "32 bits"),
    "floats to 1.tif": (tiff([32], 1, floats, format=[3]), "floats"),
    "floats to 255.tif": (saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "floats"),
    "floats.pfm": (b"Pf 8 8 -1.0\n" + floats, "floats"),
    "sign, 16 bits.tif": (tiff([16], 1, deep.tobytes(), format=[2]), "sign"),
    "sign, 8 bits.tif": (tiff([8], 1, GREY.tobytes(), format=[2]), "sign"),
    "RGB 16 bits, one clear.png": (
        png(16, 2, deep_colour, (b"tRNS", struct.pack(">HHH", *deep_colour[3, 3].tolist()))),
        "16 bits is transparent",
    ),
}


def checked(*paths) -> None:
    files = tuple(map(str, paths))
    check_images(Split(files, (("a",),) * len(files), PhotoFiles(files)), progress=False)


@pytest.mark.parametrize("name", SAME)
def test_a_picture_is_the_same_in_every_mode(tmp_path, name):
    data, picture, off = SAME[name]
    (tmp_path / name).write_bytes(data)
    if (
        name in ("La.tif", "YCbCr.tif") and int(PIL.__version__.split(".")[0]) < 13
    ):  # older ones refuse these
        with pytest.raises(InputError):
            checked(tmp_path / name)
        return
    checked(tmp_path / name)
    assert np.abs(read_photo(tmp_path / name, SIDE) - picture.astype(int)).max() <= off


def test_a_smooth_picture_is_the_same_in_lossy_formats_and_lab(tmp_path):
    y, x = np.mgrid[:32, :32] * 7
    picture = np.dstack([x, y, 220 - x // 2 - y // 2]).astype(np.uint8)
    image = Image.fromarray(picture)
    kinds = {"JPEG": {"quality": 100, "subsampling": 0}, "JPEG2000": {}, "WEBP": {"quality": 100}}
    Image.init()
    if "AVIF" in Image.SAVE:  # not in every build of Pillow
        kinds["AVIF"] = {"quality": 100, "subsampling": "4:4:4"}
    files = {kind: saved(image, kind, **options) for kind, options in kinds.items()}
    files |= {"lab": saved(in_lab(picture), "TIFF")}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        checked(tmp_path / name)
        far = np.abs(read_photo(tmp_path / name, 32) - picture.astype(int))
        assert far.mean() < 2.5, name


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_that_do_not_tell_which_is_white_are_refused_at_the_check(tmp_path, name):
    data, word = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    for call in (lambda: checked(tmp_path / name), lambda: read_photo(tmp_path / name, SIDE)):
        with pytest.raises(InputError, match=word) as error:
            call()
        assert str(tmp_path / name) in str(error.value)
        assert "save it with" in str(error.value)


def test_large_pictures_are_the_same_as_small_ones():
    """What is converted some rows at a time is what is converted at once."""
    colour = np.tile(np.dstack([COLOUR, ALPHA]), (200, 150, 1))
    whole = np.asarray(rgb(Image.fromarray(colour)))
    np.testing.assert_array_equal(whole, np.tile(np.asarray(rgb(RGBA)), (200, 150, 1)))
    whole = np.asarray(rgb(Image.fromarray(np.tile(deep, (200, 150)))))
    np.testing.assert_array_equal(whole, np.tile(grey_rgb(GREY), (200, 150, 1)))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_of_several_frames_the_first_is_read(tmp_path, kind):
    other = Image.fromarray(255 - GREY)
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(L, kind, save_all=True, append_images=[other, other], **options)
    (tmp_path / "a").write_bytes(data)
    checked(tmp_path / "a")
    np.testing.assert_array_equal(read_photo(tmp_path / "a", SIDE), grey_rgb(GREY))


@pytest.mark.parametrize("exif", [b"rubbish!", b"II*\0\x08\0\0\0\xff\xff\x12\x01", b"", b"MM"])
def test_exif_that_cannot_be_read_turns_nothing(tmp_path, exif):
    files = {
        "a.png": png(8, 2, COLOUR, (b"eXIf", exif)),
        "a.webp": saved(RGB, "WEBP", lossless=True, exif=exif or b"?"),
        "a.jpg": saved(RGB, "JPEG", quality=100, subsampling=0, exif=b"Exif\0\0" + exif),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        checked(tmp_path / name)
        off = np.abs(read_photo(tmp_path / name, SIDE) - COLOUR.astype(int)).max()
        assert off <= (12 if name == "a.jpg" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_turns_the_photo_upright(tmp_path, orientation):
    stored = {  # from EXIF's words on where row 0 and column 0 of what is stored belong
        1: COLOUR, 2: COLOUR[:, ::-1], 3: COLOUR[::-1, ::-1], 4: COLOUR[::-1],
        5: COLOUR.swapaxes(0, 1), 6: np.rot90(COLOUR), 7: np.rot90(COLOUR, 2).swapaxes(0, 1),
        8: np.rot90(COLOUR, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        image = Image.fromarray(np.ascontiguousarray(stored))
        (tmp_path / kind).write_bytes(saved(image, kind, exif=exif, **options))
        np.testing.assert_array_equal(read_photo(tmp_path / kind, SIDE), COLOUR)


def test_a_png_whose_pixels_are_not_those_that_were_written_is_refused(tmp_path):
    path, whole = tmp_path / "a.png", bytearray(png(8, 0, GREY))
    at = whole.index(b"IDAT") + 12
    for bit in range(8):
        damaged = whole.copy()
        damaged[at] ^= 1 << bit
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="checksum"):
            read_photo(path, SIDE)
    frame = struct.pack(">IIIIIHHBB", 0, SIDE, SIDE, 0, 0, 1, 10, 0, 0)
    animated = png(8, 0, GREY, (b"acTL", struct.pack(">II", 1, 0)), (b"fcTL", frame))
    path.write_bytes(animated)
    np.testing.assert_array_equal(read_photo(path, SIDE), grey_rgb(GREY))
    head = struct.pack(">IIBBBBB", SIDE, 2 * SIDE, 8, 0, 0, 0, 0)  # half of it would be black
    path.write_bytes(animated[:8] + chunk(b"IHDR", head) + animated[33:])
    with pytest.raises(InputError, match="another size"):
        read_photo(path, SIDE)


def test_a_photo_in_a_file_of_another_ending_is_what_it_is(tmp_path):
    for name in ("a.jpg", "a.JPEG", "a", "a.webp", "a.txt"):
        (tmp_path / name).write_bytes(saved(RGB, "PNG"))
        np.testing.assert_array_equal(read_photo(tmp_path / name, SIDE), COLOUR)


def test_other_formats_that_pillow_opens_are_named_and_refused(tmp_path):
    Image.init()
    mine = {kind for kind in KINDS if kind in Image.SAVE}
    endings = Image.registered_extensions()
    assert {endings.get(ending, "AVIF") for ending in ENDINGS} - {"MPO"} <= set(KINDS)
    tried = 0
    for kind in sorted(set(Image.SAVE) & set(Image.OPEN) - mine):
        path = tmp_path / f"a.{kind}"
        try:
            with warnings.catch_warnings(action="ignore"):
                path.write_bytes(saved(RGB, kind))
        except (OSError, ValueError, KeyError, AttributeError):
            continue  # not of this picture, or not by this Pillow
        tried += 1
        with pytest.raises(InputError, match="none of JPEG, PNG"):
            checked(path)
    assert tried > 5


def test_what_pillow_says_of_a_file_is_not_the_users_to_read(tmp_path, capfd):
    """Neither as warnings, nor on the terminal; and filters of warnings are as they were."""
    path = tmp_path / "a.tif"
    image = Image.fromarray(np.tile(COLOUR, (4, 4, 1)))
    whole = bytearray(saved(image, "TIFF", compression="tiff_adobe_deflate"))
    whole[40:60] = bytes(20)
    path.write_bytes(whole)
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(InputError):
            read_photo(path)
        (tmp_path / "b.png").write_bytes(
            png(8, 0, GREY, (b"eXIf", b"II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0"))
        )
        readers = [threading.Thread(target=read_photo, args=(tmp_path / "b.png",))] * 1
        readers += [threading.Thread(target=read_photo, args=(tmp_path / "b.png",))]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        warnings.warn("mine", stacklevel=1)
    assert [str(one.message) for one in told] == ["mine"]
    assert warnings.filters == before
    assert capfd.readouterr() == ("", "")
