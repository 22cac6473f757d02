"""One image file's bytes to an array: what the file is, is decided by its content; damage and bombs are errors.

Every format's size is read from its header and compared with the limits before a pixel is decoded.
"""

import io
import struct
import zlib
from pathlib import Path
from typing import TypeAlias

import cv2
import imagecodecs
import numpy as np
import tifffile
from jaxtyping import Shaped

MAX_SIDE = 4096
"""Largest width or height of an image, in pixels."""

MAX_PLANES = 16
"""Largest number of channels in one file."""

MAX_BYTES = MAX_SIDE * MAX_SIDE * 2 * 5
"""Largest file, packed or unpacked: four channels of 16 bits at the largest side, with room to spare."""

PNG, JPEG, GZIP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\x1f\x8b"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

Decoded: TypeAlias = Shaped[np.ndarray, "height width planes"]


class ImageError(ValueError):
    """An image that cannot be used.

    Attributes:
        problem: short code as `problems.csv` lists it: missing_file, unreadable, not_an_image, truncated, corrupt,
            too_large, channel_count, pixel_type, size_mismatch.
    """

    def __init__(self, problem: str, message: str) -> None:
        self.problem = problem
        self.message = message
        super().__init__(problem, message)

    def __str__(self) -> str:
        return self.message


