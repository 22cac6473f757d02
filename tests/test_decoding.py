"""Oracles: Pillow, tifffile and gzip write the files; what is read must be what they wrote."""

import gzip
import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hpa.decoding import MAX_BYTES, MAX_SIDE, ImageError, decode, decode_file

NOISE = np.random.default_rng(0).integers(0, 256, (37, 53, 4), np.uint8)
WIDE = np.random.default_rng(1).integers(0, 65536, (37, 53), np.uint16)


def encode(image, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def tiff(image, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, image, **options)
    return stream.getvalue()


def problem_of(data):
    with pytest.raises(ImageError) as caught:
        decode(data)
    return caught.value.problem


@pytest.mark.parametrize("planes", [1, 3, 4])
def test_png_of_8_bits_is_read_as_written(planes):
    image = NOISE[:, :, :planes]
    assert np.array_equal(decode(encode(image.squeeze(), "PNG")), image)


def test_png_of_16_bits_is_read_as_written():
    assert np.array_equal(decode(encode(WIDE, "PNG"))[:, :, 0], WIDE)


def test_png_with_palette_and_with_one_bit():
    grey = Image.fromarray(NOISE[:, :, 0])
    for mode in ("P", "1"):
        stream = io.BytesIO()
        grey.convert(mode).save(stream, "PNG")
        expected = np.asarray(grey.convert(mode).convert("L"))
        assert np.array_equal(decode(stream.getvalue())[:, :, 0], expected)


def test_the_alpha_of_a_grey_png_is_left_out():
    grey = np.dstack([NOISE[:, :, 0], np.full((37, 53), 255, np.uint8)])
    assert np.array_equal(decode(encode(grey, "PNG"))[:, :, 0], NOISE[:, :, 0])


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "zstd"])
@pytest.mark.parametrize("image", [WIDE, NOISE[:, :, 0], NOISE[:, :, :3]], ids=["16", "8", "rgb"])
def test_tiff_is_read_as_written(compression, image):
    assert np.array_equal(decode(tiff(image, compression=compression)).squeeze(), image)


def test_tiff_with_channels_first_and_in_pages():
    first = np.ascontiguousarray(NOISE.transpose(2, 0, 1))
    assert np.array_equal(decode(tiff(first, photometric="minisblack", metadata={"axes": "CYX"})), NOISE)
    assert np.array_equal(decode(tiff(first, photometric="minisblack", metadata=None)), NOISE)
    assert np.array_equal(decode(tiff(first[:3], photometric="rgb", planarconfig="separate")), NOISE[:, :, :3])


def test_tiff_of_one_row_of_pixels():
    assert decode(tiff(NOISE[:1, :, 0])).shape == (1, 53, 1)


def test_tiff_with_white_as_zero_is_turned_round():
    assert np.array_equal(decode(tiff(WIDE, photometric="miniswhite"))[:, :, 0], 65535 - WIDE)


def test_tiff_of_one_bit():
    mask = NOISE[:, :, 0] > 127
    assert np.array_equal(decode(tiff(mask, photometric="minisblack"))[:, :, 0], np.where(mask, 255, 0))


@pytest.mark.parametrize(
    ("image", "axes", "problem"),
    [(np.zeros((5, 8, 9), np.uint8), "ZYX", "channel_count"), (np.zeros((8, 9), np.float32), "YX", "pixel_type")],
    ids=["stack", "float"],
)
def test_tiff_that_is_no_single_picture(image, axes, problem):
    assert problem_of(tiff(image, photometric="minisblack", metadata={"axes": axes})) == problem


def test_gzipped_files_are_unpacked():
    assert np.array_equal(decode(gzip.compress(tiff(WIDE)))[:, :, 0], WIDE)


@pytest.mark.parametrize("planes", [1, 3])
def test_jpeg_is_read_as_pillow_reads_it(planes):
    smooth = np.linspace(0, 255, 64 * 96 * planes).reshape(64, 96, planes).astype(np.uint8).squeeze()
    data = encode(smooth, "JPEG", quality=90)
    ours, theirs = decode(data).squeeze().astype(int), np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert np.abs(ours - theirs).max() <= 2


