from tests.evaluation.cli.built_in import check_promises, run_built_in


def test_segmentation(tmp_path, monkeypatch):
    check_promises(run_built_in("segmentation", 40, tmp_path, monkeypatch), "mIoU", 0.75)


def test_detection(tmp_path, monkeypatch):
    check_promises(run_built_in("detection", 60, tmp_path, monkeypatch), "mAP", 0.7)