def decode_file(path: Path) -> Decoded:
    """Read one PNG, JPEG or TIFF file, gzipped or not.

    Returns:
        (height, width, planes) of uint8 or uint16; colours in the order red, green, blue, (alpha or a fourth channel).

    Raises:
        ImageError: missing, unreadable, not an image, truncated, corrupt, or too large.
    """
    try:
        if not path.is_file():
            raise ImageError("missing_file", f"{path}: there is no such file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ImageError("too_large", f"{path}: the file has {size} bytes, at most {MAX_BYTES} are read")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError("unreadable", f"{path}: cannot be read ({error.strerror})") from None
    try:
        return decode(data)
    except ImageError as error:
        raise ImageError(error.problem, f"{path}: {error.message}") from None


def decode(data: bytes) -> Decoded:
    """Decode the bytes of a PNG, JPEG or TIFF file, gzipped or not; returns and raises as `decode_file`."""
    if data.startswith(GZIP):
        data = _unpack(data)
    if data.startswith(PNG):
        image = _decode_png(data)
    elif data.startswith(JPEG):
        image = _decode_jpeg(data)
    elif data.startswith(TIFF):
        image = _decode_tiff(data)
    elif not data:
        raise ImageError("truncated", "the file is empty")
    else:
        raise ImageError("not_an_image", f"expected a PNG, JPEG or TIFF file, but it starts with {data[:8]!r}")
    return image if image.ndim == 3 else image[:, :, np.newaxis]


def check_size(width: int, height: int, planes: int = 1) -> None:
    """Refuse sizes outside 1 to MAX_SIDE; raises ImageError."""
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise ImageError("too_large", f"expected sides of 1 to {MAX_SIDE} pixels, but got {width} x {height}")
    if not 1 <= planes <= MAX_PLANES:
        raise ImageError("channel_count", f"expected at most {MAX_PLANES} channels in a file, but got {planes}")


def check_type(dtype: np.dtype) -> None:
    """Refuse pixel types other than uint8, uint16 and bool; raises ImageError."""
    if dtype not in (np.uint8, np.uint16, np.bool_):
        raise ImageError("pixel_type", f"expected pixels of 8 or 16 bits, unsigned, but got {dtype}")


def _unpack(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(data, MAX_BYTES + 1)
    except zlib.error as error:
        raise ImageError("corrupt", f"damaged gzip data ({error})") from None
    if len(unpacked) > MAX_BYTES:
        raise ImageError("too_large", f"unpacks to more than {MAX_BYTES} bytes")
    if not unpacker.eof:
        raise ImageError("truncated", "the gzip data ends too early")
    return unpacked


def _decode_png(data: bytes) -> np.ndarray:
    _check_png(data)
    try:
        image: np.ndarray = imagecodecs.png_decode(data)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise ImageError("corrupt", f"damaged PNG data ({error})") from None
    # Grey with alpha: the alpha plane holds no signal.
    return image[:, :, 0] if image.ndim == 3 and image.shape[2] == 2 else image


def _check_png(data: bytes) -> None:
    """Check the size and every chunk's checksum; decoders differ in how much damage they let pass."""
    view = memoryview(data)
    at = len(PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if at == len(PNG):
            if kind != b"IHDR" or length != 13:
                raise ImageError("corrupt", "the PNG does not start with its header")
            check_size(*struct.unpack_from(">II", data, at + 8))
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise ImageError("corrupt", f"wrong checksum in the PNG's chunk {kind!r}")
        if kind == b"IEND":
            return
        at = end
    raise ImageError("truncated", "the PNG ends before its end mark")


def _decode_jpeg(data: bytes) -> np.ndarray:
    planes = _check_jpeg(data)
    # Orientation marks are left alone, as the size in the header is what every table says.
    flags = cv2.IMREAD_GRAYSCALE if planes == 1 else cv2.IMREAD_COLOR_RGB
    try:
        image: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError("corrupt", f"damaged JPEG data ({error})") from None
    if image is None:
        raise ImageError("corrupt", "damaged JPEG data")
    return image


def _check_jpeg(data: bytes) -> int:
    """Check size and end of a JPEG; the number of its components (ITU T.81, B.1 and B.2).

    Damage inside the compressed data cannot be told from a picture in general: JPEG has no checksum.
    """
    at, planes = 2, 0
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise ImageError("corrupt", "damaged JPEG header")
        marker = data[at + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if at + 10 > len(data):
                break
            depth, height, width, planes = struct.unpack_from(">BHHB", data, at + 4)
            check_size(width, height)
            if depth != 8:
                raise ImageError("pixel_type", f"expected a JPEG of 8 bits, but got {depth}")
        if marker == 0xDA:
            # A decoder fills what is missing with grey and says nothing, so the end mark decides.
            if not planes:
                raise ImageError("corrupt", "the JPEG has pixels before its size")
            if data.find(b"\xff\xd9", at) < 0:
                break
            return planes
        at += 2 + length
    raise ImageError("truncated", "the JPEG ends before its end mark")


def _decode_tiff(data: bytes) -> np.ndarray:
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            series = file.series[0]
            order = _plane_order(series.axes, series.shape)
            height, width, planes = (series.shape[axis] if axis is not None else 1 for axis in order)
            check_size(width, height, planes)
            check_type(series.dtype)
            image: np.ndarray = series.asarray()
            inverted = series.keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    except ImageError:
        raise
    except Exception as error:
        # A parser over foreign bytes fails in many ways; none of them may end a run over thousands of files.
        raise ImageError("corrupt", f"damaged TIFF data ({error})") from None
    axes = [axis for axis in order if axis is not None]
    image = image.transpose(axes + [axis for axis in range(image.ndim) if axis not in axes])
    image = image.reshape(height, width, planes)
    if image.dtype == np.bool_:
        image = image.astype(np.uint8) * 255
    return np.iinfo(image.dtype).max - image if inverted else image


def _plane_order(axes: str, shape: tuple[int, ...]) -> tuple[int, int, int | None]:
    """Positions of the axes of height, width and channel (None: a single plane), by tifffile's letters."""
    if "Y" not in axes or "X" not in axes:
        raise ImageError("channel_count", f"expected an image with height and width, but the TIFF holds {axes!r}")
    others = [axis for axis, letter in enumerate(axes) if letter not in "YX" and shape[axis] != 1]
    if len(others) > 1 or any(axes[axis] in "ZTR" for axis in others):
        raise ImageError("channel_count", f"expected one image, but the TIFF holds a stack: {axes} = {shape}")
    return axes.index("Y"), axes.index("X"), others[0] if others else None
