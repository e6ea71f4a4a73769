"""Every kind of file that ends up in a folder of photographs: it gives the right pixels, or says what is wrong."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from facepipe.errors import ImageError
from facepipe.media.image import decode, read_header
from facepipe.media.samples import BACKGROUND
from facepipe.records import Status

LIMIT = 10_000_000
SMALL = (120, 90)


@pytest.fixture(scope="module")
def photo(astronaut):
    """A real photograph, 120 x 90, with a face in it."""
    return Image.fromarray(astronaut[0:225, 100:400]).resize(SMALL, Image.Resampling.LANCZOS)


def encode(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def rgb(picture):
    return np.asarray(picture.convert("RGB"))


def difference(image, expected):
    """Mean absolute difference, gray levels."""
    assert (image.dtype, image.shape) == (np.uint8, expected.shape)
    return float(np.abs(image.astype(int) - expected).mean())


def refused(data, limit=LIMIT):
    with pytest.raises(ImageError) as caught:
        decode(data, max_pixels=limit)
    assert "\n" not in caught.value.message
    return caught.value


FORMATS = [
    ("JPEG", {"quality": 95}, 3), ("JPEG", {"quality": 95, "progressive": True}, 3), ("PNG", {}, 0),
    ("WEBP", {"quality": 95}, 4), ("WEBP", {"lossless": True}, 0), ("GIF", {}, 12), ("BMP", {}, 0), ("TIFF", {}, 0),
    ("TIFF", {"compression": "tiff_lzw"}, 0), ("TIFF", {"compression": "jpeg", "quality": 95}, 3),
    ("TIFF", {"compression": "tiff_adobe_deflate", "big_tiff": True}, 0), ("PPM", {}, 0), ("TGA", {}, 0),
    ("JPEG2000", {}, 1), ("AVIF", {"quality": 90}, 4), ("ICO", {"sizes": [SMALL]}, 0), ("PCX", {}, 0), ("SGI", {}, 0),
    ("QOI", {}, 0), ("DIB", {}, None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options", "tolerance"), FORMATS)
def test_formats(photo, kind, options, tolerance):
    """Each format gives the photograph, within what its compression loses; its name plays no role."""
    data = encode(photo, kind, **options)
    if tolerance is None:  # a headerless BMP is no file format of its own
        assert refused(data).status == Status.DECODE_ERROR
        return
    assert difference(decode(data, max_pixels=LIMIT), rgb(photo)) <= tolerance


def turned(photo, orientation):
    """The photograph as it is stored with this orientation, and the EXIF that says so."""
    turns = [
        None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_270,
    ]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = turns[orientation - 1]
    return photo if turn is None else photo.transpose(turn), exif


XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}"/></x:xmpmeta>'
CARRIERS = [
    ("JPEG", "exif"), ("PNG", "exif"), ("WEBP", "exif"), ("TIFF", "exif"), ("AVIF", "exif"), ("PSD", "exif"), ("PNG", "profile"),
    ("PNG behind", "exif"), ("JPEG", "xmp"), ("PNG", "xmp"), ("WEBP", "xmp"), ("TIFF", "xmp"), ("AVIF", "xmp"), ("PSD", "xmp"), ("TIFF 16", "exif"), ("TIFF 32", "exif"), ("TIFF 16", "xmp"),
    ("PNG", "plain profile"), ("PNG", "APP1"), ("GIF", "xmp"), ("JPEG2000", "exif"), ("JPEG2000", "xmp"), ("TIFF", "byte"),
]  # fmt: skip


def carrying(stored, kind, carrier, orientation):
    """A file of this kind that says, in EXIF or XMP, how it is to be turned."""
    exif, xmp = Image.Exif(), XMP.format(orientation).encode()
    exif[0x0112] = orientation
    if kind == "PSD":
        return psd(stored, *((1058, exif.tobytes()[6:]) if carrier == "exif" else (1060, xmp)))
    if kind.startswith("TIFF "):  # for OpenCV; 32: floats
        pixels = np.asarray(stored)
        wide = pixels.astype(np.uint16) * 257 if kind == "TIFF 16" else pixels.astype(np.float32) / 255
        told = {274: orientation} if carrier == "exif" else {700: len(xmp)}
        width, height, kind_of_number = *stored.size, 1 if kind == "TIFF 16" else 3
        tags = {256: width, 257: height, 258: int(kind[-2:]), 259: 1, 262: 2, 277: 3, 278: height, 339: kind_of_number}
        return tiff(tags | told, np.ascontiguousarray(wide).tobytes(), xmp)
    if kind in ("PNG behind", "GIF", "JPEG2000") or carrier == "byte":
        return inserted(stored, kind, carrier, exif.tobytes()[6:], xmp)
    if carrier == "xmp" and kind in ("PNG", "TIFF"):
        texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
        return encode(stored, kind, **({"pnginfo": texts} if kind == "PNG" else {"tiffinfo": {700: xmp}}))
    if carrier in ("profile", "plain profile", "APP1"):  # as ImageMagick wrote it before PNG had a place for EXIF
        texts, content = PngInfo(), exif.tobytes()
        name = f"Raw profile type {'APP1' if carrier == 'APP1' else 'exif'}"
        texts.add_text(name, f"\nexif\n{len(content):8}\n{content.hex()}\n", zip=carrier == "profile")
        return encode(stored, kind, pnginfo=texts)
    lossless = {"AVIF": {"quality": 90}, "WEBP": {"lossless": True}}.get(kind, {"quality": 95})
    return encode(stored, kind, **{carrier: exif if carrier == "exif" else xmp}, **lossless)


def inserted(stored, kind, carrier, exif, xmp):
    """What Pillow does not write: EXIF or XMP put into the finished file."""
    if kind == "TIFF":  # the tag as a byte
        return pages((stored, {274: exif[19]}), kinds={274: 1})
    data = encode(stored, kind.split()[0])
    if kind == "PNG behind":  # the pixels, as the standard allows
        return data[:-12] + png_chunk(b"eXIf", exif) + data[-12:]
    if kind == "GIF":
        at = 13 + 3 * (2 << (data[10] & 7))
        return data[:at] + b"!\xff\x0bXMP DataXMP" + xmp + b"\1" + bytes(range(255, -1, -1)) + b"\0\0" + data[at:]
    at, uuid = data.index(b"jp2c") - 4, bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + xmp
    box = b"uuid" + (b"JpgTiffExif->JP2" + exif if carrier == "exif" else uuid)
    return data[:at] + struct.pack(">I", 4 + len(box)) + box + data[at:]


def psd(picture, number, content):
    """Photoshop's: a header, the resource, the pixels, one channel after the other."""
    content += bytes(len(content) % 2)
    resource = b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content
    head = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, picture.height, picture.width, 8, 3)
    pixels = np.asarray(picture).transpose(2, 0, 1).tobytes()
    return head + bytes(4) + struct.pack(">I", len(resource)) + resource + bytes(6) + pixels


