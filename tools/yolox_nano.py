"""YOLOX-nano's ONNX file as a checkpoint for mmdet: `python tools/yolox_nano.py ONNX OUT`.

The authors publish YOLOX-nano, trained on COCO, as `yolox_nano.onnx` (Apache 2.0). The file
holds the layers of their PyTorch code with batch normalisation folded into the convolutions. They
are put into mmdet's network, whose batch normalisation then only adds the folded bias; of COCO's
80 classes, those of VOC are kept, in VOC's order. The checkpoint fits
`configs/voc/yolox_nano.py` and is written if its outputs on images are those of
ONNX Runtime.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import skimage.data
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from onnx import numpy_helper
from PIL import Image, ImageOps
from torch import Tensor, nn

CONFIG = Path(__file__).parents[1] / "configs" / "voc" / "yolox_nano.py"

# of VOC's classes in VOC's order, their places among COCO's
COCO_CLASSES = (4, 1, 14, 8, 39, 5, 2, 15, 56, 19, 60, 16, 17, 3, 0, 58, 18, 57, 6, 62)

_EDGE_PX = 416
_TOLERANCE = 1e-3  # of box offsets and of probabilities

Folded = tuple[Tensor, Tensor]
"""Weight and bias of a convolution."""


def read_convolutions(file: str | Path) -> tuple[list[Folded], dict[str, Folded]]:
    """The convolutions of the file, in the order of computation, and those of the last layer.

    Returns:
        The convolutions with a folded batch normalisation; and by name, such as
        `cls_preds.0`, the three of each level that predict classes, boxes and objectness.
    """
    graph = onnx.load(str(file)).graph
    arrays = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in graph.initializer
    }
    hidden, last = [], {}
    for node in graph.node:
        if node.op_type == "Conv":
            _, weight, bias = node.input
            if "_preds." in weight:
                last[weight.removeprefix("head.").removesuffix(".weight")] = (
                    arrays[weight],
                    arrays[bias],
                )
            else:
                hidden.append((arrays[weight], arrays[bias]))
    return hidden, last


def convolutions_in_order(detector: nn.Module) -> Iterator[nn.Module]:
    """mmdet's convolutions with batch normalisation, in the order of YOLOX's own code."""
    backbone, neck, head = detector.backbone, detector.neck, detector.bbox_head
    parts = [backbone.stem, *(getattr(backbone, f"stage{k}") for k in range(1, 5))]
    for level in range(2):  # top-down
        parts += [neck.reduce_layers[level], neck.top_down_blocks[level]]
    for level in range(2):  # bottom-up
        parts += [neck.downsamples[level], neck.bottom_up_blocks[level]]
    for level in range(3):
        parts += [
            neck.out_convs[level],
            head.multi_level_cls_convs[level],
            head.multi_level_reg_convs[level],
        ]
    for part in parts:
        yield from _convolutions_of(part)


def _convolutions_of(part: nn.Module) -> Iterator[nn.Module]:
    if hasattr(part, "main_conv"):  # YOLOX computes the two entries first, then the blocks
        for child in (part.main_conv, part.short_conv, part.blocks, part.final_conv):
            yield from _convolutions_of(child)
    elif hasattr(part, "conv") and hasattr(part, "bn"):
        yield part
    else:
        for child in part.children():
            yield from _convolutions_of(child)


@torch.no_grad()
def load(detector: nn.Module, file: str | Path) -> None:
    """Put the file's weights into mmdet's detector.

    Raises:
        ValueError: the layers do not match.
    """
    hidden, last = read_convolutions(file)
    own = list(convolutions_in_order(detector))
    if len(own) != len(hidden):
        raise ValueError(
            f"{file} has {len(hidden)} convolutions with batch normalisation, mmdet's yolox_nano "
            f"has {len(own)}"
        )
    for number, (module, (weight, bias)) in enumerate(zip(own, hidden, strict=True)):
        if module.conv.weight.shape != weight.shape:
            raise ValueError(
                f"convolution {number} of {file} is {tuple(weight.shape)}, mmdet's is "
                f"{tuple(module.conv.weight.shape)}"
            )
        module.conv.weight.copy_(weight)
        module.bn.running_mean.zero_()
        module.bn.running_var.fill_(1 - module.bn.eps)  # divides by exactly 1
        module.bn.weight.fill_(1)
        module.bn.bias.copy_(bias)
    head = detector.bbox_head
    rows = torch.tensor(COCO_CLASSES)
    for level in range(3):
        for name, convolution in (
            ("reg", head.multi_level_conv_reg[level]),
            ("obj", head.multi_level_conv_obj[level]),
            ("cls", head.multi_level_conv_cls[level]),
        ):
            weight, bias = last[f"{name}_preds.{level}"]
            if name == "cls":
                weight, bias = weight[rows], bias[rows]
            convolution.weight.copy_(weight)
            convolution.bias.copy_(bias)


@torch.inference_mode()
def largest_difference(detector: nn.Module, file: str | Path) -> float:
    """Of box offsets and probabilities, between mmdet on images and ONNX Runtime on the file."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    differences = []
    for pixels in _examples():
        (expected,) = session.run(None, {session.get_inputs()[0].name: pixels[None]})
        classes, boxes, objectness = detector(torch.from_numpy(pixels[None]), mode="tensor")
        actual = _flatten(boxes, [o.sigmoid() for o in objectness], [c.sigmoid() for c in classes])
        columns = [*range(5), *(5 + row for row in COCO_CLASSES)]
        differences.append(np.abs(actual.numpy() - expected[..., columns]).max())
    return float(max(differences))


def _flatten(*outputs: Sequence[Tensor]) -> Tensor:
    """Outputs of all levels, (1, C, H, W) each, as (1, cells, all channels)."""
    levels = [torch.cat(level, 1).flatten(2) for level in zip(*outputs, strict=True)]
    return torch.cat(levels, 2).permute(0, 2, 1)


def _examples() -> Iterator[np.ndarray]:
    """Photographs as the network takes them: BGR, 0 to 255, float32 (3, 416, 416)."""
    for photo in (skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()):
        image = ImageOps.fit(Image.fromarray(photo), (_EDGE_PX, _EDGE_PX))
        yield np.ascontiguousarray(np.asarray(image)[..., ::-1].transpose(2, 0, 1), np.float32)


def build_detector() -> nn.Module:
    """mmdet's network, with VOC's classes, for inference."""
    register_all_modules()
    return MODELS.build(Config.fromfile(CONFIG).model).eval()


def main() -> None:
    """Convert, check, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("onnx", type=Path, help="the authors' yolox_nano.onnx")
    parser.add_argument("out", type=Path, help="checkpoint to write, .pth")
    args = parser.parse_args()
    detector = build_detector()
    load(detector, args.onnx)
    difference = largest_difference(detector, args.onnx)
    if not difference <= _TOLERANCE:
        raise SystemExit(
            f"error: the outputs differ by up to {difference:.2g} from those of ONNX Runtime, "
            f"{_TOLERANCE:g} at most was expected; nothing was written"
        )
    torch.save({"state_dict": detector.state_dict()}, args.out)
    print(f"{args.out}: outputs within {difference:.2g} of ONNX Runtime's")


if __name__ == "__main__":
    main()
