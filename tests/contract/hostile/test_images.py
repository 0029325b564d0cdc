"""Image files that are bombs, broken, or not what they seem, through the whole service."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from PIL import Image
from tests.contract.hostile.watching import MEBIBYTE, Beside, Process, worker
from tests.contract.runtime.conftest import azureml_metadata, request_bytes
from tests.support.pictures import encoded, header_of, picture, png, progressive, without_adobe
from tests.support.waiting import wait_for

from accelform_runtime.protocol import PREDICT

MOST_MEBIBYTES = 64
"""How much any of these may make the model's process grow."""
SECONDS = 60.0
"""Patience of a caller on a busy machine; nothing passes or fails by it."""
OUTPUT = "output_alias"


def zip_behind(data: bytes) -> bytes:
    """A file that is an image from its beginning and an archive from its end."""
    archive = io.BytesIO(data)
    archive.seek(0, io.SEEK_END)
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("evil.py", "raise SystemExit")
    return archive.getvalue()


def gif_bomb() -> bytes:
    """A GIF whose screen is 65535 x 65535."""
    plain = encoded(picture(4, 4).quantize(4), "GIF")
    return plain[:6] + b"\xff\xff\xff\xff" + plain[10:]


def animation() -> bytes:
    """A GIF of 500 pictures."""
    frames = [Image.new("L", (8, 8), n % 256) for n in range(500)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def bmp_bomb() -> bytes:
    """A BMP of 30000 x 30000 in 54 bytes."""
    plain = encoded(picture(4, 4), "BMP")
    return plain[:18] + (30000).to_bytes(4, "little") * 2 + plain[26:]


def text_chunks() -> bytes:
    """A PNG with a comment that unpacks to 100 MB."""
    plain = png(4, 4, 8, 2, (b"\0" + bytes(12)) * 4)
    body = b"zTXt" + b"x\0\0" + zlib.compress(bytes(100_000_000), 9)
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return plain[:33] + chunk + plain[33:]


JPEG = encoded(picture(64, 64), "JPEG")
PNG = encoded(picture(64, 64), "PNG")
REFUSED = {
    "empty": b"",
    "one-byte": b"\xff",
    "only-magic-jpeg": b"\xff\xd8\xff",
    "only-magic-png": b"\x89PNG\r\n\x1a\n",
    "only-magic-gif": b"GIF89a",
    "only-magic-bmp": b"BM",
    "no-image": b"%PDF-1.4\n" + bytes(100),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "tiff": encoded(picture(8, 8), "TIFF"),
    "webp": encoded(picture(8, 8), "WEBP"),
    "packed": gzip.compress(PNG),
    "archive-in-front": b"PK\x03\x04" + JPEG,
    "png-bomb": png(30_000, 30_000, 8, 2, bytes(1_000_000)),
    "png-bomb-2": png(2**31 - 1, 2**31 - 1, 16, 6, b""),
    "png-of-nothing": png(0, 0, 8, 2, b""),
    "jpeg-bomb": header_of(JPEG, 65_500, 65_500),
    "jpeg-of-nothing": header_of(JPEG, 0, 0),
    "gif-bomb": gif_bomb(),
    "bmp-bomb": bmp_bomb(),
    "1x65535": encoded(Image.new("RGB", (65_535, 1)), "PNG"),
    "65535x1": encoded(Image.new("L", (1, 65_500)), "JPEG"),
    "1000-scans": progressive(1000),
    "50000-scans": progressive(50_000),
    "animated": animation(),
    "200-scans-of-40-million-pixels": header_of(progressive(190), 6300, 6300),
    "png-of-tiny-chunks": PNG[:33] + (b"\0\0\0\0tEXt" + zlib.crc32(b"tEXt").to_bytes(4, "big")) * 1_000_000 + PNG[33:],
    "jpeg-of-tiny-segments": JPEG[:2] + b"\xff\xe1\0\2" * 2_000_000 + JPEG[20:300],
    "gif-of-a-million-remarks": gif_bomb()[:13] + b"\x21\xfe" + b"\x01a" * 2_000_000,
    "png-cut": PNG[: len(PNG) // 2],
    "jpeg-without-scans": JPEG[: JPEG.index(b"\xff\xda")],
    "png-bad-crc": PNG[:29] + bytes(4) + PNG[33:],
    "png-too-few-rows": png(64, 64, 8, 2, bytes(64)),
    "png-bad-depth": png(4, 4, 3, 2, bytes(100)),
}
TAKEN = {
    "png-comment-bomb": text_chunks(),
    "cmyk": encoded(picture(64, 64, "CMYK"), "JPEG"),
    "cmyk-without-adobe": without_adobe(encoded(picture(64, 64, "CMYK"), "JPEG")),
    "archive-behind": zip_behind(PNG),
    "archive-behind-jpeg": zip_behind(JPEG),
    "script-in-comment": JPEG[:2] + b"\xff\xfe\x00\x14<?php system(1);?>"[:20].ljust(20, b" ") + JPEG[2:],
    "one-pixel": encoded(picture(1, 1), "PNG"),
    "150-scans": progressive(150),
    "exif-that-is-none": JPEG[:2] + b"\xff\xe1\x00\x10Exif\0\0" + b"\xff" * 8 + JPEG[2:],
}


def ask(target, data: bytes) -> tuple[StatusCode, Any]:
    """The call's status, and its response when there is one; the worker's memory is bounded."""
    process = worker(target)
    before = process.forget_peak()
    try:
        response, _ = target.predict(request_bytes(data), timeout=SECONDS)
        code = StatusCode.OK
    except grpc.RpcError as error:
        response, code = error, error.code()
    assert (process.peak() - before) / MEBIBYTE < MOST_MEBIBYTES
    return code, response


@pytest.mark.parametrize("name", REFUSED)
def test_refused(target, name):
    """The file is INVALID_ARGUMENT, with a message that says what is wrong and no path of ours."""
    code, error = ask(target, REFUSED[name])

    assert code is StatusCode.INVALID_ARGUMENT
    assert error.details()
    assert "/" not in error.details()


@pytest.mark.parametrize("name", TAKEN)
def test_taken(target, name):
    """The file is an image, odd as it is, and is scored."""
    code, response = ask(target, TAKEN[name])

    assert code is StatusCode.OK, response
    assert np.isfinite(response.outputs[OUTPUT].float_val).all()


def test_names_do_not_count(target):
    """What a file is shows in its bytes: a PNG among JPEGs is read as one, wherever a client got it from."""
    request = request_bytes(PNG, JPEG, encoded(picture(64, 64).quantize(16), "GIF"), encoded(picture(64, 64), "BMP"))

    response, _ = target.predict(request)

    assert len(response.outputs[OUTPUT].float_val) == 40


def test_orientation_does_not_count(target):
    """As in TensorFlow's decoder an orientation in EXIF does not turn the image."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, plain = (encoded(picture(40, 60), "JPEG", **more) for more in ({"exif": exif}, {}))

    answers = [ask(target, data)[1].outputs[OUTPUT].float_val for data in (turned, plain)]

    assert list(answers[0]) == list(answers[1])


@pytest.mark.parametrize("end", [2, 10, 100, 300, 600])
def test_cut_jpegs(target, end):
    """A JPEG that ends early is INVALID_ARGUMENT, wherever it ends."""
    assert ask(target, JPEG[:end])[0] is StatusCode.INVALID_ARGUMENT
    assert ask(target, JPEG[:-end])[0] is StatusCode.INVALID_ARGUMENT


def test_the_largest_image(target):
    """40 million pixels are taken."""
    flat = encoded(Image.new("L", (8000, 5000)), "PNG")

    response, _ = target.predict(request_bytes(flat), timeout=SECONDS)

    assert response.outputs


def test_one_bad_image_among_good_ones(target):
    """A batch with a bomb in its middle is refused as a whole."""
    assert ask(target, JPEG)[0] is StatusCode.OK
    error = target.refusal(request_bytes(JPEG, REFUSED["png-bomb"], JPEG))

    assert error.code() is StatusCode.INVALID_ARGUMENT


def test_others_are_answered_meanwhile(target, question):
    """While one caller sends bombs, another one's calls are answered."""
    with Beside(target, question) as beside:
        for name in ("50000-scans", "png-bomb", "gif-bomb", "animated", "jpeg-bomb") * 4:
            ask(target, REFUSED[name])
        beside.wait(180)

    assert not beside.failures


def test_others_come_before_a_costly_image(target, question):
    """Calls that came after one with a costly image are answered before it."""
    order = []
    costly = (
        target.channel()
        .unary_unary(PREDICT)
        .future(request_bytes(scanned(5400, 16)), timeout=SECONDS, metadata=azureml_metadata())
    )
    costly.add_done_callback(lambda _: order.append("costly"))
    wait_for(lambda: costly.done() or helpers(worker(target)), "the image's decoding")
    for _ in range(3):
        target.predict(question, timeout=SECONDS)
        order.append("other")

    assert costly.code() is StatusCode.OK
    wait_for(lambda: "costly" in order, "the costly one's end")
    assert order[0] == "other"


def scanned(side: int, scans: int) -> bytes:
    """A grey JPEG of side x side pixels in that many scans."""
    data = encoded(Image.linear_gradient("L").resize((side, side)), "JPEG", progressive=True, quality=50)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * (scans - data.count(b"\xff\xda")) + data[-2:]


def helpers(process: Process) -> list[str]:
    """Processes that the worker has started."""
    return [word for file in Path(f"/proc/{process.id}/task").glob("*/children") for word in file.read_text().split()]
