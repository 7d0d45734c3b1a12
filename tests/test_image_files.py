import errno
import re
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from jorder_preproc import image_files
from jorder_preproc.errors import DiskFullError
from jorder_preproc.image_files import (
    ImageFileError,
    list_images,
    read_image,
    read_rgb,
    read_size,
    write_image,
    write_png,
)

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
ORIENTATION, MAKE, EXIF_IFD, EXPOSURE_TIME = 0x0112, 0x010F, 0x8769, 0x829A


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def png16(samples, transparent=None):
    """A 16-bit PNG without filters, by the specification: an independent writer."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return b"".join(
            (len(content).to_bytes(4, "big"), kind, content, checksum.to_bytes(4, "big"))
        )

    height, width, channels = samples.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((16, colour, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (b"" if transparent is None else chunk(b"tRNS", transparent.astype(">u2").tobytes()))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[MAKE] = "camera"
    path, again = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    Image.fromarray(noise(5, 9, 3)).save(path, exif=exif)
    with Image.open(path) as image:
        displayed = np.asarray(ImageOps.exif_transpose(image))

    image_file = read_image(path)
    np.testing.assert_array_equal(image_file.pixels, displayed)
    np.testing.assert_allclose(read_rgb(path).permute(1, 2, 0), displayed / 255, atol=1e-7)
    assert read_size(path) == displayed.shape[1::-1]
    write_image(again, image_file)
    with Image.open(again) as image:
        assert image.getexif().get(ORIENTATION, 1) == 1
        assert image.getexif()[MAKE] == "camera"
        assert image.size == displayed.shape[1::-1]
        if suffix in ("png", "tif"):
            np.testing.assert_array_equal(np.asarray(image), displayed)


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
def test_metadata_is_kept(tmp_path, suffix):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[MAKE] = "camera"
    exif.get_ifd(EXIF_IFD)[EXPOSURE_TIME] = 0.5
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(4, 6, 3)).save(path, exif=exif, icc_profile=profile, dpi=(300, 300))
    image_file = read_image(path)
    write_image(path, image_file)
    with Image.open(path) as image:
        assert image.info["icc_profile"] == profile
        assert image.getexif().get_ifd(EXIF_IFD)[EXPOSURE_TIME] == 0.5
        if suffix != "webp":
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize(
    ("mode", "suffix", "written"),
    [
        ("1", "png", "L"),
        ("L", "png", "L"),
        ("LA", "png", "LA"),
        ("RGB", "bmp", "RGB"),
        ("RGBA", "png", "RGBA"),
        ("RGBA", "tif", "RGBA"),
    ],
)
def test_modes_come_back_with_the_same_pixels(tmp_path, mode, suffix, written):
    path, again = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    Image.fromarray(noise(6, 5, 4)).convert(mode).save(path)
    image_file = read_image(path)
    assert image_file.pixels.shape == (6, 5, 3)
    write_image(again, image_file)
    with Image.open(path) as before, Image.open(again) as after:
        assert after.mode == written
        np.testing.assert_array_equal(
            np.asarray(after.convert("RGBA")), np.asarray(before.convert("RGBA"))
        )


def test_palette_becomes_colour(tmp_path):
    path = tmp_path / "a.png"
    image = Image.fromarray(noise(6, 5, 3)).quantize(8)
    image.save(path)
    image_file = read_image(path)
    np.testing.assert_array_equal(image_file.pixels, np.asarray(image.convert("RGB")))
    assert image_file.alpha is None


def test_transparent_palette_keeps_its_opacity(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise(6, 5, 3)).quantize(8).save(path, transparency=2)
    image_file = read_image(path)
    write_image(path, image_file)
    assert set(np.unique(image_file.alpha)) == {0, 255}
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image.getchannel("A")), image_file.alpha)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png(tmp_path, channels):
    path, again = tmp_path / "in.png", tmp_path / "out.png"
    samples = noise(7, 5, channels, dtype=np.uint16)
    path.write_bytes(png16(samples))
    image_file = read_image(path)
    grey = channels < 3
    assert image_file.grey == grey
    expected = np.repeat(samples[..., :1], 3, 2) if grey else samples[..., :3]
    np.testing.assert_array_equal(image_file.pixels, expected)
    if channels in (2, 4):
        np.testing.assert_array_equal(image_file.alpha, samples[..., -1])
    else:
        assert image_file.alpha is None

    write_image(again, image_file)
    repeated = read_image(again)
    np.testing.assert_array_equal(repeated.pixels, image_file.pixels)
    if channels == 1:  # the only kind that Pillow reads with all its bits
        np.testing.assert_array_equal(np.asarray(Image.open(again)), samples[..., 0])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_of_sixteen_bits_stays_transparent(tmp_path, channels):
    samples = noise(7, 5, channels, dtype=np.uint16)
    samples[2, 3] = samples[4, 1]
    path, again = tmp_path / "in.png", tmp_path / "out.png"
    path.write_bytes(png16(samples, samples[4, 1]))
    expected = np.full((7, 5), 65535)
    expected[2, 3] = expected[4, 1] = 0
    write_image(again, read_image(path))
    for file in (path, again):
        np.testing.assert_array_equal(read_image(file).alpha, expected)


def test_sixteen_bit_png_keeps_its_metadata(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = 6, "camera"
    path, again = tmp_path / "in.png", tmp_path / "out.png"
    samples = noise(4, 6, dtype=np.uint16)
    Image.fromarray(samples).save(path, exif=exif, icc_profile=profile, dpi=(300, 300))
    image_file = read_image(path)
    np.testing.assert_array_equal(image_file.pixels[..., 0], np.rot90(samples, -1))
    write_image(again, image_file)
    with Image.open(again) as image:
        assert image.info["icc_profile"] == profile
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert (image.getexif()[ORIENTATION], image.getexif()[MAKE]) == (1, "camera")


def test_sixteen_bit_grey_tiff(tmp_path):
    samples = noise(4, 6, dtype=np.uint16)
    path = tmp_path / "a.tif"
    Image.fromarray(samples).save(path)
    image_file = read_image(path)
    write_image(path, image_file)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), samples)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)])
def test_write_png(tmp_path, dtype, shape):
    pixels = noise(*shape, dtype=dtype)
    write_png(tmp_path / "a.png", pixels)
    read = read_image(tmp_path / "a.png").pixels
    np.testing.assert_array_equal(read, pixels if len(shape) == 3 else pixels[..., None] + 0 * read)


def test_grey_is_the_rounded_mean(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise(4, 6)).save(path)
    image_file = read_image(path)
    pixels = noise(4, 6, 3)
    write_image(path, replace(image_file, pixels=pixels))
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), np.rint(pixels.mean(2)))


def test_cmyk_becomes_rgb(tmp_path):
    path = tmp_path / "a.jpg"
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    ink.save(path, quality=100)
    image_file = read_image(path)
    assert abs(image_file.pixels.astype(int) - (255, 0, 0)).max() <= 2
    write_image(path, image_file)
    with Image.open(path) as image:
        assert image.mode == "RGB"


def test_sixteen_bits_stay_as_floats(tmp_path):
    samples = noise(3, 5, 3, dtype=np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(png16(samples))
    np.testing.assert_allclose(read_rgb(path).permute(1, 2, 0), samples / 65535, atol=1e-7)


def test_errors_of_reading_name_the_file(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"no image")
    with pytest.raises(ImageFileError, match=r"a\.jpg: not an image"):
        read_rgb(path)
    with pytest.raises(ImageFileError, match="cannot identify"):
        read_size(path)
    for read in (read_rgb, read_size):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "none.jpg")


def test_images_of_a_folder(tmp_path):
    (tmp_path / "b" / "c.png").mkdir(parents=True)  # a folder, whatever it is called
    (tmp_path / ".thumbs").mkdir()
    for name in (
        "2.JPG",
        "1.png",
        ".hidden.png",
        ".thumbs/5.png",
        "notes.txt",
        "b/3.tiff",
        "b/c.png/4.webp",
    ):
        (tmp_path / name).touch()
    assert list_images(tmp_path) == [tmp_path / "1.png", tmp_path / "2.JPG"]
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path, True)]
    assert found == ["1.png", "2.JPG", "b/3.tiff", "b/c.png/4.webp"]


def test_wrong_suffix_is_no_obstacle(tmp_path):
    path = tmp_path / "really_png.jpg"
    Image.fromarray(noise(4, 6, 3)).save(path, "PNG")
    image_file = read_image(path)
    write_image(path, image_file)
    with Image.open(path) as image:
        assert image.format == "PNG"


def test_camera_previews_are_not_an_animation(tmp_path):
    path = tmp_path / "a.jpg"
    large, preview = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (8, 8), "blue")
    large.save(path, "MPO", save_all=True, append_images=[preview])
    image_file = read_image(path)
    assert image_file.format == "JPEG"
    assert image_file.pixels.shape == (16, 16, 3)


def save_animation(path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def save_truncated(path):
    Image.fromarray(noise(64, 64, 3)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])


def save_truncated16(path):
    path.write_bytes(png16(noise(64, 64, 3, dtype=np.uint16))[:-2000])


@pytest.mark.parametrize(
    ("name", "save", "message"),
    [
        ("a.jpg", lambda path: path.write_text("not an image"), "not an image.* expected a JPEG"),
        ("a.jpg", lambda path: path.write_bytes(b""), "not an image"),
        ("a.jpg", save_truncated, "damaged image .*truncated.*replace or repair"),
        ("a.png", save_truncated, "damaged image"),
        ("a.png", save_truncated16, "damaged image"),
        ("a.gif", save_animation, "2 images in one GIF file .*extract them first"),
        ("a.tif", save_animation, "2 images in one TIFF file .*extract them first"),
        ("a.tif", lambda path: Image.new("F", (2, 2)).save(path), "32-bit pixels .*8 or 16 bits"),
    ],
)
def test_bad_files(tmp_path, name, save, message):
    save(tmp_path / name)
    with pytest.raises(ImageFileError, match=message):
        read_image(tmp_path / name)


def test_sixteen_bit_colour_tiff_is_refused_rather_than_cut(tmp_path):
    path = tmp_path / "a.tif"
    # one 1 x 1 RGB pixel: width, height, bits (at 134), raw, RGB, strip (at 140), channels, ...
    tags = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 3, 134), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 140), (277, 3, 1, 3), (278, 3, 1, 1), (279, 4, 1, 6), (284, 3, 1, 1)]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    header = b"II*\0" + struct.pack("<IH", 8, len(tags))
    content = header + directory + bytes(4) + struct.pack("<6H", 16, 16, 16, 1, 2, 3)
    path.write_bytes(content)
    with pytest.raises(ImageFileError, match="16-bit colour TIFF; save the image as 16-bit PNG"):
        read_image(path)


def test_pixel_limit_is_ours_and_pillows_is_left_alone(tmp_path, monkeypatch):
    check = image_files._check
    path = tmp_path / "a.png"
    Image.new("RGB", (20, 10)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # Pillow would refuse more than twice that
    assert read_image(path).pixels.shape == (10, 20, 3)
    assert read_size(path) == (20, 10)
    assert Image.MAX_IMAGE_PIXELS == 50
    # also where several threads read at once: they all wait in the middle
    meet = threading.Barrier(4)
    monkeypatch.setattr(image_files, "_check", lambda image: meet.wait(10))
    with ThreadPoolExecutor(4) as pool:
        assert [image.grey for image in pool.map(read_image, [path] * 8)] == [False] * 8
    assert Image.MAX_IMAGE_PIXELS == 50
    monkeypatch.setattr(image_files, "_check", check)
    monkeypatch.setattr(image_files, "MAX_PIXELS", 199)
    with pytest.raises(ImageFileError, match="20 x 10 pixels are more than"):
        read_image(path)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
def test_failed_write_leaves_what_was_there(tmp_path, monkeypatch, format):
    path = tmp_path / "a"
    Image.new("RGB", (4, 4)).save(path, format)
    before = path.read_bytes()
    image_file = read_image(path)

    def fail_half_way(path, content):
        with path.open("wb") as file:
            file.write(content[:20])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail_half_way)
    with pytest.raises(DiskFullError, match="no space left to write .*a; free some"):
        write_image(path, image_file)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@contextmanager
def at_most_50_mb():
    """Fails if the block takes more memory, where the system tells."""
    if not Path("/proc/self/clear_refs").exists():
        yield
        return
    peak = re.compile(r"VmHWM:\s+(\d+) kB")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is used
    before = int(peak.search(Path("/proc/self/status").read_text())[1])
    yield
    assert int(peak.search(Path("/proc/self/status").read_text())[1]) - before < 50_000


def png_bomb(side, bits, colour=2, text=b""):
    """A PNG that says it has `side` squared pixels, with 80 MB of zeros in 80 kB."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    zeros = zlib.compressobj()
    content = b"".join(zeros.compress(bytes(1 << 20)) for _ in range(80)) + zeros.flush()
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    if text:
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(text, b"a\0\0" + content)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", content), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def large_gif():
    """A GIF of one pixel on a canvas of four billion."""
    file = BytesIO()
    Image.new("L", (1, 1)).save(file, "GIF")
    return b"GIF89a" + struct.pack("<HH", 65535, 65535) + file.getvalue()[10:]


