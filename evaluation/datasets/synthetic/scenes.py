"""Street scenes drawn from a seed, with exact labels: the images of the built-in benchmark.

Textured sky, ground and walls, and objects of twelve classes, told by their shape, with random
colour, size, pose, light and surroundings, which occlude each other. They contain no
photograph, and no derainer was trained on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Pixels = NDArray[Any]
Colour = NDArray[Any]
Rng = np.random.Generator

STUFF = ("sky", "ground", "wall")
OBJECTS = (
    *("balloon", "barrel", "bench", "bicycle", "bus", "car", "cone", "dog", "person", "sign"),
    *("traffic_light", "tree"),
)
LABELS = STUFF + OBJECTS
"""Classes of the label maps: their values start at 1; 0 stands for none of them."""

SCENE_SIZE = (384, 512)
PORTRAIT_SIZE = (336, 336)

_OVERSAMPLING = 2
_LEAST_VISIBLE = 0.25  # of an object's pixels, or it is not annotated
_DIFFICULT_VISIBLE = 0.5
# as shares of the image's height
_LEAST_SIDE = 0.03
_DIFFICULT_SIDE = 0.06


@dataclass(frozen=True)
class Scene:
    """An image with its annotations.

    Attributes:
        image: uint8 RGB (H, W, 3).
        labels: uint8 (H, W); 0 for none, else 1 + index into `LABELS`.
        boxes: int (n, 4), x1 y1 x2 y2 of the visible part, first and last pixel.
        classes: int (n,), indices into `OBJECTS`.
        difficult: bool (n,), mostly occluded or tiny.
    """

    image: Pixels
    labels: Pixels
    boxes: Pixels
    classes: Pixels
    difficult: Pixels


@dataclass(frozen=True)
class _Part:
    """A surface of an object, in the object's unit square, y downwards."""

    shape: str  # polygon, ellipse, line, ring
    points: Sequence[tuple[float, float]]
    colour: Colour
    width: float = 0.0  # of lines and rings, in heights of the object
    roughness: float = 0.05


def draw_scene(rng: Rng, size: tuple[int, int] = SCENE_SIZE) -> Scene:
    """Draw a street with three to eight objects.

    Args:
        rng: source of all randomness.
        size: height and width, px, at least 64.
    """
    canvas = _Canvas(rng, size)
    height, width = size
    number = int(rng.integers(3, 9))
    kinds = rng.integers(len(OBJECTS), size=number).tolist()
    # from far to near, as near objects occlude far ones
    for depth in np.sort(rng.uniform(0, 1, number)):
        kind = kinds.pop()
        side = height * (0.13 + 0.45 * depth**1.3) * rng.uniform(0.8, 1.25)
        if OBJECTS[kind] == "balloon":
            bottom = rng.uniform(0.15, 0.9) * canvas.horizon + 0.3 * side
        else:
            bottom = canvas.horizon + (height - canvas.horizon) * (0.1 + 0.9 * depth)
        canvas.place(kind, side, rng.uniform(-0.05, 1.05) * width, bottom)
    return canvas.finish()


def draw_portrait(
    rng: Rng,
    kind: int,
    size: tuple[int, int] = PORTRAIT_SIZE,
    object_size: tuple[float, float] = (0.4, 0.85),
) -> Scene:
    """Draw a street with one large object and smaller ones of other classes behind it.

    Args:
        rng: source of all randomness.
        kind: index into `OBJECTS`.
        size: height and width, px, at least 64.
        object_size: range of the large object's size, relative to the height.
    """
    canvas = _Canvas(rng, size)
    height, width = size
    for _ in range(int(rng.integers(0, 3))):
        other = int(rng.integers(len(OBJECTS)))
        side = height * rng.uniform(0.1, 0.22)
        centre = rng.uniform(0, 1) * width
        canvas.place(other, side, centre, canvas.horizon + height * rng.uniform(0, 0.12))
    side = height * rng.uniform(*object_size)
    bottom = height * rng.uniform(0.8, 1.02)
    if OBJECTS[kind] == "balloon":
        bottom = height * rng.uniform(0.6, 0.9)
    canvas.place(kind, side, width * rng.uniform(0.35, 0.65), bottom, fit=width * 0.95)
    return canvas.finish()


