from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from evaluation.downstream import records
from evaluation.downstream.records import RecordStore


def record(number: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    return {
        "boxes": rng.random((number % 3, 4)).astype(np.float32),
        "labels": rng.integers(0, 9, number % 3),
        "target": np.array(number),
    }


def fill(store: RecordStore, numbers) -> None:
    store.start()
    for number in numbers:
        store.add(number, record(number))
    store.flush()


def assert_records(store: RecordStore, numbers: list[int]) -> None:
    for number, found in zip(numbers, store.load(numbers), strict=True):
        assert set(found) == set(record(number))
        for name, expected in record(number).items():
            np.testing.assert_array_equal(found[name], expected)
            assert found[name].dtype == expected.dtype


def test_records_come_back_in_any_order(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_SHARD", 4)
    store = RecordStore(tmp_path / "a")
    fill(store, range(10))
    assert len(list((tmp_path / "a").glob("*.npz"))) == 3
    assert store.done == set(range(10))
    assert_records(RecordStore(tmp_path / "a"), [7, 0, 9, 3])


def test_what_is_at_hand_is_written_when_it_is_enough_or_late(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_SHARD", 3)
    store = RecordStore(tmp_path)
    store.start()
    for number in range(2):
        store.add(number, record(number))
    assert store.done == set()
    store.add(2, record(2))
    assert store.done == {0, 1, 2}
    monkeypatch.setattr(records, "_LONGEST_SECONDS", -1.0)
    store.add(3, record(3))
    assert RecordStore(tmp_path).done == {0, 1, 2, 3}


def test_two_stores_share_a_folder(tmp_path):
    first, second = RecordStore(tmp_path), RecordStore(tmp_path)
    fill(first, range(0, 10, 2))
    fill(second, range(1, 10, 2))
    first.refresh()
    assert_records(first, list(range(10)))


def test_records_know_where_they_come_from(tmp_path):
    first = RecordStore(tmp_path, {"machine": "one"})
    fill(first, [0, 1])
    second = RecordStore(tmp_path, {"machine": "other"})
    fill(second, [2])
    found = RecordStore(tmp_path).origins([2, 1, 0])
    assert [one["machine"] for one in found] == ["other", "one", "one"]
    assert found == second.origins([2, 1, 0])
    for one in found:
        written = datetime.fromisoformat(one["date"])
        assert abs(datetime.now(timezone.utc) - written) < timedelta(minutes=1)


def test_seconds_are_those_of_all_processes_together(tmp_path, monkeypatch):
    times = iter([0.0, 10.0, 10.0, 10.0])
    monkeypatch.setattr(records.time, "monotonic", lambda: next(times, 14.0))
    monkeypatch.setattr(records, "get_world_size", lambda: 4)
    store = RecordStore(tmp_path)
    store.start()
    store.add(0, record(0))
    store.add(1, record(1))
    store.flush()
    # a later run of one process reads what four wrote side by side: 2 images in 4 / 4 s
    monkeypatch.setattr(records, "get_world_size", lambda: 1)
    assert RecordStore(tmp_path).images_per_second == pytest.approx(2.0)


def test_speed_is_that_of_all_shards(tmp_path):
    np.savez(tmp_path / "a.npz", indices=[0, 1], seconds=1.0, provenance="{}")
    np.savez(tmp_path / "b.npz", indices=[2], seconds=0.5, provenance="{}")
    assert RecordStore(tmp_path).images_per_second == pytest.approx(2.0)
    assert RecordStore(tmp_path / "none").images_per_second is None


def test_missing_records_are_counted(tmp_path):
    store = RecordStore(tmp_path)
    fill(store, [1, 2])
    with pytest.raises(ValueError, match="no record of 2 images"):
        store.load([0, 1, 3])


def keep(data: bytes) -> bytes:
    return data[:100]


def empty(data: bytes) -> bytes:
    return b""


def flip(data: bytes) -> bytes:
    """One bit in the numbers of an array, which only its checksum shows."""
    at = data.index(np.float32(0.5).tobytes())
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("damage", [keep, empty, flip])
def test_a_damaged_shard_is_named(tmp_path, damage):
    store = RecordStore(tmp_path)
    store.add(1, {"scores": np.full(100, 0.5, np.float32)})
    store.flush()
    (path,) = tmp_path.glob("*.npz")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{path.name} is damaged.*remove it"):
        RecordStore(tmp_path).load([1])


def test_a_shard_without_its_parts_is_damaged(tmp_path):
    np.savez(tmp_path / "a.npz", indices=[1])
    with pytest.raises(ValueError, match=r"a.npz is damaged.*remove it"):
        RecordStore(tmp_path)


def test_what_cannot_be_written_whole_is_not_there(tmp_path, monkeypatch):
    def fill_the_disk(file, **arrays):
        file.write(b"PK some of it")
        raise OSError("no space left")

    store = RecordStore(tmp_path)
    fill(store, [1])
    monkeypatch.setattr(records.np, "savez", fill_the_disk)
    with pytest.raises(OSError, match="no space left"):
        fill(store, [2])
    assert RecordStore(tmp_path).done == {1}
    assert len(list(tmp_path.iterdir())) == 1


def test_values_may_be_left_on_disk(tmp_path):
    store = RecordStore(tmp_path)
    fill(store, [0, 1])
    for found in store.load([1, 0], without=("target",)):
        assert set(found) == set(record(0)) - {"target"}