@pytest.mark.parametrize(("kind", "carrier"), CARRIERS)
def test_orientation(photo, kind, carrier):
    """All eight orientations come out upright, whatever the format, and wherever it says so."""
    for orientation in range(1, 9):
        stored, _ = turned(photo, orientation)
        data = carrying(stored, kind, carrier, orientation)
        header = read_header(data)
        assert (header.width, header.height, header.orientation) == (*stored.size, orientation)
        image = decode(data, max_pixels=LIMIT)
        assert image.flags.c_contiguous
        assert difference(image, rgb(photo)) < (12 if kind == "GIF" else 5)
    if (kind, carrier) == ("JPEG", "exif"):  # goes before XMP
        both = {"exif": turned(photo, 8)[1], "xmp": XMP.format(3).encode()}
        assert difference(decode(encode(stored, kind, quality=95, **both), max_pixels=LIMIT), rgb(photo)) < 5


SPELLINGS = [
    "tiff:Orientation='6'", 'tiff:Orientation = "6"', "><tiff:Orientation>6</tiff:Orientation",
    "><tiff:Orientation>\n 6\n</tiff:Orientation", 'xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Orientation="6"',
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_of_xmp(photo, spelling):
    """XMP is XML: quotes, spaces, elements and prefixes are as its writer likes them; broken EXIF hides none of it."""
    xmp = XMP.replace('tiff:Orientation="{}"', spelling).encode()
    for options in ({"xmp": xmp}, {"xmp": xmp, "exif": b"Exif\0\0II*\0\xff\xff\xff\xff"}):
        data = encode(turned(photo, 6)[0], "JPEG", quality=95, **options)
        assert difference(decode(data, max_pixels=LIMIT), rgb(photo)) < 5


@pytest.mark.parametrize("brands", [b"avif", b"mif1", b"miaf", b"msf1", b"MA1B"])
def test_brands_of_avif(photo, brands):
    """A file is AVIF by any of its brands, not only by the main one."""
    stored, exif = turned(photo, 6)
    data = encode(stored, "AVIF", quality=90, exif=exif)
    assert data[4:12] == b"ftypavif"
    assert difference(decode(data[:8] + brands + data[12:], max_pixels=LIMIT), rgb(photo)) < 5


def pages(*pictures, order="<", big=False, below=False, kinds=None):
    """An uncompressed RGB TIFF of (picture, further tags), each in the chain of directories or below the first."""
    offset, entry, count = ("Q", "HHQQ", "Q") if big else ("I", "HHII", "H")
    data = bytearray({"<": b"II", ">": b"MM"}[order] + struct.pack(order + "H", 43 if big else 42))
    data += struct.pack(order + "HHQ", 8, 0, 0) if big else struct.pack(order + "I", 0)
    link = len(data) - struct.calcsize(offset)
    for number, (picture, further) in enumerate(pictures):
        pixels = len(data)
        data += picture.tobytes()
        width, height = picture.size
        tags = {256: width, 257: height, 258: 8, 259: 1, 262: 2, 273: pixels, 277: 3, 278: height}
        tags |= {279: len(picture.tobytes()), **further, **({330: 0} if below and not number else {})}
        struct.pack_into(order + offset, data, link, len(data))
        data += struct.pack(order + count, len(tags))
        for tag, value in sorted(tags.items()):
            kind = {330: 18 if big else 13, **(kinds or {})}.get(tag, 16 if big else 4)
            data += struct.pack(order + entry, tag, kind, 1, value)
            if tag == 330:
                link = len(data) - struct.calcsize(offset)
        if not below:
            link = len(data)
        data += struct.pack(order + offset, 0)
    return bytes(data)


REDUCED, OLD_REDUCED, MASK = {254: 1}, {255: 2}, {254: 4}
FURTHER = [
    ([REDUCED, {}], {}), ([OLD_REDUCED, {}], {}), ([MASK, {}], {}), ([REDUCED, MASK, {}], {}), ([REDUCED, {}], {"order": ">"}),
    ([REDUCED, {}], {"big": True}), ([REDUCED, {254: 2}], {}), ([REDUCED, {}], {"below": True}), ([REDUCED, {}, REDUCED], {}),
    ([REDUCED, {254: 0, 255: 1}], {"order": ">"}), ([{254: 5}, REDUCED, {}], {"big": True}), ([REDUCED, {}], {"big": True, "below": True}),
]  # fmt: skip


@pytest.mark.parametrize(("kinds", "options"), FURTHER)
@pytest.mark.parametrize("orientation", [1, 6])
def test_thumbnails_and_masks_before_the_photograph(photo, kinds, options, orientation):
    """The first picture of a TIFF that is neither is read, in the chain or below, turned as it, or what leads to it, says.

    Where all are thumbnails, the largest is read. One that does not say so is known by its enlargement.
    """
    stored, _ = turned(photo, orientation)
    thumbnail = Image.new("RGB", (30, 20), "red")
    told = {274: orientation}
    files = [(stored if not kind.get(254, 0) & 5 and kind.get(255) != 2 else thumbnail, kind | told) for kind in kinds]
    if "below" in options:
        files[-1][1].pop(274)
    assert difference(decode(pages(*files, **options), max_pixels=LIMIT), rgb(photo)) == 0
    alone = pages((thumbnail, REDUCED), (photo, REDUCED))  # then the largest is read
    assert difference(decode(alone, max_pixels=LIMIT), rgb(photo)) == 0
    unmarked, other = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 20), "blue")
    assert difference(decode(pages((unmarked, {}), (other, {}), (photo, {})), max_pixels=LIMIT), rgb(photo)) == 0
    assert difference(decode(pages((other, {}), (photo, {})), max_pixels=LIMIT), rgb(other)) == 0


