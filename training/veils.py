"""Training images with rain accumulation, for the deveil networks (Sec. 5.2, 5.3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from mmengine.registry import DATASETS
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from jorder_preproc.functional.deveil import estimate_light
from jorder_preproc.rain import add_rain
from jorder_preproc.rain.accumulation import draw_accumulation
from jorder_preproc.rain.presets import AccumulationPreset, Range
from training.bank import LayerBank
from training.data import DRAWS_PER_SEED, list_photos, random_window, read_photo


@DATASETS.register_module()
class VeiledPhotos(Dataset):
    """Clean photographs with and without rain accumulation.

    The paper trains with A = 1. With a darker atmospheric light, parts of the scene are
    brighter than A, and a network that has not seen this removes too little; so A is drawn
    from `AccumulationPreset`, and the network gets the A that it will get in use.

    Item `draw` depends on that number alone. An epoch is as many consecutive draws of
    `DrawSampler`, over all processes, as there are photographs, plus two: each photograph
    once, and a white and a black image without streaks, the white balance of Sec. 5.2.

    Args:
        photos: folder of clean photographs.
        shape: height and width of the training images, px: the largest crop of these
            proportions, resized, since accumulation is judged from the whole image.
        gamma: darkening before the veil; (1, 1) trains without low light (Fig. 11, R).
        white_balance: add the white and the black image.
        depth: share of the veils whose thickness follows a drawn scene depth.
        clear: share without accumulation or darkening.
        streaks: share with faint streaks, such as deraining leaves behind.
        blacks: share whose black point is lowered. Many photographs have no black pixels, and
            a network trained on these alone leaves some of the accumulation.
        zoomed: share with a smaller crop, down to two thirds of the height.
        pieced: share composed of two photographs side by side.
        varied: probability of each change of `vary_colours`. Keep it small: the usual tones of
            photographs are all that tells a darkened scene from a dark one.
        light_known: share of the veiled images for which the network gets the true A, as
            from a user; otherwise it gets the result of `estimate_light`.
        mixture, layers_per_preset, seed: see `LayerBank`.

    Raises:
        UserError: no photographs.
    """

    def __init__(
        self,
        photos: str,
        shape: tuple[int, int],
        mixture: dict[str, float],
        layers_per_preset: int,
        gamma: Range = (1.0, 1.5),
        white_balance: bool = True,
        depth: float = 0.7,
        clear: float = 0.25,
        streaks: float = 0.3,
        blacks: float = 0.7,
        zoomed: float = 0.4,
        pieced: float = 0.1,
        varied: float = 0.1,
        light_known: float = 0.2,
        seed: int = 0,
    ):
        self.shape = (shape[0], shape[1])
        self.photos = [read_photo(path) for path in list_photos(photos)]
        self.flat = (1.0, 0.0) if white_balance else ()
        self.veil = AccumulationPreset(depth_probability=depth, gamma=(gamma[0], gamma[1]))
        self.clear = clear
        self.streaks = streaks
        self.blacks = blacks
        self.zoomed = zoomed
        self.pieced = pieced
        self.varied = varied
        self.light_known = light_known
        self.bank = LayerBank(mixture, layers_per_preset, seed=seed, layer_px=max(shape))

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """rainy, background float (3, H, W); atmospheric_light given to it, float (3, 1, 1)."""
        rng = np.random.default_rng(draw)
        number = self._choose(draw)
        photographed = number < len(self.photos)
        preset = self.veil
        if photographed:
            background = self._view(self.photos[number], rng)
            if rng.random() < self.pieced:
                other = self._view(self.photos[rng.integers(len(self.photos))], rng)
                background = join(background, other, rng)
        else:
            background = torch.full((3, *self.shape), self.flat[number - len(self.photos)])
            preset = replace(preset, atmospheric_light=(1.0, 1.0), light_tint=0.0)
        veil = None
        if rng.random() >= self.clear:
            veil = draw_accumulation(self.shape, preset, rng)
        layers = []
        if photographed and rng.random() < self.streaks:
            left = rng.uniform(0, 0.5)
            rows, columns = (slice(side) for side in self.shape)
            drawn = self.bank.draw(max(self.shape), rng)
            layers = [replace(s, light=s.light[rows, columns] * left) for s in drawn]
        rainy = add_rain(background, layers, veil).rainy
        if veil is not None and rng.random() < self.light_known:
            light = veil.atmospheric_light
        else:
            light = estimate_light(rainy[None])[0]
        return {
            "rainy": rainy,
            "background": add_rain(background, layers).rainy,
            "atmospheric_light": light,
        }

    def _choose(self, draw: int) -> int:
        """Index of the photograph of a draw; every epoch is shuffled anew."""
        count = len(self.photos) + len(self.flat)
        place = draw % DRAWS_PER_SEED % count
        order = np.random.default_rng([draw - place, 0]).permutation(count)
        return int(order[place])

    def _view(self, photo: np.ndarray, rng: np.random.Generator) -> Tensor:
        scale = min(have / want for have, want in zip(photo.shape[:2], self.shape, strict=True))
        if rng.random() < self.zoomed:
            scale *= rng.uniform(2 / 3, 1)
        height, width = (max(round(side * scale), 1) for side in self.shape)
        pixels = photo[random_window(photo.shape, (height, width), rng)]
        if pixels.shape[:2] != self.shape:
            size = self.shape[::-1]
            pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        view = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
        if rng.random() < self.blacks:
            view = move_black_point(view, rng.uniform())
        return vary_colours(view, self.varied, rng)


def vary_colours(view: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Change gamma, saturation and white balance, each with the same probability.

    Args:
        view: float RGB (3, H, W), in [0, 1].
        share: the probability.
        rng: source of all randomness.
    """
    if rng.random() < share:
        view = view ** float(np.exp(rng.uniform(-0.5, 0.5)))
    if rng.random() < share:
        grey = view.mean(0, keepdim=True)
        view = (grey + (view - grey) * float(rng.uniform(0.3, 1.5))).clamp(0, 1)
    if rng.random() < share:
        view = view * torch.from_numpy(rng.uniform(0.8, 1.0, (3, 1, 1))).float()
    return view


def join(first: Tensor, second: Tensor, rng: np.random.Generator) -> Tensor:
    """Join two images at a random horizontal or vertical border.

    Args:
        first, second: float (3, H, W).
        rng: source of all randomness.
    """
    axis = int(rng.integers(1, 3))
    length = first.shape[axis]
    place = int(rng.integers(length // 4, 3 * length // 4 + 1))
    rest = second.narrow(axis, place, length - place)
    return torch.cat([first.narrow(axis, 0, place), rest], axis)


def move_black_point(image: Tensor, share: float) -> Tensor:
    """Lower the black point: stretch tones so that the darkest 0.1 % of pixels move to black.

    Args:
        image: float RGB (3, H, W), in [0, 1].
        share: 0 changes nothing, 1 makes these pixels black.
    """
    dark = image.amin(0).flatten()
    black = share * float(dark.kthvalue(1 + len(dark) // 1000).values)
    return ((image - black) / (1 - black)).clamp(min=0) if black < 1 else image
