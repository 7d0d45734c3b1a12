"""A video, frame by frame, as `jorder derain clip.mp4 -o out.mp4` does.

python -m examples.video
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import av

from examples.photograph import print_quality, rainy_photograph
from jorder_preproc import load_model
from jorder_preproc.video import derain_video


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clip, target = Path(folder, "clip.mkv"), Path(folder, "derained.mkv")
        with av.open(str(clip), "w") as out:
            stream = out.add_stream("ffv1", rate=25)
            stream.height, stream.width, _ = rainy_photograph().shape
            stream.pix_fmt = "yuv444p"
            for _ in range(3):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(rainy_photograph())))
            out.mux(stream.encode())

        print(derain_video(clip, target, load_model()))
        with av.open(str(target)) as container:
            for frame in container.decode(video=0):
                print_quality(frame.to_ndarray(format="rgb24"))


if __name__ == "__main__":
    main()
