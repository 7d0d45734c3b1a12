import tarfile

from tools.build_mmcv import unpack


def test_pythons_without_filters_unpack_too(tmp_path, monkeypatch):
    """As 3.11.2 of Debian 12, whose `extractall` has no such argument."""
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv/setup.py").write_text("")
    archive = tmp_path / "mmcv.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "mmcv", "mmcv")
    extract = tarfile.TarFile.extractall
    monkeypatch.delattr(tarfile, "data_filter")
    monkeypatch.setattr(tarfile.TarFile, "extractall", lambda tar, path: extract(tar, path))
    assert (unpack(archive, tmp_path / "new") / "setup.py").is_file()
