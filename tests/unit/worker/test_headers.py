"""What an image would cost, told before any of it is decoded."""

from __future__ import annotations

import struct
import zlib

import pytest
from PIL import Image
from tests.support.pictures import encoded, picture, png

from accelform_runtime.errors import InvalidImage
from accelform_runtime.worker import headers, images, pictures

MANY = headers.MAX_PARTS


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def progressive(width: int, height: int, scans: int, mode: str = "L") -> bytes:
    """A JPEG of that many scans whose header promises that size."""
    data = encoded(picture(16, 16, mode), "JPEG", progressive=True)
    own = data.count(b"\xff\xda")
    last = data.rindex(b"\xff\xda")
    data = data[:last] + data[last:-2] * (scans - own + 1) + data[-2:]
    at = data.index(b"\xff\xc2") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def run_lengths(width: int, height: int, body: bytes) -> bytes:
    """A BMP of 8 bits in run lengths."""
    offset = 14 + 40 + 1024
    head = struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset)
    return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0) + bytes(1024) + body


def gif(*blocks: bytes) -> bytes:
    """A GIF with these blocks in front of its picture."""
    plain = encoded(picture(4, 4).quantize(4), "GIF")
    at = 13 + (3 << ((plain[10] & 7) + 1))
    return plain[:at] + b"".join(blocks) + plain[at:]


COSTLY = {
    "scans times pixels": (
        progressive(6300, 6300, 13),
        "6300 x 6300 pixels in 13 scans; at most 500000000 ",
    ),
    "scans": (progressive(16, 16, 201), "more than 200 scans"),
    "coefficients": (progressive(5400, 5400, 17, "CMYK"), r"takes 15 bytes a pixel to decode"),
    "segments": (b"\xff\xd8" + b"\xff\xe1\0\2" * (MANY + 1) + b"\0", "more than 10000 segments"),
    "chunks": (png(4, 4, 8, 2, bytes(52))[:33] + chunk(b"tEXt") * MANY, "more than 10000 chunks"),
    "data in tiny chunks": (png(4, 4, 8, 2, bytes(52))[:33] + chunk(b"IDAT") * MANY, "more than 10000 chunks"),
    "run lengths": (run_lengths(1500, 1500, b"\x05\x05"), "in run lengths; at most 2000000 pixels and bytes"),
    "bytes of run lengths": (run_lengths(8, 8, b"\0\2\0\0" * 500_001), "in run lengths; at most"),
    "remarks of a GIF": (gif(b"\x21\xfe" + b"\x01a" * (headers.MAX_BLOCKS + 1) + b"\0"), "more than 100000 blocks"),
    "blocks of a GIF": (gif(b"\x21\xfe\0" * (headers.MAX_BLOCKS + 1)), "more than 100000 blocks"),
    "frames": (gif(b"\x2c" + bytes(4) + b"\1\0\1\0\0\2\0"), "animated"),
    "a frame beyond the screen": (b"GIF89a\1\0\1\0\0\0\0\x2c\0\0\0\0\xff\xff\xff\xff\0\2\0;", "65535 x 65535 pixels"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_costly_files(name, monkeypatch):
    """Each dimension of cost has its bound, which the message names; no decoder is begun."""
    monkeypatch.setattr(pictures, "decode", None)
    monkeypatch.setattr(images, "_fast", None)
    data, words = COSTLY[name]

    with pytest.raises(InvalidImage, match=words):
        images.decode(data)


@pytest.mark.parametrize(
    ("width", "height", "scans", "mode"),
    [
        (6000, 4000, 20, "RGB"),
        (4000, 3000, 40, "RGB"),
        (8000, 5000, 12, "L"),
        (640, 480, 200, "RGB"),
        (4000, 3000, 20, "CMYK"),
    ],
)
def test_photographs(width, height, scans, mode):
    """A photograph of 12 or 24 million pixels is taken with more scans than encoders write."""
    header = headers.read(progressive(width, height, scans, mode))

    assert (header.width, header.height) == (width, height)
    assert header.work == width * height * scans


def test_arithmetic_coding_costs_more():
    """A scan of a JPEG in arithmetic coding takes eight times as long, and counts as eight."""
    plain = progressive(6000, 4000, 10)
    at = plain.index(b"\xff\xc2")

    assert headers.read(plain)
    with pytest.raises(InvalidImage):
        images.decode(plain[:at] + b"\xff\xca" + plain[at + 2 :])


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colour", [0, 2, 4, 6])
def test_the_largest_pngs(depth, colour):
    """40 million pixels are taken in any form that a PNG has."""
    assert headers.read(png(8000, 5000, depth, colour, b"")).work >= 40_000_000


def test_texts_and_profiles_are_passed_over():
    """A PNG's pixels do not depend on them: neither what they unpack to nor whether they are sound."""
    plain = encoded(picture(9, 7), "PNG")
    bomb = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10_000_000), 9))
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10_000_000), 9))
    broken = chunk(b"tEXt", b"x\0y")[:-1] + b"?"
    frames = chunk(b"acTL", bytes(8)) + chunk(b"fcTL", bytes(26))

    decoded = images.decode(plain[:33] + bomb + profile + broken + frames + plain[33:])

    assert (decoded == images.decode(plain)).all()


