"""Image files: pixels, or InvalidImage."""

from __future__ import annotations

from tools.fuzz.driver import fuzz, instrumented

with instrumented(__name__):
    from accelform_runtime.errors import InvalidImage
    from accelform_runtime.worker import headers, images, pictures

MOST_PIXELS = 1_000_000


def check(data: bytes) -> None:
    """Raises where an image is neither decoded nor refused."""
    limit, headers.MAX_PIXELS = headers.MAX_PIXELS, MOST_PIXELS  # type: ignore[misc] # a large one is no finding
    try:
        pixels = images.decode(data)
    except InvalidImage:
        return
    finally:
        headers.MAX_PIXELS = limit  # type: ignore[misc]
    assert pixels.dtype == "uint8"
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.shape[0] * pixels.shape[1] <= MOST_PIXELS


IMPORTED_TO_BE_LOOKED_INTO = (pictures,)

if __name__ == "__main__":
    fuzz(check, "images")