def test_jpeg_orientation_is_left_alone():
    data = encode(
        NOISE[:, :, :3], "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    )
    assert decode(data).shape == (37, 53, 3)


def test_the_content_decides_not_the_name(tmp_path):
    path = tmp_path / "picture.jpg"
    path.write_bytes(encode(NOISE[:, :, :3], "PNG"))
    assert np.array_equal(decode_file(path), NOISE[:, :, :3])


FILES = {
    "png": encode(NOISE[:, :, 0], "PNG"),
    "png16": encode(WIDE, "PNG"),
    "jpeg": encode(NOISE[:, :, :3], "JPEG"),
    "tiff": tiff(WIDE),
    "tiff_zlib": tiff(WIDE, compression="zlib", rowsperstrip=5),
    "tif.gz": gzip.compress(tiff(WIDE)),
}


@pytest.mark.parametrize("name", FILES)
@given(part=st.floats(0, 0.98))
@settings(max_examples=15, deadline=None)
def test_any_truncated_file_is_an_error(name, part):
    data = FILES[name]
    assert problem_of(data[: int(part * len(data))]) in ("truncated", "corrupt", "not_an_image")


@pytest.mark.parametrize("name", FILES)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_damage_never_gives_anything_but_an_image_or_an_image_error(name, seed):
    rng = np.random.default_rng(seed)
    data = np.frombuffer(FILES[name], np.uint8).copy()
    data[rng.integers(0, len(data), 20)] = rng.integers(0, 256, 20)
    try:
        image = decode(data.tobytes())
    except ImageError:
        return
    assert image.ndim == 3


@pytest.mark.parametrize("at", [40, 200, -20])
def test_a_changed_bit_in_a_png_is_noticed(at):
    data = bytearray(FILES["png"])
    data[at] ^= 1
    assert problem_of(bytes(data)) == "corrupt"


def test_a_png_without_its_end_mark_is_truncated():
    assert problem_of(FILES["png"][:-12]) == "truncated"


def test_a_jpeg_without_its_end_mark_is_truncated():
    assert problem_of(FILES["jpeg"][:-2]) == "truncated"


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<html>not found</html>"])
def test_what_is_no_image(data):
    assert problem_of(data) == ("not_an_image" if data else "truncated")


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1 << 20), 9)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def jpeg_bomb():
    data = bytearray(FILES["jpeg"])
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65000, 65000)
    return bytes(data)


def tiff_bomb():
    return tiff(np.zeros((1, MAX_SIDE + 1), np.uint8))


@pytest.mark.parametrize(
    "data",
    [png_bomb(60_000, 60_000), png_bomb(MAX_SIDE + 1, 1), png_bomb(0, 5), jpeg_bomb(), tiff_bomb()],
    ids=["png", "png just above", "png of no width", "jpeg", "tiff"],
)
def test_sizes_outside_the_limits_are_refused(data):
    assert problem_of(data) == "too_large"


def test_the_largest_side_is_allowed():
    assert decode(tiff(np.zeros((3, MAX_SIDE), np.uint8))).shape == (3, MAX_SIDE, 1)


def test_a_gzip_bomb_is_refused():
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(1 << 24)
    data = b"".join(packer.compress(block) for _ in range(MAX_BYTES // len(block) + 1)) + packer.flush()
    assert len(data) < 1 << 20
    assert problem_of(data) == "too_large"


def test_a_tiff_strip_that_unpacks_to_more_than_its_size_is_refused():
    data = bytearray(tiff(np.zeros((64, 64), np.uint8), compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        tags = file.pages.first.tags
        places = tags["StripByteCounts"].valueoffset, tags["StripOffsets"].valueoffset
    bomb = zlib.compress(bytes(20 << 20), 9)
    for place, value in zip(places, (len(bomb), len(data)), strict=True):
        data[place : place + 4] = struct.pack("<I", value)
    assert problem_of(bytes(data) + bomb) == "corrupt"


def test_a_missing_file_a_folder_and_an_unreadable_one(tmp_path, monkeypatch):
    with pytest.raises(ImageError, match="no such file") as caught:
        decode_file(tmp_path / "none.png")
    assert caught.value.problem == "missing_file"
    with pytest.raises(ImageError, match="no such file"):
        decode_file(tmp_path)
    path = tmp_path / "a.png"
    path.write_bytes(FILES["png"])

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(ImageError, match="Permission denied") as caught:
        decode_file(path)
    assert caught.value.problem == "unreadable"


def test_a_file_too_large_to_be_an_image_is_not_read(tmp_path):
    path = tmp_path / "a.png"
    with path.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(ImageError) as caught:
        decode_file(path)
    assert caught.value.problem == "too_large"
