"""A cache of derained images on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.registry import TRANSFORMS

from evaluation.downstream.checkpoints import file_sha256
from evaluation.provenance import package_sha256, package_versions
from jorder_preproc.atomic import atomic_path
from jorder_preproc.errors import UserError
from jorder_preproc.int8 import ranges_file
from jorder_preproc.models.weights import DEVEIL_MODEL, find_weights
from jorder_preproc.openmmlab.transforms import JorderDerain


@TRANSFORMS.register_module()
class CachedJorderDerain(JorderDerain):
    """`JorderDerain` that reads results from a folder, and stores new ones there as PNG.

    The key is a digest of the pixels, all settings and weights, this package's code and the
    versions of libraries, so that no stale result is used.

    Args:
        cache: folder; several processes may share it.
        **settings: of `JorderDerain`, with a model by its name.
    """

    def __init__(self, cache: str, **settings: Any):
        super().__init__(**settings)
        self._cache = Path(cache)
        weights = find_weights(self.model, self.weights)
        digests = [file_sha256(weights)]
        if self.precision == "int8":
            digests.append(file_sha256(ranges_file(weights)))
        if self.deveil:
            digests.append(file_sha256(find_weights(DEVEIL_MODEL, self.deveil_weights)))
        chosen = (self.deveil, self.dry, self.backend, self.precision)
        code = (package_sha256(), package_versions())
        self._settings = repr((self.model, digests, *chosen, *code)).encode()

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Derain `results['img']`, uint8 BGR (H, W, 3).

        Raises:
            UserError: pixels that 8-bit RGB PNG cannot store.
        """
        image = results["img"]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UserError(
                f"the cache keeps uint8 images (H, W, 3), got {image.dtype} "
                f"{image.shape}; load colours without to_float32, or leave the cache out"
            )
        digest = hashlib.sha256(self._settings)
        digest.update(repr(image.shape).encode())
        digest.update(np.ascontiguousarray(image).data)
        name = digest.hexdigest()
        path = self._cache / name[:2] / f"{name[2:]}.png"
        kept = cv2.imread(str(path)) if path.is_file() else None
        if kept is not None:
            results["img"] = kept
            return results
        results = super().__call__(results)
        path.parent.mkdir(parents=True, exist_ok=True)
        encoded = cv2.imencode(".png", results["img"], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        with atomic_path(path) as temporary:
            temporary.write_bytes(encoded.tobytes())
        return results
