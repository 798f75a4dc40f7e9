"""Whoever waits for a log is woken when it may have grown, and is left alone otherwise."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.sources import wake as wake_module
from monitor.sources.wake import Wake

#: Far longer than anything here takes; only a failure waits for so long.
PATIENCE = 30.0
NEVER = 10_000.0


@pytest.fixture(params=["told by the system", "by looking"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, dict[str, float]]]:
    if request.param == "by looking":
        yield tmp_path / "access.log", {"notify": False, "poll_seconds": 0.02}
    else:
        yield tmp_path / "access.log", {"slow_poll_seconds": NEVER}


Log = tuple[Path, dict[str, float]]


def waker(path: Path, options: dict[str, float]) -> Wake:
    wake = Wake([path], **options)  # type: ignore[arg-type]
    assert wake.ready.wait(PATIENCE)
    return wake


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_line_wakes(log: Log) -> None:
    path, options = log
    append(path, b"1\n")
    with waker(path, options) as wake:
        wake.wait(0.3)
        append(path, b"2\n")
        assert wake.wait(PATIENCE)


def test_a_line_written_before_the_first_wait_wakes(log: Log) -> None:
    path, options = log
    with Wake([path], **options) as wake:  # type: ignore[arg-type]
        append(path, b"1\n")
        assert wake.wait(PATIENCE)


def test_rotation_wakes(log: Log) -> None:
    path, options = log
    append(path, b"1\n")
    with waker(path, options) as wake:
        wake.wait(0.3)
        path.rename(path.with_name("access.log.1"))
        assert wake.wait(PATIENCE)


def test_a_file_in_directories_that_appear_later_wakes(log: Log) -> None:
    base, options = log
    path = base.parent / "var" / "log" / "access.log"
    with waker(path, options) as wake:
        path.parent.mkdir(parents=True)
        append(path, b"1\n")
        # The directories wake as well; what counts is that each further line does, too.
        assert wake.wait(PATIENCE)
        for _ in range(3):
            while wake.wait(0.3):
                pass
            append(path, b"2\n")
            assert wake.wait(PATIENCE)


def test_a_line_in_the_target_of_a_link_wakes_also_after_the_link_moved(log: Log) -> None:
    link, options = log
    targets = [link.parent / name / "x.log" for name in ("one", "two")]
    for target in targets:
        target.parent.mkdir()
        target.touch()
    link.symlink_to(targets[0])
    with waker(link, options) as wake:
        for target in targets:
            link.unlink()
            link.symlink_to(target)
            while wake.wait(0.5):
                pass
            append(target, b"1\n")
            assert wake.wait(PATIENCE)


def test_other_paths_can_be_watched_instead(log: Log) -> None:
    path, options = log
    other = path.parent / "elsewhere" / "usage.jsonl"
    other.parent.mkdir()
    with waker(path, options) as wake:
        wake.watch([other])
        assert wake.ready.wait(PATIENCE)
        while wake.wait(0.3):
            pass
        append(other, b"1\n")
        assert wake.wait(PATIENCE)


def test_a_poke_wakes_at_once_and_once(tmp_path: Path) -> None:
    with Wake([tmp_path / "access.log"], notify=False, poll_seconds=NEVER) as wake:
        threading.Timer(0.05, wake.poke).start()
        assert wake.wait(PATIENCE)
        assert not wake.wait(0)
        wake.poke()
        wake.poke()
        assert wake.wait(0)
        assert not wake.wait(0)


def test_other_files_in_the_directory_do_not_wake(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    append(path, b"1\n")
    with waker(path, {"slow_poll_seconds": NEVER}) as wake:
        while wake.wait(0.3):
            pass
        append(tmp_path / "other.log", b"1\n")
        assert not wake.wait(0.5)
        append(path, b"2\n")
        assert wake.wait(PATIENCE)


def test_where_notification_cannot_be_had_the_paths_are_polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no inotify instance left")

    monkeypatch.setattr(wake_module, "RustNotify", refuse)
    path = tmp_path / "access.log"
    with waker(path, {"poll_seconds": 0.02}) as wake:
        assert not wake.notified
        append(path, b"1\n")
        assert wake.wait(PATIENCE)


def test_what_the_system_does_not_tell_is_found_by_the_slow_poll(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deaf:
        """As on a network mount: no error, and no event."""

        def __init__(self, *_: object) -> None:
            pass

        def watch(self, _debounce: int, _step: int, timeout_ms: int, stop: threading.Event) -> str:
            return "stop" if stop.wait(timeout_ms / 1000) else "timeout"

        def close(self) -> None:
            pass

    monkeypatch.setattr(wake_module, "RustNotify", Deaf)
    path = tmp_path / "access.log"
    with waker(path, {"slow_poll_seconds": 0.05}) as wake:
        assert wake.notified
        append(path, b"1\n")
        assert wake.wait(PATIENCE)


def test_closing_ends_a_wait(tmp_path: Path) -> None:
    wake = Wake([tmp_path / "access.log"])
    threading.Timer(0.05, wake.close).start()
    assert wake.wait(PATIENCE)
    wake.close()
