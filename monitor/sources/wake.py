"""Wake when a log may have grown.

Notification is a hint and never the only way: a slow poll finds what the file system did not
tell (network mounts, a directory that was replaced), and a fast one takes over where notification
does not work at all. A false alarm costs one look at a file; a missed one costs a few seconds.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from typing import Self

from watchfiles._rust_notify import RustNotify

#: How often the notification thread looks whether something came; a change is told one to two steps
#: after it happened. Each look costs some fifty microseconds, so this idles at a thousandth of a core.
STEP_MS = 60
#: Links in a chain of symbolic links that are followed.
_MOST_LINKS = 16


class Wake:
    """Says when one of `paths` may have grown, been rotated, or come into being.

    `poll_seconds`: how often to look where notification does not work. `slow_poll_seconds`: how often
    to look anyway. `notify=False` goes without notification. The directories of the paths, of what
    they link to, and the nearest ones that exist where a directory does not, are watched.

    One thread waits; `poke`, `watch` and `close` may be called from any thread.
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        poll_seconds: float = 1.0,
        slow_poll_seconds: float = 5.0,
        notify: bool = True,
    ) -> None:
        self._paths = [os.path.abspath(path) for path in paths]
        self._poll_seconds = poll_seconds
        self._slow_poll_seconds = slow_poll_seconds
        self._notify = notify
        self._woken = threading.Event()
        #: Interrupts the thread below: other paths, or the end.
        self._turn = threading.Event()
        self._closed = False
        self._notified = False
        #: What was there before the caller could look, so that nothing falls between the two.
        self._looks = _look(self._paths)
        #: Set while the directories of the present paths are watched.
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wake", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def notified(self) -> bool:
        """Whether the file system tells of changes; if not, the paths are polled."""
        return self._notified

    def wait(self, timeout: float) -> bool:
        """Block for up to `timeout` seconds; True if there may be something to read.

        What happened since the last call counts: it makes this one return at once.
        """
        woken = self._woken.wait(max(0.0, timeout))
        self._woken.clear()
        return woken

    def poke(self) -> None:
        """Make the present or next `wait` return True at once."""
        self._woken.set()

    def watch(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        """Watch these paths instead. Links that moved are noticed without this, if a little later."""
        self._paths = [os.path.abspath(path) for path in paths]
        self.ready.clear()
        self._turn.set()

    def close(self) -> None:
        """End the thread; a waiting caller wakes up."""
        self._closed = True
        self._turn.set()
        self._woken.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        looks = self._looks
        while True:
            self._turn.clear()
            if self._closed:
                return
            paths = self._paths
            places = _places(paths)
            notifier = self._notifier(places)
            self._notified = notifier is not None
            # What happened before the watch began was not told: compare with what was there before that.
            before, looks = looks, _look(paths)
            if before != looks:
                self._woken.set()
            self.ready.set()
            try:
                if notifier is None:
                    looks = self._poll(paths, looks)
                else:
                    looks = self._follow(notifier, paths, places, looks)
            finally:
                if notifier is not None:
                    notifier.close()

    def _notifier(self, places: dict[str, _Place]) -> RustNotify | None:
        if not self._notify or not places:
            return None
        try:
            return RustNotify(list(places), False, False, 0, False, True)
        except Exception:  # whatever it is (no inotify instance left, no such call here): polling works
            return None

    def _follow(
        self, notifier: RustNotify, paths: list[str], places: dict[str, _Place], looks: dict[str, object]
    ) -> dict[str, object]:
        """Until the directories to be watched are others."""
        look_again = time.monotonic() + self._slow_poll_seconds
        while not self._turn.is_set():
            left = max(1, int((look_again - time.monotonic()) * 1000))
            try:
                changes = notifier.watch(STEP_MS // 2, STEP_MS, left, self._turn)
            except Exception:  # the watch broke: begin anew, after a moment if that goes wrong too
                self._turn.wait(self._poll_seconds)
                break
            overdue = time.monotonic() >= look_again
            ours = isinstance(changes, set) and any(_concerns(path, places) for _, path in changes)
            if not ours and not overdue:
                continue  # somebody else's file in the same directory
            now = _look(paths)
            if ours or now != looks:
                self._woken.set()
            looks = now
            if overdue:
                look_again = time.monotonic() + self._slow_poll_seconds
            if _places(paths) != places:
                break
        return looks

    def _poll(self, paths: list[str], looks: dict[str, object]) -> dict[str, object]:
        retry = time.monotonic() + 60  # notification may work later
        while not self._turn.wait(self._poll_seconds):
            now = _look(paths)
            if now != looks:
                self._woken.set()
                looks = now
            if self._notify and time.monotonic() >= retry:
                break
        return looks


class _Place:
    """A directory that is watched: which one it is, and the names in it that matter."""

    def __init__(self, identity: tuple[int, int]) -> None:
        self.identity = identity
        self.stems: set[str] = set()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Place) and (self.identity, self.stems) == (other.identity, other.stems)

    __hash__ = None  # type: ignore[assignment]  # its names are collected after it is made


def _places(paths: list[str]) -> dict[str, _Place]:
    """The directories to watch."""
    places: dict[str, _Place] = {}
    for path in paths:
        at = path
        for _ in range(_MOST_LINKS):
            directory, name = os.path.split(at)
            # Rotated relatives share the beginning of the name.
            stem = os.path.splitext(name)[0]
            while True:
                try:
                    found = os.stat(directory)
                    break
                except OSError:
                    parent, missing = os.path.split(directory)
                    if parent == directory:
                        found = None
                        break
                    directory, stem = parent, missing
            if found is not None:
                place = places.setdefault(directory, _Place((found.st_dev, found.st_ino)))
                place.stems.add(stem)
            try:
                at = os.path.normpath(os.path.join(os.path.dirname(at), os.readlink(at)))
            except OSError:
                break
    return places


def _concerns(changed: str, places: dict[str, _Place]) -> bool:
    """Whether a change belongs to one of the paths. Names only: some systems tell the real directory."""
    name = os.path.basename(changed)
    return changed in places or any(name.startswith(stem) for place in places.values() for stem in place.stems)


def _look(paths: list[str]) -> dict[str, object]:
    """What two looks have in common if nothing happened: a few stats."""
    return {path: (_stamp(path), _stamp(os.path.dirname(path))) for path in paths}


def _stamp(path: str) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