def endless_tiff():
    """A TIFF whose second directory is followed by itself."""
    entries = [(256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (279, 16)]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    first = 8 + 16
    second = first + len(directory) + 4
    start = b"II*\0" + struct.pack("<I", first) + bytes(16)
    return start + (directory + struct.pack("<I", second)) * 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: png_bomb(60_000, 8), "60000 x 60000 pixels are more than 256 megapixels"),
        (lambda: png_bomb(60_000, 16), "60000 x 60000 pixels are more than 256 megapixels"),
        (lambda: png_bomb(8, 8, text=b"iCCP"), "damaged image"),
        (lambda: png_bomb(8, 8, text=b"zTXt"), "damaged image"),
        (large_gif, "65535 x 65535 pixels"),
        (endless_tiff, "2 images in one TIFF file"),
        # PostScript, for which Pillow starts another program
        (lambda: EPS, "not an image"),
    ],
    ids=["8 bits", "16 bits", "profile", "text", "GIF", "endless", "EPS"],
)
def test_small_files_that_would_grow_are_refused(tmp_path, make, message):
    path = tmp_path / "a.png"
    path.write_bytes(make())
    with at_most_50_mb(), pytest.raises(ImageFileError, match=message):
        read_image(path)


@pytest.mark.parametrize("bits", [8, 16])
def test_no_more_is_unpacked_than_the_image_holds(tmp_path, bits):
    path = tmp_path / "a.png"
    path.write_bytes(png_bomb(8, bits))
    with at_most_50_mb():
        assert not read_image(path).pixels.any()


