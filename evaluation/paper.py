"""The downstream results of the paper: its Tables 4 and 5."""

from __future__ import annotations

from evaluation.results import PaperRow

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
        "MIT ADE20K": {
            "mIoU": (0.4063, 0.2675, 0.3746),
            "aAcc": (0.7963, 0.6795, 0.7761),
        },
    },
    "detection": {
        "VOC 2007": {
            "mAP": (0.7014, 0.5755, 0.6618),
        },
    },
}


def paper_rows(task: str) -> tuple[PaperRow, ...]:
    """The paper's results for a task, with the recovery that follows from them.

    Raises:
        ValueError: unknown task.
    """
    if task not in _TABLES:
        raise ValueError(f"unknown task {task!r}; choose from {', '.join(_TABLES)}")
    return tuple(
        PaperRow(row, metric, clean, rainy, derained, (derained - rainy) / (clean - rainy))
        for row, metrics in _TABLES[task].items()
        for metric, (clean, rainy, derained) in metrics.items()
    )
