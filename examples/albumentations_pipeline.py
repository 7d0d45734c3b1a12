"""Deraining in an albumentations pipeline, which is stored as JSON.

python -m examples.albumentations_pipeline
"""

from __future__ import annotations

import json

import albumentations as A

from examples.photograph import print_quality, rainy_photograph
from jorder_preproc.albumentations import JorderDerain


def main() -> None:
    pipeline = A.Compose([JorderDerain(), A.CenterCrop(200, 300)])
    pipeline = A.from_dict(json.loads(json.dumps(A.to_dict(pipeline))))
    print_quality(pipeline(image=rainy_photograph())["image"])


if __name__ == "__main__":
    main()