class _Canvas:
    """A scene being drawn: background first, then objects from far to near."""

    def __init__(self, rng: Rng, size: tuple[int, int]):
        self.rng = rng
        self.height, self.width = size
        self.horizon = float(rng.uniform(0.3, 0.6)) * self.height
        self.light = _Light(rng)
        self.labels = np.zeros(size, np.uint8)
        self.instances = np.full(size, -1, np.int16)
        self.objects: list[tuple[int, int]] = []  # class, pixels before occlusion
        self.image = np.empty((*size, 3), np.float32)
        self._draw_sky()
        self._draw_walls()
        self._draw_ground()

    def _draw_sky(self) -> None:
        rng, rows = self.rng, np.linspace(0, 1, self.height, dtype=np.float32)[:, None, None]
        top = np.array([0.35, 0.55, 0.85]) * rng.uniform(0.7, 1.2) + rng.normal(0, 0.05, 3)
        low = np.array([0.8, 0.85, 0.9]) * rng.uniform(0.7, 1.1) + rng.normal(0, 0.05, 3)
        sky = top + (low - top) * rows
        clouds = _noise(rng, (self.height, self.width), 4, 3) + rng.uniform(-0.4, 0.2)
        clouds = np.clip(clouds, 0, 1)[..., None] * rng.uniform(0.2, 0.8)
        self.image[:] = sky * (1 - clouds) + np.float32(0.95) * clouds
        self.labels[:] = 1 + LABELS.index("sky")

    def _draw_walls(self) -> None:
        rng = self.rng
        left = rng.uniform(-0.3, 0.4) * self.width
        for _ in range(int(rng.integers(0, 4))):
            wide = rng.uniform(0.2, 0.5) * self.width
            high = rng.uniform(0.4, 1.1) * self.horizon
            columns = slice(max(int(left), 0), max(int(left + wide), 0))
            rows = slice(max(int(self.horizon - high), 0), int(self.horizon) + 1)
            area = self.image[rows, columns]
            if area.size:
                area[:] = _wall(rng, (area.shape[0], area.shape[1]), self.height)
                self.labels[rows, columns] = 1 + LABELS.index("wall")
            left += wide * rng.uniform(0.9, 1.6)

    def _draw_ground(self) -> None:
        rng, top = self.rng, int(self.horizon)
        shape = (self.height - top, self.width)
        base = _pick(rng, [(0.45, 0.45, 0.46), (0.36, 0.46, 0.24), (0.6, 0.53, 0.4)], 0.06)
        texture = 0.6 * _noise(rng, shape, 3, 3) + 0.4 * rng.normal(0, 0.6, shape)
        nearness = np.linspace(0.4, 1, shape[0])[:, None]
        shade = 1 + rng.uniform(0.08, 0.25) * texture * nearness
        ground = base * shade[..., None]
        if rng.random() < 0.5:  # markings of a lane, towards the vanishing point
            mark = Image.new("L", (shape[1], shape[0]))
            vanishing, foot = rng.uniform(0, 1, 2) * self.width
            half = 0.03 * self.height
            points = [(vanishing, 0), (foot - half, shape[0]), (foot + half, shape[0])]
            ImageDraw.Draw(mark).polygon(points, fill=200)
            opacity = np.asarray(mark, np.float32)[..., None] / 255
            ground = ground * (1 - opacity) + 0.85 * opacity
        self.image[top:] = ground
        self.labels[top:] = 1 + LABELS.index("ground")

    def place(
        self, kind: int, side: float, centre: float, bottom: float, fit: float | None = None
    ) -> None:
        """Draw an object `side` px high that stands on row `bottom`; at most `fit` px wide."""
        rng = self.rng
        aspect, parts = _DRAW[kind](rng)
        side = min(side, fit / aspect) if fit is not None else side
        turn = rng.normal(0, 0.04)
        mirrored = rng.random() < 0.5
        left, top = centre - side * aspect / 2, bottom - side
        margin = int(0.12 * side) + 2
        x0, y0 = max(int(left) - margin, 0), max(int(top) - margin, 0)
        x1 = min(int(left + side * aspect) + margin, self.width)
        y1 = min(int(bottom) + margin, self.height)
        if x1 <= x0 or y1 <= y0:
            return
        area, shape = self.image[y0:y1, x0:x1], (y1 - y0, x1 - x0)

        def to_area(point: tuple[float, float]) -> tuple[float, float]:
            across, down = (1 - point[0] if mirrored else point[0]), point[1]
            x = left + side * (aspect * across + turn * (0.5 - down)) - x0
            y = top + side * down - y0
            return x, y

        self._drop_shadow(kind, centre, bottom, side * aspect)
        ramp = self.light.ramp(shape)
        covered: Pixels = np.zeros(shape, np.float32)
        for part in parts:
            opacity = _rasterize(part, to_area, side, shape)
            rough = part.roughness * _noise(rng, shape, 6, 2)
            colour = part.colour * (ramp + rough)[..., None]
            area += opacity[..., None] * (colour - area)
            covered = np.maximum(covered, opacity)
        solid = covered > 0.5
        self.labels[y0:y1, x0:x1][solid] = 1 + LABELS.index(OBJECTS[kind])
        self.instances[y0:y1, x0:x1][solid] = len(self.objects)
        self.objects.append((kind, int(solid.sum())))

    def _drop_shadow(self, kind: int, centre: float, bottom: float, wide: float) -> None:
        if OBJECTS[kind] == "balloon":
            return
        rows = np.arange(self.height, dtype=np.float32)[:, None]
        columns = np.arange(self.width, dtype=np.float32)[None]
        shift = self.light.side * 0.2 * wide
        spread = ((columns - centre - shift) / (0.6 * wide)) ** 2
        distance = spread + ((rows - bottom) / (0.12 * wide)) ** 2
        strength = self.light.shadow * np.exp(-distance) * (rows > self.horizon)
        self.image *= 1 - strength[..., None]

    def finish(self) -> Scene:
        """Apply light, gamma and noise, and annotate what is visible."""
        rng = self.rng
        image = self.image * self.light.colour
        image = np.clip(image, 0, 1) ** self.light.gamma
        image += rng.normal(0, rng.uniform(0.002, 0.012), image.shape)
        pixels = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
        boxes, classes, difficult = [], [], []
        for number, (kind, total) in enumerate(self.objects):
            rows, columns = np.nonzero(self.instances == number)
            if total == 0 or len(rows) < _LEAST_VISIBLE * total:
                continue
            box = (columns.min(), rows.min(), columns.max(), rows.max())
            shortest = min(box[2] - box[0], box[3] - box[1]) + 1
            if shortest < _LEAST_SIDE * self.height:
                continue
            boxes.append(box)
            classes.append(kind)
            hidden = len(rows) < _DIFFICULT_VISIBLE * total
            difficult.append(hidden or shortest < _DIFFICULT_SIDE * self.height)
        return Scene(
            image=pixels,
            labels=self.labels,
            boxes=np.array(boxes, np.int64).reshape(-1, 4),
            classes=np.array(classes, np.int64),
            difficult=np.array(difficult, bool),
        )