@pytest.mark.parametrize(
    ("kind", "channels"),
    [*((kind, channels) for kind in ("png", "tiff") for channels in (1, 3, 4)), ("ppm", 3), ("jp2", 1), ("jp2", 3)],
)
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_fewer_bits_than_the_file_has_room_for(photo, kind, channels, bits):
    """What 8 to 14 bits hold in files of 16 is spread over 0..255, whatever is in the alpha channel."""
    colors = rgb(photo).astype(float)
    white = 2**bits - 1
    wide = np.rint(colors / 255 * white).astype(np.uint16)[..., ::-1]
    wide = {1: wide[..., 2], 3: wide, 4: np.dstack([wide, np.full(wide.shape[:2], 65535, np.uint16)])}[channels]
    wide[0, 0] = white
    image = decode(cv2.imencode(f".{kind}", wide)[1].tobytes(), max_pixels=LIMIT)
    expected = colors if channels > 1 else np.repeat(colors[..., :1], 3, axis=2)
    assert difference(image[1:], expected[1:]) <= (2 if kind == "jp2" else 1)


def test_samples_of_unusual_tiffs(photo):
    """White may be zero; floats may shine above 1. What decoders read wrong or nearly black is refused, and why told."""
    gray = rgb(photo.convert("L"))
    for bits in (10, 12, 16):
        samples = ((255 - gray[..., 0]) / 255 * (2**bits - 1)).astype(np.uint16)
        tags = {256: 120, 257: 90, 258: 16, 259: 1, 262: 0, 277: 1, 278: 90}
        assert difference(decode(tiff(tags, samples.tobytes()), max_pixels=LIMIT), gray) <= 2
    shining = rgb(photo)[..., ::-1].astype(np.float32) / 255
    shining[0, 0] = 4
    image = decode(cv2.imencode(".tiff", shining)[1].tobytes(), max_pixels=LIMIT)
    assert difference(image[1:], rgb(photo)[1:]) <= 1
    planes = np.zeros((3, 90, 120), np.uint16).tobytes()
    assert (
        "plane" in refused(tiff({256: 120, 257: 90, 258: 16, 259: 1, 262: 2, 277: 3, 278: 90, 284: 2}, planes)).message
    )


