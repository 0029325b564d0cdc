"""Image bytes to pixels, as TensorFlow's decoders see them."""

from __future__ import annotations

import contextlib
import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from accelform_runtime.errors import InvalidImage
from accelform_runtime.worker import images

RANDOM = np.random.default_rng(5)
PIXELS = RANDOM.integers(0, 256, (9, 7, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG written by hand, for the forms that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, colour, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_colours(kind):
    """RGB comes back as it was, height first."""
    assert np.array_equal(images.decode(encoded(Image.fromarray(PIXELS), kind)), PIXELS)


def test_jpeg_is_what_the_decoder_gives():
    """A JPEG has the decoder's pixels, close to the original."""
    smooth = np.full((16, 16, 3), (200, 100, 50), np.uint8)

    decoded = images.decode(encoded(Image.fromarray(smooth), "JPEG", quality=95))

    assert np.abs(decoded.astype(int) - smooth).max() <= 3


def test_gif_palette():
    """A single GIF frame comes out in its palette's colours."""
    picture = Image.fromarray(PIXELS).quantize(8)

    assert np.array_equal(images.decode(encoded(picture, "GIF")), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_grey_is_repeated(kind):
    """Grey becomes three equal channels."""
    decoded = images.decode(encoded(Image.fromarray(np.full((4, 4), 77, np.uint8)), kind))

    assert decoded.shape == (4, 4, 3)
    assert (decoded == 77).all()


def test_alpha_is_dropped_not_blended():
    """Transparent pixels keep their colour."""
    rgba = np.dstack([PIXELS, np.zeros((9, 7), np.uint8)])

    assert np.array_equal(images.decode(encoded(Image.fromarray(rgba), "PNG")), PIXELS)


def test_grey_with_alpha():
    """Grey with alpha keeps its grey."""
    pair = np.dstack([np.full((3, 3), 90, np.uint8), np.zeros((3, 3), np.uint8)])

    assert (images.decode(encoded(Image.fromarray(pair, "LA"), "PNG")) == 90).all()


def test_transparent_palette_colours_stay():
    """A palette's transparent entry is shown in its colour."""
    picture = Image.fromarray(PIXELS).quantize(4)

    decoded = images.decode(encoded(picture, "PNG", transparency=0))

    assert np.array_equal(decoded, np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize(("colour", "samples"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_count_by_the_high_byte(colour, samples):
    """Of 16-bit samples the high byte counts, in every colour type."""
    row = b"\x00" + (b"\x12\xff" * samples) * 2

    decoded = images.decode(png(2, 1, 16, colour, row))

    assert decoded.shape == (1, 2, 3)
    assert (decoded == 0x12).all()


@pytest.mark.parametrize(("bits", "value", "grey"), [(1, 0b10000000, 255), (2, 0b01000000, 85), (4, 0b00010000, 17)])
def test_few_bits_are_spread(bits, value, grey):
    """Grey of 1, 2 or 4 bits is spread over 0 to 255."""
    assert images.decode(png(1, 1, bits, 0, bytes([0, value])))[0, 0].tolist() == [grey] * 3


def test_cmyk_by_tensorflows_product():
    """An Adobe CMYK JPEG is the integer product of its stored inks with stored black over 255."""
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., :] = (10, 120, 200, 40)
    data = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, subsampling=0)
    stored = 255 - np.asarray(Image.open(io.BytesIO(data))).astype(int)

    decoded = images.decode(data)

    assert np.array_equal(decoded, stored[..., :3] * stored[..., 3:] // 255)
    assert np.abs(decoded[0, 0].astype(int) - [(255 - ink) * 215 // 255 for ink in (10, 120, 200)]).max() <= 3


def test_cmyk_without_an_adobe_marker():
    """Without the marker the stored values are amounts of ink, and the product is of what they leave."""
    inks = np.full((16, 16, 4), (10, 120, 200, 40), np.uint8)
    data = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, subsampling=0)
    start = data.index(b"\xff\xee")
    length = int.from_bytes(data[start + 2 : start + 4], "big")
    data = data[:start] + data[start + 2 + length :]

    decoded = images.decode(data)[0, 0].astype(int)

    # What the file stores is 255 - ink, so that the ink left over is what was put in.
    assert np.abs(decoded - [ink * 40 // 255 for ink in (10, 120, 200)]).max() <= 3


def test_stray_bytes_between_a_jpegs_parts():
    """A complete JPEG that strict decoders turn down is decoded all the same; of the cut ones none is."""
    data = encoded(Image.fromarray(PIXELS), "JPEG", quality=95)
    start = data.index(b"\xff\xda")

    decoded = images.decode(data[:start] + b"\0\1\2" + data[start:])

    assert np.abs(decoded.astype(int) - images.decode(data)).max() <= 10


def test_no_exif_rotation():
    """The orientation tag changes nothing."""
    exif = Image.Exif()
    exif[0x0112] = 6

    assert images.decode(encoded(Image.fromarray(PIXELS), "JPEG", exif=exif)).shape == (9, 7, 3)


def test_animation_is_refused():
    """An animated GIF is refused, as TensorFlow's decode_png refuses it."""
    frames = [Image.fromarray(RANDOM.integers(0, 256, (4, 4), dtype=np.uint8)) for _ in range(2)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])

    with pytest.raises(InvalidImage, match="animated"):
        images.decode(data)


@pytest.mark.parametrize("data", [b"", b"\x00", b"hello", b"RIFF\x00\x00\x00\x00WEBPVP8 ", b"%PDF-1.7", b"<svg/>"])
def test_other_bytes_are_no_image(data):
    """What does not start as one of the four kinds is refused without trying."""
    with pytest.raises(InvalidImage):
        images.decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_every_cut_is_refused_or_decoded(kind):
    """An image cut anywhere before its last bytes is InvalidImage, in words free of library names."""
    data = encoded(Image.fromarray(PIXELS), kind)

    for length in range(1, len(data) * 3 // 4):
        with pytest.raises(InvalidImage) as raised:
            images.decode(data[:length])
        assert "PIL" not in str(raised.value)


def test_too_many_pixels_by_the_header():
    """The pixel limit holds by the header alone, before memory is spent."""
    with pytest.raises(InvalidImage, match="20000 x 20000"):
        images.decode(png(20_000, 20_000, 8, 2, b""))


def test_narrow_images():
    """An image so narrow that resizing would blow it up is refused."""
    with pytest.raises(InvalidImage, match="64:1"):
        images.decode(encoded(Image.new("RGB", (1, 65)), "PNG"))

    assert images.decode(encoded(Image.new("RGB", (1, 64)), "PNG")).shape == (64, 1, 3)


def test_endless_scans():
    """A progressive JPEG with hundreds of scans is refused before the decoder starts."""
    data = encoded(Image.fromarray(PIXELS), "JPEG", progressive=True)

    with pytest.raises(InvalidImage, match="scans"):
        images.decode(data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 300 + data[-2:])


@settings(max_examples=200)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "BMP"]), st.data())
def test_damage_is_decoded_or_refused(kind, data):
    """Flipped bytes give pixels or InvalidImage, never another error."""
    original = bytearray(encoded(Image.fromarray(PIXELS), kind))
    for position in data.draw(st.lists(st.integers(0, len(original) - 1), min_size=1, max_size=6)):
        original[position] = data.draw(st.integers(0, 255))

    try:
        decoded = images.decode(bytes(original))
    except InvalidImage:
        return

    assert decoded.dtype == np.uint8
    assert decoded.ndim == 3
    assert decoded.shape[2] == 3


@settings(max_examples=200)
@given(st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b""]), st.binary(max_size=200))
def test_noise_behind_a_magic_number(magic, noise):
    """A right beginning with noise behind it is InvalidImage or pixels."""
    with contextlib.suppress(InvalidImage):
        assert images.decode(magic + noise).shape[2] == 3