class _Light:
    """The light of a scene: side, colour and strength."""

    def __init__(self, rng: Rng):
        self.side = float(rng.choice([-1, 1]))
        self.contrast = float(rng.uniform(0.05, 0.3))
        self.shadow = float(rng.uniform(0.1, 0.5))
        warmth = rng.uniform(-0.08, 0.08)
        self.colour = rng.uniform(0.65, 1.1) * np.array([1 + warmth, 1, 1 - warmth], np.float32)
        self.gamma = float(rng.uniform(0.8, 1.3))

    def ramp(self, shape: tuple[int, int]) -> Pixels:
        """Brighter towards the light and the top: (H, W), about 1."""
        across = np.linspace(-1, 1, shape[1])[None] * self.side
        down = np.linspace(1, -1, shape[0])[:, None]
        return 1 + self.contrast * (0.6 * across + 0.4 * down)


def _rasterize(
    part: _Part,
    to_area: Callable[[tuple[float, float]], tuple[float, float]],
    side: float,
    shape: tuple[int, int],
) -> Pixels:
    """Opacity of a part, (H, W), in [0, 1], with smooth edges."""
    fine = _OVERSAMPLING
    points = [(fine * x, fine * y) for x, y in map(to_area, part.points)]
    plane = Image.new("L", (shape[1] * fine, shape[0] * fine))
    draw = ImageDraw.Draw(plane)
    width = max(round(part.width * side * fine), 2)
    if part.shape == "polygon":
        draw.polygon(points, fill=255)
    elif part.shape == "line":
        draw.line(points, fill=255, width=width, joint="curve")
    else:
        (xa, ya), (xb, yb) = points
        box = (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))
        if part.shape == "ellipse":
            draw.ellipse(box, fill=255)
        else:
            draw.ellipse(box, outline=255, width=width)
    return np.asarray(plane.reduce(fine), np.float32) / 255