@pytest.mark.parametrize(
    "orientation",
    [
        b"",
        b"\0" * 40,
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff" + b"\1" * 30,
        # One entry, whole and of the right kind, of an orientation that there is not.
        *(b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0" + value + b"\0\0\0\0\0\0" for value in (b"\0", b"\x09")),
    ],
)
def test_broken_exif_is_ignored(photo, orientation):
    """EXIF that can't be read leaves the picture as it is stored."""
    data = encode(photo, "JPEG", quality=95)
    block = b"Exif\0\0" + orientation
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    assert read_header(data).orientation == 1
    assert difference(decode(data, max_pixels=LIMIT), rgb(photo)) < 3


MODES = [
    ("L", "JPEG", {}), ("L", "PNG", {}), ("1", "PNG", {}), ("1", "TIFF", {}), ("1", "TIFF", {"compression": "group4"}),
    ("L", "TIFF", {}), ("P", "PNG", {}), ("P", "BMP", {}), ("P", "TIFF", {}), ("LA", "PNG", {}), ("LA", "WEBP", {}),
    ("RGBA", "PNG", {}), ("RGBA", "TIFF", {}), ("RGBA", "WEBP", {"lossless": True}), ("CMYK", "JPEG", {"quality": 95}),
    ("CMYK", "TIFF", {}), ("YCbCr", "TIFF", {}), ("LAB", "TIFF", {}), ("I;16", "PNG", {}), ("I;16", "TIFF", {}),
    ("F", "TIFF", {}), ("I", "TIFF", {}),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "kind", "options"), MODES)
