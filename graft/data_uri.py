"""Pictures inside a page, so that it is one file."""

import base64
import io

from PIL import Image

_LOSSLESS_UP_TO = 96
_LARGEST = 320


def data_uri(image: Image.Image, *, lossless: bool | None = None) -> str:
    """A picture inside a page: small ones as they are, others as JPEG of at most 320 pixels."""
    stream = io.BytesIO()
    if lossless is None:
        lossless = max(image.size) <= _LOSSLESS_UP_TO
    if lossless:
        image.save(stream, "PNG")
    else:
        image.thumbnail((_LARGEST, _LARGEST))
        image.save(stream, "JPEG", quality=88)
    return png_uri(stream.getvalue(), "png" if lossless else "jpeg")


def png_uri(content: bytes, kind: str = "png") -> str:
    """A file as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
