"""The download of the published weights, against a real HTTP server on the loopback interface."""

from __future__ import annotations

import hashlib
import http.server
import io
import re
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from accelform.errors import DownloadUnavailable, WeightsUnreadable
from accelform.featurizers.families import FAMILIES
from accelform.featurizers.weights import imagenet
from accelform.featurizers.weights.imagenet import imagenet_weights

RESNET = FAMILIES["resnet50"]
DATA = Path(__file__).parents[2] / "unit" / "weights" / "data"
CHECKPOINT = (DATA / "stem_v1.ckpt").read_bytes()
Handle = Callable[[http.server.BaseHTTPRequestHandler], None]


def archive(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as content:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            content.addfile(info, io.BytesIO(data))
    return stream.getvalue()


GOOD = archive({"readme.txt": b"hello", "./resnet_v1_50.ckpt": CHECKPOINT})


class Mirror:
    """A web server with one answer; remembers what it was asked for."""

    def __init__(self, handle: Handle) -> None:
        self.paths: list[str] = []
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.paths.append(self.path)
                handle(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()
        self.folder = f"http://127.0.0.1:{self.server.server_port}/models"
        self.url = f"http://127.0.0.1:{self.server.server_port}/models/resnet_v1_50_2016_08_28.tar.gz"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[[bytes | Handle], Mirror]]:
    mirrors: list[Mirror] = []

    def start(answer: bytes | Handle) -> Mirror:
        def send(request: http.server.BaseHTTPRequestHandler) -> None:
            assert isinstance(answer, bytes)
            request.send_response(200)
            request.send_header("Content-Length", str(len(answer)))
            request.end_headers()
            request.wfile.write(answer)

        mirrors.append(Mirror(send if isinstance(answer, bytes) else answer))
        return mirrors[-1]

    yield start
    for mirror in mirrors:
        mirror.close()


def environ(tmp_path: Path, url: str) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "ACCELFORM_IMAGENET_URL": url}


def cached(tmp_path: Path) -> list[str]:
    files = (tmp_path / "cache" / "accelform" / "weights").iterdir()
    return sorted(path.name for path in files if path.suffix != ".sha256")


def test_it_downloads_once_and_shows_how_far_it_is(tmp_path: Path, serve: Callable[[bytes], Mirror]) -> None:
    """The arrays are the file's; the second time they come from the cache; progress carries numbers."""
    mirror, lines = serve(GOOD), list[str]()
    first = imagenet_weights(RESNET, progress=lines.append, environ=environ(tmp_path, mirror.url))
    second = imagenet_weights(RESNET, progress=lines.append, environ=environ(tmp_path, mirror.url))

    wanted = np.load(DATA / "arrays.npz")
    assert set(first) == set(second) == set(wanted.files)
    for name in wanted.files:
        np.testing.assert_array_equal(first[name], wanted[name])
    assert len(mirror.paths) == 1
    assert lines[0] == f"Downloading {mirror.url}"
    assert "of 0.0 MB (100%)" in lines[1]
    assert len(cached(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "file"),
    [("resnet50", "resnet_v1_50.ckpt"), ("resnet152", "resnet_v1_152.ckpt"), ("vgg16", "vgg_16.ckpt")],
)
def test_a_mirror_has_every_familys_archive(
    tmp_path: Path, serve: Callable[[bytes], Mirror], name: str, file: str
) -> None:
    """A folder's address is followed by the archive's own name, and the family's file is taken out of it."""
    mirror = serve(archive({"other.ckpt": b"", file: CHECKPOINT}))
    for folder in (mirror.folder, f"{mirror.folder}/"):
        arrays = imagenet_weights(FAMILIES[name], progress=print, environ=environ(tmp_path, folder))

    assert "resnet_v1_50/conv1/weights" in arrays
    assert set(mirror.paths) == {f"/models/{file.removesuffix('.ckpt')}_2016_08_28.tar.gz"}