def test_the_size_of_other_formats_is_not_read(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(EPS)
    with pytest.raises(ImageFileError, match="cannot identify"):
        read_size(path)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("exif", [b"", b"MM\0*\0\0\0\x08\0\0\0\0\0\0"])  # an own chunk before
def test_webp_stays_lossless(tmp_path, lossless, exif):
    pixels = noise(9, 7, 3)
    path = tmp_path / "a.webp"
    Image.fromarray(pixels).save(path, lossless=lossless, exif=exif)
    image = read_image(path)
    write_image(path, image)
    assert np.array_equal(read_image(path).pixels, image.pixels) == lossless


def test_an_exif_tag_of_the_wrong_type_is_left_out(tmp_path):
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif.update({0x010F: "a camera", 0x011A: 72.0})
    content = exif.tobytes()
    order = "<" if b"II" in content[:8] else ">"
    # XResolution as text, type 2, in place of a fraction, type 5
    entry, wrong = (struct.pack(f"{order}HH", 0x011A, kind) for kind in (5, 2))
    assert entry in content
    Image.fromarray(noise(4, 4, 3)).save(path, exif=content.replace(entry, wrong))
    image = read_image(path)
    write_image(path, image)
    with Image.open(path) as written:
        assert dict(written.getexif()) == {0x010F: "a camera"}
