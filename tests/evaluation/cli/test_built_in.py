from tests.evaluation.cli.built_in import check_promises, run_built_in


def test_classification(tmp_path, monkeypatch):
    check_promises(run_built_in("classification", 144, tmp_path, monkeypatch), "top-1", 0.9)