def test_pictures_in_a_jpeg_s_remarks_are_passed_over():
    """EXIF, thumbnails, profiles and comments of an odd JPEG are not even looked at; Adobe's word is."""
    plain = encoded(picture(64, 64, "CMYK"), "JPEG")
    start = plain.index(b"\xff\xda")
    odd = plain[:2] + b"\xff\xe1\xff\xff" + b"\xff" * 65_533 + plain[2:start] + b"\x00\x01" + plain[start:]

    bare = headers.bare_jpeg(odd)

    assert len(bare) <= len(plain)
    assert b"Adobe" in bare
    assert images.decode(odd).shape == (64, 64, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "CMYK"])
def test_images_are_converted_in_bands(mode, monkeypatch):
    """What is made of a large image in pieces is what would be made of it at once."""
    data = encoded(picture(300, 5, mode), "JPEG" if mode == "CMYK" else "PNG")
    whole = images.decode(data)

    monkeypatch.setattr(pictures, "ROWS_AT_ONCE", 7)

    assert (images.decode(data) == whole).all()


def test_pixels_go_where_they_are_wanted():
    """The decoder writes into the memory that it is given, whichever decoder it is."""
    for kind in ("JPEG", "PNG", "GIF", "BMP"):
        rooms = []

        def room(size, rooms=rooms):
            rooms.append(bytearray(size))
            return rooms[-1]

        pixels = images.decode(encoded(Image.new("RGB", (6, 5), (9, 8, 7)), kind), room)

        assert len(rooms) == 1
        assert bytes(rooms[0]) == pixels.tobytes()


@pytest.mark.parametrize(
    ("at", "byte", "words"),
    [
        (4, 12, "has 12 bits a channel"),
        (1, 0xC3, "is lossless"),
        (1, 0xC6, "is hierarchical"),
        (1, 0xF7, "is a JPEG-LS image"),
        (9, 2, "has 2 channels"),
    ],
)
def test_rare_kinds_of_jpeg_are_called_what_they_are(at, byte, words):
    """What no decoder here reads is not told as damaged; the way out is another kind of JPEG."""
    data = bytearray(encoded(picture(64, 48), "JPEG"))
    data[data.index(b"\xff\xc0") + at] = byte

    with pytest.raises(InvalidImage, match=f"the JPEG image {words}.*baseline"):
        images.decode(bytes(data))


def test_a_jpeg_whose_height_comes_later():
    """Its frame says zero lines: that is told, and not a damage."""
    data = bytearray(encoded(picture(64, 48), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 2] = b"\0\0"

    with pytest.raises(InvalidImage, match=r"says that it is 48 x 0 pixels.*baseline"):
        images.decode(bytes(data))