def test_pixel_modes(photo, mode, kind, options):
    """Gray, palette, alpha, CMYK (inks inverted, as Adobe's), one bit, 16 bits and floats show the same photograph."""
    if mode == "LAB":
        from PIL import ImageCms

        lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        stored, expected = ImageCms.applyTransform(photo, lab), rgb(photo)
    elif mode in ("I;16", "F", "I"):
        gray = np.asarray(photo.convert("L"))
        wide = {"I;16": gray.astype(np.uint16) * 257, "F": gray.astype(np.float32) / 255, "I": gray.astype(np.int32)}
        stored, expected = Image.fromarray(wide[mode]), rgb(photo.convert("L"))
    else:
        stored = photo.convert(mode)
        expected = rgb(stored)
    assert difference(decode(encode(stored, kind, **options), max_pixels=LIMIT), expected) < 3
    if mode == "F":  # in three channels, which Pillow does not read
        data = cv2.imencode(".tiff", rgb(photo)[..., ::-1].astype(np.float32) / 255)[1].tobytes()
        assert difference(decode(data, max_pixels=LIMIT), rgb(photo)) <= 1


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGBA"), ("WEBP", "RGBA"), ("TIFF", "RGBA"), ("PNG", "LA"), ("PNG", "P"), ("GIF", "P")]
)
def test_transparency_shows_gray(photo, kind, mode):
    """Where a picture is transparent, mid-gray shows; elsewhere the picture."""
    mask = Image.new("L", photo.size, 255)
    mask.paste(0, (0, 0, 60, 90))
    if mode == "P":
        stored = photo.quantize(200)
        stored.putpalette(stored.getpalette()[:600] + [0] * 168)
        stored.paste(255, (0, 0, 60, 90))
        data = encode(stored, kind, transparency=255)
    else:
        stored = photo.convert("RGBA")
        stored.putalpha(mask)
        data = encode(stored.convert(mode), kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    image = decode(data, max_pixels=LIMIT)
    assert (image[:, :60] == BACKGROUND).all()
    expected = rgb(photo.convert("L") if mode == "LA" else photo)
    assert difference(image[:, 60:], expected[:, 60:]) < 12


@pytest.mark.parametrize("alpha", [0, 128])
def test_transparency_everywhere(photo, alpha):
    """Half of it mixes picture and gray; exporters that write alpha 0 everywhere lose nothing."""
    stored = photo.convert("RGBA")
    stored.putalpha(alpha)
    expected = np.rint((rgb(photo) * 128.0 + BACKGROUND * 127.0) / 255).astype(int) if alpha else rgb(photo)
    assert difference(decode(encode(stored, "PNG"), max_pixels=LIMIT), expected) == 0


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [("GIF", {}, 12), ("WEBP", {"lossless": True}, 0), ("PNG", {}, 0), ("TIFF", {}, 0)],
)
def test_first_frame(photo, kind, options, tolerance):
    """An animation or a file of several pages gives its first frame."""
    others = [Image.new("RGB", SMALL, "red"), Image.new("RGB", SMALL, "blue")]
    data = encode(photo, kind, save_all=True, append_images=others, **options)
    assert difference(decode(data, max_pixels=LIMIT), rgb(photo)) <= tolerance


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_reduction(astronaut, kind, reduction, orientation):
    """A reduced picture shows the same, its sides divided and rounded up."""
    picture = Image.fromarray(astronaut[:304, :504])
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture, kind, exif=exif)
    size = (504 // reduction, 304 // reduction)
    expected = picture if orientation == 1 else picture.transpose(Image.Transpose.ROTATE_270)
    expected = expected.resize(size if orientation == 1 else size[::-1], Image.Resampling.BOX)
    assert difference(decode(data, max_pixels=LIMIT, reduction=reduction), rgb(expected)) < 6
    uneven = decode(encode(Image.fromarray(astronaut[:301, :510]), kind), max_pixels=LIMIT, reduction=reduction)
    assert uneven.shape == (-(-301 // reduction), -(-510 // reduction), 3)


def cut(share):
    return lambda data: data[: int(len(data) * share)]


BROKEN = [
    ("JPEG", {}, cut(0.5), "missing"), ("JPEG", {}, cut(0.9), "missing"), ("JPEG", {"progressive": True}, cut(0.5), "cut off"),
    ("JPEG", {}, cut(0.01), ""), ("PNG", {}, cut(0.5), "cut off"), ("PNG", {}, cut(0.9), "cut off"), ("WEBP", {}, cut(0.5), ""),
    ("GIF", {}, cut(0.5), "cut off"), ("BMP", {}, cut(0.5), "cut off"), ("TIFF", {}, cut(0.5), ""), ("AVIF", {}, cut(0.5), ""),
    ("PNG", {}, lambda d: d[:200] + bytes(200) + d[400:], ""), ("JPEG", {}, lambda _: b"", "empty"),
    ("JPEG", {}, lambda _: b"<!DOCTYPE html><html><body>404 not found", "not an image"),
    ("JPEG", {}, lambda _: bytes(5000), "not an image"), ("JPEG", {}, lambda d: d[:2], ""), ("PNG", {}, lambda d: d[:8], ""),
    ("JPEG", {}, lambda d: d[:600] + d[-2:], ""), ("JPEG", {}, lambda _: os.urandom(4000), ""),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options", "damage", "said"), BROKEN)
def test_broken_files(photo, kind, options, damage, said):
    """A file that is cut off, empty, or something else is a `decode_error` with a sentence."""
    error = refused(damage(encode(photo, kind, **options)))
    assert error.status == Status.DECODE_ERROR
    assert said in error.message


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d[:-2], lambda d: d[:-12], lambda d: d + bytes(3000)])
def test_a_lost_end_or_more_behind_it_is_no_loss(photo, change):
    """A JPEG without its last few bytes is still whole to the eye; telephones put more behind the end mark."""
    big = photo.resize((480, 360))
    assert difference(decode(change(encode(big, "JPEG", quality=95)), max_pixels=LIMIT), rgb(big)) < 3


def png_chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


SIDE_CLAIMED = 50_000
TILE_SIDE = SIDE_CLAIMED - SIDE_CLAIMED % 16
PATCHED = {  # where the width is, from these bytes on, and how it and the height are written
    "JPEG": (b"\xff\xc0", 5, ">HH"),
    "GIF": (b"GIF8", 6, "<HH"),
    "GIF frame": (b",\0\0\0\0\x08\0\x08\0", 5, "<HH"),
    "BMP": (b"BM", 18, "<ii"),
    "JPEG2000": (b"ihdr", 4, ">II"),
}


def bomb(kind):
    """A file of a few bytes that claims 50,000 x 50,000 pixels."""
    side = SIDE_CLAIMED
    if kind in PATCHED:
        mark, offset, form = PATCHED[kind]
        data = bytearray(encode(Image.new("RGB", (8, 8)), kind.split()[0]))
        struct.pack_into(form, data, data.index(mark) + offset, side, side)
        return bytes(data)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")
    canvas = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + (side - 1).to_bytes(3, "little") * 2
    canvas += encode(Image.new("RGB", (8, 8)), "WEBP")[12:]
    plain = {258: 8, 259: 1, 262: 1, 277: 1}
    return {
        "PNG": png,
        "ICO": struct.pack("<HHHBBBBHHII", 0, 1, 1, 64, 64, 0, 0, 1, 32, len(png), 22) + png,
        "WEBP": b"RIFF" + struct.pack("<I", len(canvas)) + canvas,
        "PSD": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, side, side, 8, 3) + bytes(64),
        "PNM": f"P6 {side} {side} 255\n".encode() + bytes(100),
        "TIFF": tiff(plain | {256: side, 257: side, 273: 8, 279: 9}),
        "TIFF tile": tiff(plain | {256: 64, 257: 64, 322: TILE_SIDE, 323: TILE_SIDE, 324: 8, 325: 9}),
        "TIFF samples": tiff({256: 3000, 257: 3000, 258: 32, 259: 1, 262: 1, 277: 60_000, 273: 8, 279: 9}),
    }[kind]


def tiff(tags, pixels=b"", xmp=b""):
    """An uncompressed TIFF of one picture; a tag 700 points to the XMP."""
    tags = tags | ({273: 8, 279: len(pixels)} if pixels else {})
    at = 8 + len(pixels)
    entries = b"".join(
        struct.pack("<HHII", tag, *((1, len(xmp), at) if tag == 700 else (4, 1, value)))
        for tag, value in sorted(tags.items())
    )
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", at + len(xmp)) + pixels + xmp + directory


BOMBS = [*PATCHED, "PNG", "ICO", "WEBP", "PSD", "PNM", "TIFF", "TIFF tile", "TIFF samples"]


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_from_the_header(kind):
    """A claim of 50,000 x 50,000 pixels is refused before anything is decoded; one pixel too many is."""
    data = encode(Image.new("RGB", SMALL), "JPEG")
    assert decode(data, max_pixels=120 * 90).shape == (90, 120, 3)
    assert refused(data, 120 * 90 - 1).status == Status.TOO_LARGE
    assert refused(bomb(kind), 200_000_000).status == Status.TOO_LARGE


def test_compressed_texts_and_profiles_are_never_unpacked(photo):
    """A PNG whose texts and colour profile would unpack to gigabytes shows its picture."""
    data = encode(photo, "PNG")
    packed = zlib.compress(bytes(30_000_000), 9)
    chunks = png_chunk(b"zTXt", b"a\0\0" + packed) * 5 + png_chunk(b"iCCP", b"a\0\0" + packed)
    data = data[:33] + chunks + png_chunk(b"iTXt", b"a\0\1\0\0\0" + packed) + data[33:]
    assert difference(decode(data, max_pixels=LIMIT), rgb(photo)) == 0


def test_decoders_do_not_flood_the_terminal(tmp_path, photo):
    """Damaged files write nothing to the terminal, from Python or from C; what others write there passes."""
    jpeg, png, tiff_file = (encode(photo, kind) for kind in ("JPEG", "PNG", "TIFF"))
    files = [jpeg[:-100], jpeg[:700] + b"\xff\x55" + jpeg[702:], png[: len(png) // 2], tiff_file[:5000], bomb("ICO")]
    for number, data in enumerate(files):
        (tmp_path / str(number)).write_bytes(data)
    code = """
import os, sys
from facepipe.media.image import decode
from facepipe.errors import ImageError
for name in sorted(os.listdir(sys.argv[1])):
    try:
        decode(open(os.path.join(sys.argv[1], name), "rb").read(), max_pixels=10**8)
    except ImageError:
        pass
os.write(2, b"mine")
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "mine")


MEMORY = """
import resource, sys
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from facepipe.media.image import decode
def peak():  # a child's ru_maxrss starts at its parent's
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
data = open(sys.argv[1], "rb").read()
decode(open(sys.argv[2], "rb").read(), max_pixels=10**6)
before = peak()
decode(data, max_pixels=30_000_000)
print(peak() - before)
"""
SIDE = 2500


def memory_of(data, tmp_path):
    """Bytes a pixel that decoding a picture of SIDE x SIDE adds to a process, its file not counted."""
    (tmp_path / "large").write_bytes(data)
    (tmp_path / "small").write_bytes(encode(Image.new("RGBA", (64, 64)), "PNG"))
    command = [sys.executable, "-c", MEMORY, tmp_path / "large", tmp_path / "small"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout) / SIDE**2


def large(astronaut, mode="RGB"):
    return Image.fromarray(astronaut).resize((SIDE, SIDE)).convert(mode)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_memory(astronaut, tmp_path, kind):
    """An ordinary photograph takes about 7 bytes a pixel: its RGB pixels, and its decoder's copy."""
    data = encode(large(astronaut), kind, **({"compress_level": 1} if kind == "PNG" else {}))
    assert 3 <= memory_of(data, tmp_path) <= read_header(data).bytes_per_pixel <= 8


DEAR = [
    ("JPEG", "RGB", {"progressive": True, "subsampling": 0}), ("JPEG", "CMYK", {"progressive": True}), ("PNG", "RGBA", {}),
    ("PNG", "P", {"transparency": 3}), ("WEBP", "RGBA", {"method": 0}), ("GIF", "P", {}), ("BMP", "RGBA", {}),
    ("TIFF", "CMYK", {}), ("TIFF", "F", {}), ("TIFF", "RGBA", {"compression": "tiff_lzw"}), ("JPEG2000", "RGBA", {}),
    ("AVIF", "RGBA", {"speed": 10}), ("png", np.uint16, 4), ("tiff", np.uint16, 4), ("tiff", np.float32, 3),
    ("tiff", np.float64, 3),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "mode", "options"), DEAR)
def test_memory_of_dear_kinds(astronaut, tmp_path, kind, mode, options):
    """No kind takes more than its header's cost, by which it is refused before 16 bytes for each of `max_pixels`."""
    if kind.islower():
        pixels = np.asarray(large(astronaut, "RGBA" if options == 4 else "RGB")).astype(mode)
        data = cv2.imencode(f".{kind}", pixels * 257 if mode == np.uint16 else pixels / 255)[1].tobytes()
    else:
        data = encode(large(astronaut, mode), kind, **options)
    header = read_header(data)
    expected = header.bytes_per_pixel
    taken = memory_of(data, tmp_path)
    assert 3 <= taken <= expected
    if expected > 16:
        error = refused(data, SIDE**2)
        assert error.status == Status.TOO_LARGE
        assert "MB" in error.message
