"""Derain video files; needs the extra `video`, PyAV, which brings FFmpeg along.

Frames are read, derained and written one at a time, so that memory does not grow with the length
of a clip. Finished segments lie in a hidden folder beside the result until it is whole: an
interrupted run continues behind the last of them.
"""

from __future__ import annotations

import heapq
import itertools
import json
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jorder_preproc.atomic import atomic_path, write_text
from jorder_preproc.errors import UserError
from jorder_preproc.functional.derain import Dry, Step, derain, rain_probability
from jorder_preproc.models.deveil import DeveilNetwork
from jorder_preproc.models.jorder import Jorder

if TYPE_CHECKING:
    import av

SEGMENT_FRAMES = 100
SAMPLES = 9
"""Frames that decide whether it rains in a clip."""

_FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
}
_ENCODERS: Mapping[str, Mapping[str, str]] = {
    "libx264": {"crf": "18"},
    "libx265": {"crf": "20"},
    "libvpx-vp9": {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4"},
    "ffv1": {},
}
_SAME_ENCODER = {"hevc": "libx265", "vp9": "libvpx-vp9", "ffv1": "ffv1"}
# swscale's bicubic, full_chroma_int, full_chroma_inp and accurate_rnd: without the last three a
# conversion to RGB and back darkens images by more than a grey level, and bilinear with them gives
# wrong colours in 16 bits
_CONVERSION = 0x4 | 0x2000 | 0x4000 | 0x40000
_COLOURS = ("color_range", "colorspace", "color_primaries", "color_trc")
_FULL_RANGE = 2

Report = Callable[[int, int | None], None]
"""Called with the frames done and the estimated number of all, if it is known."""


class DerainedVideo(NamedTuple):
    """What was done.

    Attributes:
        rain_probability: of the clip, in [0, 1]; None if the network cannot tell, or was not
            asked since everything is to be derained.
        left_alone: the result is a copy of the file.
    """

    rain_probability: float | None
    left_alone: bool


def is_video(path: str | Path) -> bool:
    """Whether a name ends as those of video files do."""
    return Path(path).suffix.lower() in _FORMATS


def derain_video(
    source: Path,
    target: Path,
    network: Jorder,
    *,
    tile: int | None = None,
    deveil_model: DeveilNetwork | None = None,
    dry: Dry = "leave",
    settings: Mapping[str, object] | None = None,
    report: Report = lambda done, total: None,
) -> DerainedVideo:
    """Derain the first video stream of a file.

    Kept: the frames' times, size and rotation, 8 or 10 bits, the streams of sound, which are
    copied, and the file's tags. The codec is that of the file where it is HEVC, VP9 or FFV1, and
    otherwise H.264 (VP9 in `.webm`). Subtitles and further video streams are left out.

    Whether it rains is decided once for the whole clip, so that frames do not change back and
    forth: by the median of the probabilities of rain of `SAMPLES` frames spread over it.

    Args:
        source: file to read.
        target: file to write, with the same ending; its folder must exist.
        network: what `load_model` returns.
        tile: see `derain`.
        deveil_model: removes the veil of rain accumulation from every frame; None leaves it.
        dry: `leave` copies a file in which the network sees no rain, or removes its veil alone;
            `derain` derains all.
        settings: what the result depends on besides the source; where this or the source
            has changed, segments of an earlier run are not used.
        report: see `Report`.

    Raises:
        ValueError: another ending, no video stream, opacity, or a damaged file.
        ImportError: PyAV is not installed.
    """
    if source.suffix.lower() != target.suffix.lower():
        raise UserError(
            f"a video keeps its ending: {source.name} cannot become {target.name}; name the "
            f"result {target.with_suffix(source.suffix).name}"
        )
    try:
        import av as pyav
    except ImportError as error:
        raise ImportError("video needs PyAV: pip install 'jorder-preproc[video]'") from error
    try:
        probability: float | None = None
        order: tuple[Step, ...] | None = None
        if dry == "leave" and network.presence is not None:
            samples = _sample(pyav, source)
            probability = statistics.median(
                rain_probability(network, _to_tensor(frame), tile=tile).item() for frame in samples
            )
            if probability < network.dry_threshold:
                if deveil_model is None:
                    with atomic_path(target) as temporary:
                        shutil.copyfile(source, temporary)
                    return DerainedVideo(probability, True)
                order = ("deveil",)

        def change(image: Tensor) -> Tensor:
            return derain(
                network,
                image,
                tile=tile,
                deveil=deveil_model is not None,
                deveil_model=deveil_model,
                order=order,
                dry="derain",
            ).background

        _check_opacity(pyav, source)
        settings = {**(settings or {}), "order": order}
        folder = _prepare_segments(pyav, source, target, settings)
        rotation = _write_segments(pyav, source, folder, change, report)
        _join(pyav, source, folder, target, rotation)
        shutil.rmtree(folder)
    except pyav.FFmpegError as error:
        raise UserError(
            f"{source} cannot be read to its end, or {target} not written ({error}); "
            "repair the file, or convert it with ffmpeg"
        ) from error
    return DerainedVideo(probability, False)


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
    if not container.streams.video:
        raise UserError(f"{container.name} holds no video stream; give a video file")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream


def _check_opacity(pyav: Any, source: Path) -> None:
    with pyav.open(str(source)) as container:
        format = _video_stream(container).codec_context.format
        if format is not None and any(component.is_alpha for component in format.components):
            raise UserError(
                f"{source} has opacity, which would be lost; convert it without, as by "
                "ffmpeg -pix_fmt yuv420p"
            )


def _sample(pyav: Any, source: Path) -> Iterator[av.VideoFrame]:
    """`SAMPLES` frames spread over a clip; of one whose length is unknown the first ones."""
    with pyav.open(str(source)) as container:
        stream = _video_stream(container)
        length = container.duration
        for number in range(SAMPLES):
            moment = 0.0
            if length is not None:
                start = container.start_time or 0
                offset = start + int(length * (number + 0.5) / SAMPLES)
                container.seek(offset)
                moment = offset / pyav.time_base
            last = None
            for frame in container.decode(stream):
                last = frame
                if frame.time is None or frame.time >= moment:
                    break
            if last is not None:
                yield last


def _to_tensor(frame: av.VideoFrame) -> Tensor:
    """Upright, uint8 or uint16 RGB (3, H, W)."""
    deep = max(component.bits for component in frame.format.components) > 8
    rgb = frame.reformat(format="rgb48le" if deep else "rgb24", interpolation=_CONVERSION)
    pixels: NDArray[Any] = rgb.to_ndarray()
    upright = np.rot90(pixels, frame.rotation // 90)
    return torch.from_numpy(np.ascontiguousarray(upright)).permute(2, 0, 1)


def _to_frame(pyav: Any, image: Tensor, like: av.VideoFrame, format: str | None) -> av.VideoFrame:
    """The inverse of `_to_tensor`, with the time and the colours of another frame."""
    turned = np.rot90(image.permute(1, 2, 0).numpy(), -(like.rotation // 90))
    pixels = np.ascontiguousarray(turned)
    rgb = pyav.VideoFrame.from_ndarray(pixels, "rgb48le" if pixels.dtype == np.uint16 else "rgb24")
    frame: av.VideoFrame = rgb.reformat(
        format=format,
        interpolation=_CONVERSION,
        dst_colorspace=like.colorspace,
        dst_color_range=_FULL_RANGE if "yuvj" in like.format.name else like.color_range,
    )
    frame.pts, frame.time_base = like.pts, like.time_base
    return frame


def _prepare_segments(
    pyav: Any, source: Path, target: Path, settings: Mapping[str, object]
) -> Path:
    """The folder for segments, with those of an earlier run if they can be used."""
    folder = target.with_name(f".{target.name}.segments")
    about = source.stat()
    origin = {
        "source": str(source.resolve()),
        "size": about.st_size,
        "modified": about.st_mtime_ns,
        "frames": SEGMENT_FRAMES,
        "av": pyav.__version__,
    }
    text = json.dumps(origin | dict(settings), sort_keys=True, default=str)
    record = folder / "settings.json"
    if not record.is_file() or record.read_text(encoding="utf-8") != text:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_text(record, text)
    for unfinished in folder.glob(".*.tmp"):
        unfinished.unlink()
    return folder


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.nut"))


def _write_segments(
    pyav: Any, source: Path, folder: Path, change: Callable[[Tensor], Tensor], report: Report
) -> int:
    """Write the segments that are missing; returns the rotation of the frames, degrees."""
    with pyav.open(str(source)) as container:
        stream = _video_stream(container)
        rotation, total = 0, _count(pyav, container, stream)
        frames = enumerate(container.decode(stream), 1)
        there = len(_segments(folder))
        for done, frame in itertools.islice(frames, there * SEGMENT_FRAMES):
            rotation = frame.rotation
            report(done, total)
        for number in itertools.count(there):
            first = next(frames, None)
            if first is None:
                break
            # NUT keeps the times of the frames as they are
            with (
                atomic_path(folder / f"{number:06d}.nut") as temporary,
                pyav.open(str(temporary), "w", format="nut") as out,
            ):
                encoder = _add_encoder(pyav, out, stream, first[1], source.suffix.lower())
                rest = itertools.islice(frames, SEGMENT_FRAMES - 1)
                for done, frame in itertools.chain([first], rest):
                    if frame.pts is None:
                        raise UserError(
                            f"{source} has frames without a time; convert it with ffmpeg first"
                        )
                    rotation = frame.rotation
                    derained = change(_to_tensor(frame))
                    out.mux(encoder.encode(_to_frame(pyav, derained, frame, encoder.pix_fmt)))
                    report(done, total)
                out.mux(encoder.encode())
    if not _segments(folder):
        raise UserError(f"{source} holds no frames; give a video file")
    return rotation


def _count(pyav: Any, container: Any, stream: av.VideoStream) -> int | None:
    """The number of frames, or an estimate, or None."""
    if stream.frames or container.duration is None or not stream.average_rate:
        return stream.frames or None
    seconds: float = container.duration / pyav.time_base
    return round(seconds * float(stream.average_rate))


def _add_encoder(
    pyav: Any, out: Any, like: av.VideoStream, frame: av.VideoFrame, suffix: str
) -> av.VideoStream:
    name = _SAME_ENCODER.get(like.codec.canonical_name)
    name = name or ("libvpx-vp9" if suffix == ".webm" else "libx264")
    rate = like.average_rate or Fraction(25)
    stream: av.VideoStream = out.add_stream(name, rate=rate, options=dict(_ENCODERS[name]))
    stream.width, stream.height = frame.width, frame.height
    able = [format.name for format in pyav.codec.Codec(name, "w").video_formats or []]
    stream.pix_fmt = next(wanted for wanted in _alternatives(frame.format) if wanted in able)
    if name in ("libx264", "libx265") and (frame.width % 2 or frame.height % 2):
        # which halve the resolution of colour for even sizes alone
        stream.pix_fmt = stream.pix_fmt.replace("yuv420p", "yuv444p").replace("yuv422p", "yuv444p")
    context, given = stream.codec_context, like.codec_context
    for name in _COLOURS:
        setattr(context, name, getattr(given, name))
    if frame.time_base is not None:
        context.time_base = frame.time_base
    context.max_b_frames = 0  # so that segments can be joined: packets in the order of frames
    if given.sample_aspect_ratio:
        context.sample_aspect_ratio = given.sample_aspect_ratio
    return stream


def _alternatives(format: av.VideoFormat) -> Iterator[str]:
    """A format of pixels, and such as encoders know, the most like it first."""
    yield format.name.replace("yuvj", "yuv")
    across, down = 16 // format.chroma_width(16), 16 // format.chroma_height(16)
    colour = {(1, 1): "444", (2, 1): "422"}.get((across, down), "420")
    if max(component.bits for component in format.components) > 8:
        yield f"yuv{colour}p10le"
    yield f"yuv{colour}p"
    yield "yuv420p"


def _join(pyav: Any, source: Path, folder: Path, target: Path, rotation: int) -> None:
    """Write the segments, and the sound of the source, to one file."""
    with (
        atomic_path(target) as temporary,
        pyav.open(str(source)) as given,
        pyav.open(str(temporary), "w", format=_FORMATS[target.suffix.lower()]) as out,
    ):
        out.metadata.update(given.metadata)
        with pyav.open(str(_segments(folder)[0])) as segment:
            like = segment.streams.video[0]
            video = out.add_stream_from_template(like)
            video.time_base = like.time_base
        origin, context = given.streams.video[0], video.codec_context
        if origin.average_rate:
            context.framerate = origin.average_rate
            if target.suffix.lower() == ".avi":  # which counts frames instead of telling times
                video.time_base = 1 / origin.average_rate
        for name in _COLOURS:  # which some codecs leave to the file
            setattr(context, name, getattr(origin.codec_context, name))
        if rotation:
            video.set_display_rotation(rotation)
        sound = {one.index: out.add_stream_from_template(one) for one in given.streams.audio}

        def pictures() -> Iterator[Any]:
            for path in _segments(folder):
                with pyav.open(str(path)) as segment:
                    yield from ((packet, video) for packet in segment.demux(video=0))

        sounds = given.demux(given.streams.audio) if sound else ()
        streams = pictures(), ((packet, sound[packet.stream.index]) for packet in sounds)
        # the empty packet at the end of a stream has no time
        timed = [filter(lambda pair: pair[0].dts is not None, stream) for stream in streams]
        for packet, stream in heapq.merge(*timed, key=lambda pair: pair[0].dts * pair[0].time_base):
            packet.stream = stream
            out.mux_one(packet)
