"""The spool: in order, bounded, and readable after a crash in the middle of a line."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from connector.records import AgentInterval, AgentState, Record
from connector.store.spool import Spool


def interval(number: int) -> AgentInterval:
    return AgentInterval(
        pbx="main",
        at=100.0 + number,
        agent=f"agent{number:04d}",
        state=AgentState.AVAILABLE,
        reason="",
        started_at=99.0,
    )


def drain(spool: Spool, at_most: int = 3) -> list[Record]:
    found: list[Record] = []
    while batch := spool.peek(at_most):
        found += batch
        spool.advance()
    return found


def opened(path: Path, max_bytes: int = 1 << 20) -> Spool:
    spool = Spool(path, max_bytes)
    spool.open()
    return spool


def test_what_is_appended_comes_back_in_order_over_many_files(tmp_path: Path) -> None:
    spool = opened(tmp_path / "spool", 8_000)
    records: list[Record] = [interval(number) for number in range(30)]
    for start in range(0, 30, 4):
        spool.append(records[start : start + 4])
    assert len(list((tmp_path / "spool").iterdir())) > 1
    assert spool.records == 30
    assert drain(spool) == records
    assert (spool.records, spool.bytes) == (0, 0)
    assert not list((tmp_path / "spool").iterdir())
    spool.append(records[:2])
    assert drain(spool) == records[:2]


def test_another_process_finds_what_was_left_and_a_line_cut_short_is_counted(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append([interval(1), interval(2)])
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(path.read_bytes()[:40])  # killed while it wrote
    second = opened(tmp_path)
    assert second.records == 3
    second.append([interval(3)])
    assert drain(second) == [interval(1), interval(2), interval(3)]
    assert second.lost == {"spool_corrupt": 1}
    assert not list(tmp_path.iterdir())


def test_a_broken_line_in_the_middle_costs_that_line_alone(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([interval(1), interval(2), interval(3)])
    (path,) = tmp_path.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\xff" * (len(lines[1]) - 1) + b"\n" + lines[2])
    assert drain(spool, 1) == [interval(1), interval(3)]
    assert spool.lost["spool_corrupt"] == 1


def test_read_again_without_advance_it_gives_the_same(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([interval(1), interval(2)])
    assert spool.peek(1) == spool.peek(1) == [interval(1)]
    spool.advance()
    assert opened(tmp_path).peek(9) == [interval(1), interval(2)], "after a crash a file begins anew"
    assert spool.peek(9) == [interval(2)]


def test_at_its_bound_the_oldest_file_goes_and_is_counted(tmp_path: Path) -> None:
    spool = opened(tmp_path, 4_000)
    records: list[Record] = [interval(number) for number in range(100)]
    for record in records:
        spool.append([record])
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4_000
    left = drain(spool)
    assert left == records[-len(left) :]
    assert 10 < len(left) < 100
    assert spool.lost["spool_full"] == 100 - len(left)


def test_dropped_while_it_was_being_read_it_goes_on_with_the_next_file(tmp_path: Path) -> None:
    spool = opened(tmp_path, 4_000)
    records: list[Record] = [interval(number) for number in range(60)]
    for record in records[:20]:
        spool.append([record])
    assert spool.peek(2) == records[:2]
    for record in records[20:]:
        spool.append([record])
    spool.advance()
    left = drain(spool)
    assert left == records[-len(left) :]


def test_on_a_full_disk_nothing_is_kept_and_it_says_so(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    (tmp_path / "spool-00000001.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        spool.append([interval(1)])
    assert spool.records == 0
    spool.append([interval(2)])  # in a file of its own
    assert spool.records == 1


def test_text_without_utf8_is_cleaned(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    odd = msgspec.structs.replace(interval(2), reason="tea\ud800")
    spool.append([interval(1), odd])
    assert drain(spool) == [interval(1), msgspec.structs.replace(odd, reason="tea?")]
