"""Results of the paper: restoration, Tables 1 and 2, and downstream, Tables 4 and 5."""

from __future__ import annotations

from evaluation.report.schema import PaperRow

NOTE = "other model, other rain, shown for comparison"

# Clean, rainy, derained. Table 4 calls itself error rates but holds accuracies. Table 5 prints
# the rows "Without" and "With Rain Removal" the wrong way round; here they are in order.
_TABLES = {
    "classification": {
        "VGG-19, ImageNet": {
            "top-1": (0.6615, 0.4353, 0.6089),
            "top-5": (0.8695, 0.6709, 0.8316),
            "top-10": (0.9153, 0.7512, 0.8873),
        },
    },
    "segmentation": {
        "MIT ADE20K": {"mIoU": (0.4063, 0.2675, 0.3746), "aAcc": (0.7963, 0.6795, 0.7761)},
    },
    "detection": {"VOC 2007": {"mAP": (0.7014, 0.5755, 0.6618)}},
}

RESTORATION_NOTE = (
    "Tables 1 and 2 call two rows JORDER-R; the first one is JORDER-, the version with one path "
    "and without dilated convolutions"
)

RESTORATION_SETS = ("Rain12", "Rain100L", "Rain100H", "Rain800")

# PSNR, dB, and SSIM on each set
_RESTORATION = {
    "ID": ((27.21, 23.13, 13.78, 20.54), (0.7534, 0.6991, 0.3968, 0.6739)),
    "DSC": ((30.02, 24.16, 15.66, 22.46), (0.8679, 0.8663, 0.5444, 0.7060)),
    "LP": ((32.02, 29.11, 14.26, 23.68), (0.9082, 0.8812, 0.4225, 0.7954)),
    "CNN": ((26.65, 23.70, 13.21, 23.95), (0.7829, 0.8142, 0.3712, 0.6589)),
    "SRCNN": ((34.41, 32.63, 18.29, 25.10), (0.9421, 0.9392, 0.6124, 0.8232)),
    "DetailNet": ((35.31, 33.50, 20.12, 25.22), (0.9485, 0.9444, 0.6351, 0.8228)),
    "UGSM": ((33.30, 28.83, 13.40, 23.12), (0.9323, 0.8823, 0.5089, 0.7675)),
    "JCAS": ((33.09, 29.91, 14.26, 22.25), (0.9276, 0.9041, 0.4837, 0.7682)),
    "DID-MDN": ((30.14, 28.27, 13.85, 22.55), (0.8762, 0.8569, 0.3748, 0.7639)),
    "ID-CGAN": ((20.78, 23.39, 16.86, 23.81), (0.8519, 0.8186, 0.4921, 0.8072)),
    "JORDER-": ((35.86, 35.41, 20.79, 25.61), (0.9534, 0.9632, 0.5978, 0.8378)),
    "JORDER": ((36.02, 36.11, 22.15, 26.03), (0.9612, 0.9741, 0.6736, 0.8501)),
    "JORDER-R": ((36.21, 36.62, 23.45, 26.73), (0.9644, 0.9820, 0.7490, 0.8683)),
    "JORDER-E": ((36.14, 37.10, 24.54, 27.08), (0.9593, 0.9795, 0.8024, 0.8716)),
}


def paper_restoration(metric: str) -> dict[str, dict[str, float]]:
    """The paper's mean `psnr`, in dB, or `ssim`: by method and data set."""
    column = ("psnr", "ssim").index(metric)
    return {
        method: dict(zip(RESTORATION_SETS, scores[column], strict=True))
        for method, scores in _RESTORATION.items()
    }


def paper_rows(task: str) -> tuple[PaperRow, ...]:
    """The paper's results for a task, with the recovery that follows from them."""
    return tuple(
        PaperRow(row, metric, clean, rainy, derained, (derained - rainy) / (clean - rainy))
        for row, metrics in _TABLES[task].items()
        for metric, (clean, rainy, derained) in metrics.items()
    )