def test_what_may_come_is_as_large_as_the_network(tmp_path: Path, serve: Callable[[Handle], Mirror]) -> None:
    """VGG-16 takes 553 MB in float32; an archive of that size is fine for it, and far too large for ResNet-50."""

    def announce(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(600_000_000))
        request.end_headers()

    folder = serve(announce).folder
    with pytest.raises(DownloadUnavailable, match="closed after 0 of 600000000"):
        imagenet_weights(FAMILIES["vgg16"], progress=print, environ=environ(tmp_path, folder))
    with pytest.raises(DownloadUnavailable, match="600000000 bytes, more than"):
        imagenet_weights(RESNET, progress=print, environ=environ(tmp_path, folder))


def test_a_family_without_published_weights() -> None:
    """Specifications refuse it before; here it is a mistake of the program."""
    with pytest.raises(ValueError, match="no published ImageNet weights of ssd_vgg"):
        imagenet_weights(FAMILIES["ssd_vgg"], progress=print)


def test_progress_comes_in_steps(
    tmp_path: Path, serve: Callable[[bytes], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long download reports several times on the way, with bytes and per cent."""
    monkeypatch.setattr(imagenet, "PROGRESS_STEP_BYTES", 1 << 20)
    filler = np.random.RandomState(0).bytes(5 << 20)
    lines: list[str] = []
    answer = archive({"filler.bin": filler, "resnet_v1_50.ckpt": CHECKPOINT})
    imagenet_weights(RESNET, progress=lines.append, environ=environ(tmp_path, serve(answer).url))

    steps = [line for line in lines if line.startswith("Downloaded")]
    assert len(steps) >= 5
    assert all(line.endswith("%)") for line in steps)


def test_no_network_says_what_to_do(tmp_path: Path) -> None:
    """The message names the address, the place for the file, the mirror setting and the other way out."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/resnet_v1_50_2016_08_28.tar.gz"
        with pytest.raises(DownloadUnavailable) as caught:
            imagenet_weights(RESNET, progress=print, environ=environ(tmp_path, url))

    message = str(caught.value)
    place = tmp_path / "cache" / "accelform" / "weights" / "resnet_v1_50_2016_08_28.tar.gz"
    for part in (url, "no connection", str(place), "ACCELFORM_IMAGENET_URL", "source: file"):
        assert part in message
    assert cached(tmp_path) == []


def test_an_archive_put_there_by_hand_is_used(tmp_path: Path) -> None:
    """What the message advises works, without any network."""
    folder = tmp_path / "cache" / "accelform" / "weights"
    folder.mkdir(parents=True)
    (folder / "resnet_v1_50_2016_08_28.tar.gz").write_bytes(GOOD)
    lines: list[str] = []
    arrays = imagenet_weights(RESNET, progress=lines.append, environ={"XDG_CACHE_HOME": str(tmp_path / "cache")})

    assert "resnet_v1_50/conv1/weights" in arrays
    assert "put there by hand" in lines[0]


def not_found(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_error(404)


def too_large(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(1 << 40))
    request.end_headers()


def cut_off(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(GOOD)))
    request.end_headers()
    request.wfile.write(GOOD[: len(GOOD) // 2])


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (not_found, "answered 404"),
        (too_large, "1099511627776 bytes, more than"),
        (cut_off, "closed after"),
        (b"<html>captive portal</html>", "Not a gzipped file"),
        (GOOD[:-40], "end-of-stream"),
        (archive({"other.txt": b"x"}), "holds no resnet_v1_50.ckpt"),
        (archive({"resnet_v1_50.ckpt": b"x" * 100}), "no TensorFlow V1 checkpoint"),
        (archive({"filler.bin": bytes(301 << 20)}), "unpacks to more than"),
    ],
    ids=["404", "too large", "cut off", "not an archive", "cut archive", "no checkpoint", "not a checkpoint", "bomb"],
)
def test_a_bad_answer_leaves_nothing_behind(
    tmp_path: Path, serve: Callable[[bytes | Handle], Mirror], answer: bytes | Handle, problem: str
) -> None:
    """Every way a download can go wrong is a message, and the cache stays empty so that the next try is clean."""
    with pytest.raises(DownloadUnavailable, match=problem):
        imagenet_weights(RESNET, progress=print, environ=environ(tmp_path, serve(answer).url))

    assert cached(tmp_path) == []


def test_a_server_that_dribbles_is_given_up(tmp_path: Path, serve: Callable[[Handle], Mirror]) -> None:
    """The whole download has a deadline, however alive the connection looks."""
    stop = threading.Event()

    def dribble(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while not stop.wait(0.02):
                request.wfile.write(b"x")
        except OSError:
            pass

    try:
        with pytest.raises(DownloadUnavailable, match="time was up"):
            imagenet_weights(RESNET, progress=print, environ=environ(tmp_path, serve(dribble).url), timeout_seconds=0.3)
    finally:
        stop.set()


def test_a_hostile_archive_reaches_nowhere(tmp_path: Path, serve: Callable[[bytes], Mirror]) -> None:
    """Paths with .., absolute paths and links in the archive have no effect outside the one file in the cache."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as content:
        for name in ("../../escaped.txt", str(tmp_path / "absolute.txt")):
            info = tarfile.TarInfo(name)
            info.size = 1
            content.addfile(info, io.BytesIO(b"x"))
        link = tarfile.TarInfo("resnet_v1_50.ckpt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        content.addfile(link)
        info = tarfile.TarInfo("../../../resnet_v1_50.ckpt")
        info.size = len(CHECKPOINT)
        content.addfile(info, io.BytesIO(CHECKPOINT))
    arrays = imagenet_weights(RESNET, progress=print, environ=environ(tmp_path, serve(stream.getvalue()).url))

    assert "resnet_v1_50/conv1/weights" in arrays
    assert len(cached(tmp_path)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]


@pytest.mark.parametrize("address", [f"file://{DATA}/stem_v1.ckpt", "http://mirror.example/models/"])
def test_only_encrypted_addresses_are_followed(tmp_path: Path, address: str) -> None:
    """file:// and the like are refused, and plain http to another machine."""
    with pytest.raises(DownloadUnavailable, match="must be an https address"):
        imagenet_weights(RESNET, progress=print, environ=environ(tmp_path, address))


def test_other_weights_than_the_first_time_are_refused(tmp_path: Path, serve: Callable[[bytes], Mirror]) -> None:
    """The first download's digest is told and kept; a file that changed in the cache is refused with both."""
    url, lines = serve(GOOD).url, list[str]()
    imagenet_weights(RESNET, progress=lines.append, environ=environ(tmp_path, url))
    digest = hashlib.sha256(CHECKPOINT).hexdigest()
    assert f"sha256 {digest})" in lines[-1]
    (file,) = (tmp_path / "cache" / "accelform" / "weights").glob("*.ckpt")
    changed = bytearray(CHECKPOINT)
    changed[-100] ^= 1
    file.write_bytes(changed)
    with pytest.raises(WeightsUnreadable, match=f"is not what was downloaded: .*, and was {digest}"):
        imagenet_weights(RESNET, progress=print, environ=environ(tmp_path, url))


def test_a_damaged_cache_is_reported_with_its_place(tmp_path: Path, serve: Callable[[bytes], Mirror]) -> None:
    """A checkpoint that was cut in the cache names itself."""
    url = serve(GOOD).url
    imagenet_weights(RESNET, progress=print, environ=environ(tmp_path, url))
    (file,) = (tmp_path / "cache" / "accelform" / "weights").glob("*.ckpt")
    file.write_bytes(CHECKPOINT[:1000])
    with pytest.raises(WeightsUnreadable, match=f"Delete {re.escape(str(file))}"):
        imagenet_weights(RESNET, progress=print, environ=environ(tmp_path, url))