def _noise(rng: Rng, shape: tuple[int, int], cells: int, octaves: int) -> Pixels:
    """Smooth noise, (H, W), about -1 to 1: value noise of several octaves."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        grid = rng.uniform(-1, 1, (cells * 2**octave + 1,) * 2).astype(np.float32)
        layer = Image.fromarray(grid).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
        total += np.asarray(layer) * np.float32(0.6 / 1.6**octave)
    return total


def _wall(rng: Rng, shape: tuple[int, int], image_height: int) -> Pixels:
    """A wall of plaster or bricks, with rows of windows, (H, W, 3)."""
    height, width = shape
    colours = [(0.7, 0.65, 0.55), (0.55, 0.32, 0.25), (0.5, 0.52, 0.55), (0.8, 0.78, 0.7)]
    base = _pick(rng, colours, 0.06)
    wall = np.broadcast_to(base, (height, width, 3)).astype(np.float32)
    wall = wall * (1 + 0.1 * _noise(rng, shape, 5, 3))[..., None].astype(np.float32)
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    if rng.random() < 0.4:
        brick = round(image_height * rng.uniform(0.022, 0.04))
        offset = (rows // brick % 2) * brick
        thick = max(brick // 5, 1)
        joints = (rows % brick < thick) | ((columns + offset) % (2 * brick) < thick)
        wall[joints] *= 0.8
    pitch_x, pitch_y = image_height * rng.uniform(0.075, 0.155, 2)
    across, down = (columns / pitch_x) % 1, (rows / pitch_y) % 1
    windows = (across > 0.3) & (across < 0.75) & (down > 0.25) & (down < 0.75)
    wall[windows] = _pick(rng, [(0.2, 0.25, 0.32), (0.85, 0.8, 0.55), (0.45, 0.55, 0.65)], 0.05)
    return wall


def _pick(rng: Rng, colours: Sequence[tuple[float, float, float]], spread: float) -> Colour:
    """One of the colours, slightly perturbed."""
    colour = colours[int(rng.integers(len(colours)))]
    return np.clip(colour + rng.normal(0, spread, 3), 0, 1)


def _paint(rng: Rng) -> Colour:
    """Any colour, neither black nor white."""
    return rng.uniform(0.12, 0.9, 3)


def _box(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _disc(x: float, y: float, radius: float, aspect: float) -> list[tuple[float, float]]:
    """Corners of a circle whose radius is in heights of an object `aspect` times as wide."""
    return [(x - radius / aspect, y - radius), (x + radius / aspect, y + radius)]


_DARK = np.array([0.08, 0.08, 0.09])
_GLASS = np.array([0.25, 0.33, 0.4])
_METAL = np.array([0.55, 0.56, 0.58])
_WHITE = np.array([0.93, 0.93, 0.93])

Drawn = tuple[float, list[_Part]]  # width over height, and parts from back to front


def _wheel(x: float, y: float, radius: float, aspect: float) -> list[_Part]:
    return [
        _Part("ellipse", _disc(x, y, radius, aspect), _DARK),
        _Part("ellipse", _disc(x, y, 0.45 * radius, aspect), _METAL),
    ]


def _car(rng: Rng) -> Drawn:
    aspect, paint = rng.uniform(1.9, 2.5), _paint(rng)
    roof, front, rear = rng.uniform(0.08, 0.2), rng.uniform(0.12, 0.25), rng.uniform(0.75, 0.95)
    cabin = [(front, 0.5), (front + 0.14, roof), (rear - 0.1, roof), (rear, 0.5)]
    glass = [(front + 0.06, 0.46), (front + 0.16, roof + 0.07)]
    glass += [(rear - 0.13, roof + 0.07), (rear - 0.06, 0.46)]
    post = rng.uniform(0.45, 0.6)
    body = [(0, 0.5), (0.06, 0.44), (0.96, 0.44), (1, 0.55), (1, 0.82), (0, 0.82)]
    return aspect, [
        _Part("polygon", cabin, paint),
        _Part("polygon", glass, _GLASS),
        _Part("polygon", _box(post - 0.015, roof, post + 0.015, 0.5), paint),
        _Part("polygon", body, paint),
        _Part("ellipse", [(0.01, 0.52), (0.07, 0.62)], np.array([0.95, 0.92, 0.7])),
        _Part("ellipse", [(0.94, 0.52), (0.99, 0.62)], np.array([0.75, 0.1, 0.1])),
        *_wheel(0.21, 0.82, 0.17, aspect),
        *_wheel(0.79, 0.82, 0.17, aspect),
    ]


def _bus(rng: Rng) -> Drawn:
    aspect, paint = rng.uniform(1.9, 2.5), _paint(rng)
    parts = [
        _Part("polygon", _box(0, 0.04, 1, 0.88), paint),
        _Part("polygon", _box(0, rng.uniform(0.56, 0.6), 1, rng.uniform(0.63, 0.72)), _paint(rng)),
    ]
    windows = int(rng.integers(4, 7))
    for left in 0.03 + 0.94 * np.arange(windows) / windows:
        box = _box(left, 0.15, left + 0.94 / windows - 0.025, 0.48)
        parts.append(_Part("polygon", box, _GLASS))
    return aspect, [*parts, *_wheel(0.2, 0.88, 0.11, aspect), *_wheel(0.78, 0.88, 0.11, aspect)]


def _person(rng: Rng) -> Drawn:
    aspect = rng.uniform(0.36, 0.5)
    skin = _pick(rng, [(0.85, 0.68, 0.55), (0.55, 0.38, 0.28), (0.35, 0.23, 0.17)], 0.03)
    coat, trousers, step = _paint(rng), _paint(rng) * 0.7, rng.uniform(0.05, 0.3)
    swing = rng.uniform(-0.15, 0.15)
    hat = [(0.32, 0.08), (0.38, 0.005), (0.62, 0.005), (0.68, 0.08)]
    return aspect, [
        _Part("line", [(0.5, 0.5), (0.5 - step, 0.97)], trousers, width=0.09),
        _Part("line", [(0.5, 0.5), (0.5 + step, 0.97)], trousers, width=0.09),
        _Part("line", [(0.3, 0.22), (0.16 - swing, 0.52)], coat * 0.85, width=0.065),
        _Part("line", [(0.7, 0.22), (0.84 - swing, 0.52)], coat * 0.85, width=0.065),
        _Part("polygon", [(0.25, 0.19), (0.75, 0.19), (0.7, 0.55), (0.3, 0.55)], coat),
        _Part("ellipse", _disc(0.5, 0.095, 0.085, aspect), skin),
        _Part("polygon", hat, _paint(rng) * 0.5),
    ]


def _dog(rng: Rng) -> Drawn:
    aspect = rng.uniform(1.25, 1.55)
    furs = [(0.5, 0.35, 0.2), (0.2, 0.18, 0.17), (0.8, 0.75, 0.65), (0.6, 0.58, 0.55)]
    fur = _pick(rng, furs, 0.05)
    legs = [
        _Part("line", [(x, 0.6), (x + rng.uniform(-0.06, 0.06), 0.98)], fur * 0.85, width=0.09)
        for x in (0.24, 0.34, 0.62, 0.72)
    ]
    return aspect, [
        *legs,
        _Part("line", [(0.78, 0.45), (0.97, rng.uniform(0.1, 0.4))], fur, width=0.07),
        _Part("ellipse", [(0.16, 0.36), (0.84, 0.74)], fur, roughness=0.12),
        _Part("ellipse", _disc(0.19, 0.28, 0.2, aspect), fur, roughness=0.12),
        _Part("ellipse", [(0.0, 0.26), (0.17, 0.42)], fur * 0.9),
        _Part("ellipse", [(0.0, 0.28), (0.05, 0.35)], _DARK),
        _Part("polygon", [(0.2, 0.16), (0.3, 0.02), (0.34, 0.26)], fur * 0.65),
        _Part("ellipse", _disc(0.14, 0.25, 0.03, aspect), _DARK),
    ]


def _tree(rng: Rng) -> Drawn:
    aspect = rng.uniform(0.65, 0.95)
    bark = _pick(rng, [(0.35, 0.25, 0.17)], 0.04)
    leaves = [(0.2, 0.42, 0.15), (0.3, 0.5, 0.2), (0.6, 0.4, 0.12), (0.15, 0.3, 0.18)]
    leaf = _pick(rng, leaves, 0.04)
    trunk = [(0.45, 0.5), (0.55, 0.5), (0.58, 1), (0.42, 1)]
    parts = [_Part("polygon", trunk, bark, roughness=0.15)]
    for _ in range(int(rng.integers(7, 12))):
        x, y, r = rng.uniform(0.22, 0.78), rng.uniform(0.16, 0.5), rng.uniform(0.12, 0.2)
        shade = leaf * rng.uniform(0.7, 1.25)
        parts.append(_Part("ellipse", _disc(x, y, r, aspect), shade, roughness=0.35))
    return aspect, parts


def _bicycle(rng: Rng) -> Drawn:
    aspect, paint = rng.uniform(1.5, 1.75), _paint(rng)
    rear, front, crank = (0.22, 0.66), (0.78, 0.66), (0.46, 0.66)
    saddle, head = (0.38, 0.22), (0.7, 0.22)
    lines = [(rear, saddle), (saddle, crank), (crank, head), (saddle, head), (rear, crank)]
    parts = [_Part("ring", _disc(*hub, 0.32, aspect), _DARK, width=0.055) for hub in (rear, front)]
    for hub in (rear, front):
        for turn in rng.uniform(0, np.pi) + np.arange(3) * np.pi / 3:
            dx, dy = 0.29 * np.cos(turn) / aspect, 0.29 * np.sin(turn)
            ends = [(hub[0] - dx, hub[1] - dy), (hub[0] + dx, hub[1] + dy)]
            parts.append(_Part("line", ends, _METAL, width=0.014))
    parts += [_Part("line", ends, paint, width=0.05) for ends in lines]
    return aspect, [
        *parts,
        _Part("line", [front, (0.68, 0.08)], paint, width=0.05),
        _Part("line", [(0.62, 0.06), (0.76, 0.1)], _DARK, width=0.05),
        _Part("line", [(0.3, 0.2), (0.45, 0.2)], _DARK, width=0.07),
    ]


def _bench(rng: Rng) -> Drawn:
    aspect = rng.uniform(1.7, 2.3)
    wood = _pick(rng, [(0.55, 0.38, 0.22), (0.35, 0.4, 0.3), (0.62, 0.55, 0.45)], 0.05)
    legs = [
        _Part("polygon", _box(x, 0.1, x + 0.05, 1), _DARK * rng.uniform(1, 4)) for x in (0.08, 0.86)
    ]
    planks = [
        _Part("polygon", _box(0, top, 1, top + 0.13), wood * rng.uniform(0.85, 1.1), roughness=0.15)
        for top in (0.03, 0.22, 0.41)
    ]
    seat = [(0.02, 0.6), (0.98, 0.6), (1, 0.74), (0, 0.74)]
    return aspect, [*legs, *planks, _Part("polygon", seat, wood * 1.1, roughness=0.15)]


def _sign(rng: Rng) -> Drawn:
    aspect = rng.uniform(0.42, 0.5)
    edge = _pick(rng, [(0.8, 0.1, 0.1), (0.1, 0.25, 0.65), (0.9, 0.75, 0.1)], 0.04)
    face = _WHITE
    if rng.random() < 0.4:
        edge, face = face, edge
    corners = int(rng.choice([3, 4, 8, 24]))
    turn = rng.choice([-np.pi / 2, np.pi / 2]) if corners == 3 else np.pi / corners

    def plate(radius: float) -> list[tuple[float, float]]:
        angles = turn + 2 * np.pi * np.arange(corners) / corners
        return [(0.5 + radius * np.cos(a) / aspect, 0.22 + radius * np.sin(a)) for a in angles]

    return aspect, [
        _Part("polygon", _box(0.46, 0.2, 0.54, 1), _METAL),
        _Part("polygon", plate(0.22), edge),
        _Part("polygon", plate(0.165), face),
        _Part("line", [(0.3, 0.22), (0.7, 0.22)], edge, width=rng.uniform(0.04, 0.08)),
    ]


def _traffic_light(rng: Rng) -> Drawn:
    aspect = rng.uniform(0.27, 0.34)
    lit = int(rng.integers(3))
    colours = np.array([(0.95, 0.15, 0.1), (0.98, 0.75, 0.1), (0.15, 0.9, 0.4)])
    colours[np.arange(3) != lit] *= 0.3
    lamps = [
        _Part("ellipse", _disc(0.5, 0.1 + 0.155 * number, 0.062, aspect), colour, roughness=0.02)
        for number, colour in enumerate(colours)
    ]
    case = _DARK * rng.uniform(0.8, 2)
    return aspect, [
        _Part("polygon", _box(0.42, 0.5, 0.58, 1), _METAL * rng.uniform(0.5, 1)),
        _Part("polygon", _box(0.06, 0, 0.94, 0.52), case),
        *lamps,
    ]


def _cone(rng: Rng) -> Drawn:
    aspect = rng.uniform(0.65, 0.9)
    paint = _pick(rng, [(0.95, 0.4, 0.1), (0.85, 0.15, 0.1), (0.9, 0.8, 0.15)], 0.04)
    half = rng.uniform(0.3, 0.36)

    def band(top: float, bottom: float) -> list[tuple[float, float]]:
        a, b = 0.05 + (half - 0.05) * top, 0.05 + (half - 0.05) * bottom
        return [(0.5 - a, top), (0.5 + a, top), (0.5 + b, bottom), (0.5 - b, bottom)]

    bands = [(0.3, 0.45), (0.62, 0.76)][: int(rng.integers(1, 3))]
    return aspect, [
        _Part("polygon", _box(0.02, 0.9, 0.98, 1), paint * 0.8),
        _Part("polygon", band(0.0, 0.92), paint),
        *[_Part("polygon", band(*ends), _WHITE) for ends in bands],
    ]


def _barrel(rng: Rng) -> Drawn:
    aspect, paint = rng.uniform(0.65, 0.85), _paint(rng)
    hoops = [
        _Part("line", [(0.02, y), (0.5, y + 0.04), (0.98, y)], paint * 0.55, width=0.035)
        for y in (0.3, 0.55, 0.8)
    ]
    bulge = rng.uniform(0.0, 0.08)
    left, right = 0.04 - bulge, 0.96 + bulge
    side = [(0.04, 0.1), (left, 0.5), (0.04, 0.92), (0.96, 0.92), (right, 0.5), (0.96, 0.1)]
    return aspect, [
        _Part("ellipse", [(0.04, 0.84), (0.96, 1)], paint * 0.9),
        _Part("polygon", side, paint),
        *hoops,
        _Part("ellipse", [(0.04, 0.01), (0.96, 0.19)], paint * 0.7),
        _Part("ellipse", [(0.14, 0.04), (0.86, 0.16)], paint * 0.35),
    ]


def _balloon(rng: Rng) -> Drawn:
    aspect = rng.uniform(0.68, 0.8)
    first, second = _paint(rng), _paint(rng)
    gores = [
        _Part("ellipse", [(0.5 - half, 0.0), (0.5 + half, 0.68)], colour)
        for half, colour in ((0.5, first), (0.34, second), (0.17, first))
    ]
    return aspect, [
        _Part("line", [(0.3, 0.6), (0.44, 0.88)], _DARK, width=0.015),
        _Part("line", [(0.7, 0.6), (0.56, 0.88)], _DARK, width=0.015),
        _Part("polygon", [(0.18, 0.52), (0.82, 0.52), (0.6, 0.74), (0.4, 0.74)], first),
        *gores,
        _Part("polygon", _box(0.41, 0.86, 0.59, 1), np.array([0.5, 0.35, 0.2]), roughness=0.15),
    ]


# in the order of OBJECTS
_DRAW: Sequence[Callable[[Rng], Drawn]] = (
    *(_balloon, _barrel, _bench, _bicycle, _bus, _car, _cone, _dog, _person, _sign),
    *(_traffic_light, _tree),
)
