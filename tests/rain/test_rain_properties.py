"""Rain is a function of the seed and the image id, on names and sizes drawn by Hypothesis."""

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler

from jorder_preproc import SynthesizeRain, synthesize_rain
from jorder_preproc.rain import PRESETS
from tests.strategies import few, noise, sizes

names = st.one_of(st.text(min_size=1, max_size=20), st.integers(0, 2**70))


@few(40)
@given(
    size=sizes(), preset=st.sampled_from(sorted(PRESETS)), seed=st.integers(0, 2**40), name=names
)
@example((411, 658), "storm", 1, "val/0001.jpg")
@example((1, 1), "heavy", 0, "\udcff.png")
def test_labels_are_those_of_equation_3(size, preset, seed, name):
    clean = torch.from_numpy(noise((3, *size), "float32"))
    sample = synthesize_rain(clean, preset, seed, name)
    assert torch.equal(sample.background, clean)
    for layer, channels in (("rainy", 3), ("streak_map", 3), ("region_mask", 1)):
        values = getattr(sample, layer)
        assert (tuple(values.shape), values.dtype) == ((channels, *size), torch.float32)
        assert values.isfinite().all() and values.min() >= 0
    assert sample.rainy.max() <= 1
    assert set(sample.region_mask.unique().tolist()) <= {0.0, 1.0}
    again = synthesize_rain(clean.clone(), preset, seed, name)
    assert torch.equal(again.rainy, sample.rainy) and again.parameters == sample.parameters
    # by NumPy, in double precision
    part = {
        layer: getattr(sample, layer).double().numpy()
        for layer in ("darkened", "streak_map", "region_mask", "transmission", "atmospheric_light")
    }
    alpha = part["transmission"]
    rain = part["darkened"] + part["streak_map"] * part["region_mask"]
    expected = alpha * rain + (1 - alpha) * part["atmospheric_light"]
    np.testing.assert_allclose(sample.rainy, expected, atol=1e-5)


class Named(torch.utils.data.Dataset):
    """Images by name, with their rain."""

    def __init__(self, named: list[str], seed: int):
        self.named, self.transform = named, SynthesizeRain("light", seed)

    def __len__(self) -> int:
        return len(self.named)

    def __getitem__(self, index: int):
        name = self.named[index]
        size = 20 + len(name) % 5, 30
        sample = {"image": torch.from_numpy(noise((3, *size), "uint8")), "image_id": name}
        return name, self.transform(sample)["image"]


@few(25)
@given(
    named=st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=6, unique=True),
    seed=st.integers(0, 99),
    batch=st.integers(1, 4),
    ranks=st.integers(1, 4),
    shuffled=st.booleans(),
)
def test_rain_is_the_same_for_any_batch_and_rank(named, seed, batch, ranks, shuffled):
    found: dict[str, torch.Tensor] = {}
    for rank in range(ranks):
        sampler = DistributedSampler(Named(named, seed), ranks, rank, shuffle=shuffled, seed=5)
        loader = DataLoader(Named(named, seed), batch, sampler=sampler, collate_fn=list)
        for part in loader:
            for name, image in part:
                assert torch.equal(found.setdefault(name, image), image)
    assert found.keys() == set(named)
    for name, image in found.items():
        clean = torch.from_numpy(noise(tuple(image.shape), "uint8").astype(np.float32) / 255)
        rainy = synthesize_rain(clean, "light", seed, name).rainy
        np.testing.assert_array_equal(image, (rainy.numpy() * 255).round())


def test_rain_is_the_same_for_any_number_of_workers():
    """The names of all alphabets, and of files that are not text."""
    named = ["a.jpg", "A.jpg", "é.png", "雨/1.jpg", "\udcff", "0", " "]
    alone = dict(Named(named, 4)[index] for index in range(len(named)))
    for workers in (1, 2):
        loader = DataLoader(Named(named, 4), 3, num_workers=workers, collate_fn=list)
        for name, image in (pair for part in loader for pair in part):
            assert torch.equal(image, alone[name])
