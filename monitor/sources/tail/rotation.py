"""Which files belong to one configured path, and in which order they were written."""

from __future__ import annotations

import os
import re
import stat
import time
from typing import NamedTuple

from monitor.sources.tail.problems import Problem, missing, not_a_file, unreadable

#: A directory is listed again after this long even if its time did not change (network file systems).
_RELIST_SECONDS = 5.0
#: A time stamp younger than this may hide a second change (coarse clocks: FAT has two seconds).
_RACY_NS = 2_000_000_000


class Entry(NamedTuple):
    """A file that is there under one of the names."""

    path: str
    found: os.stat_result
    #: It has the configured name, or is what that name links to.
    live: bool


class _Name(NamedTuple):
    text: str
    style: str
    #: Sorts the names of one style in the order in which they were written.
    age: tuple[int, ...]


class _Listing:
    """The rotated names of one file in one directory, as of one moment."""

    def __init__(self, directory: str, pattern: re.Pattern[str]) -> None:
        self.directory = directory
        self.pattern = pattern
        self.at = time.monotonic()
        self.key = _directory_key(directory)
        self.names: list[_Name] = []
        self.error: OSError | None = None
        self._steady = self.key is not None and steady(self.key[2])

    def moved(self) -> bool:
        """Whether a name in the directory came or went since."""
        return _directory_key(self.directory) != self.key

    def holds(self) -> bool:
        """Whether it need not be made anew."""
        return self._steady and not self.moved() and time.monotonic() - self.at < _RELIST_SECONDS


class Rotation:
    """The live file and its rotated relatives: ``NAME.N``, ``NAME-DATE``, also with the mark before the extension.

    Where the path is a link, the relatives of its target belong to it as well.
    """

    def __init__(self, path: str, max_rotate: int) -> None:
        self._path = path
        self._max_rotate = max_rotate
        self._listings: dict[tuple[str, str], _Listing] = {}
        self._used: list[_Listing] = []
        #: What stood in the way of the last look.
        self.problems: list[Problem] = []

    def look(self) -> list[Entry]:
        """What is there now, oldest first, the live file last. One file may be there under several names."""
        self.problems = []
        real = os.path.realpath(self._path)
        directory, base = os.path.split(self._path)
        places = [(directory, base)]
        if real != os.path.join(os.path.realpath(directory), base):
            places.append(os.path.split(real))
        self._used = [self._listing(*place) for place in places]
        rotated: list[tuple[_Name, Entry]] = []
        newest: dict[str, int] = {}
        for listing in self._used:
            for name in listing.names:
                path = os.path.join(listing.directory, name.text)
                found = self._stat(path)
                if found is not None:
                    rotated.append((name, Entry(path, found, path == real)))
                    newest[name.style] = max(newest.get(name.style, 0), found.st_mtime_ns)
        # Numbers and dates side by side mean that the rotation was changed: the newer style is in use.
        rotated.sort(key=lambda entry: (newest[entry[0].style], entry[0].age))
        entries = [entry for _, entry in rotated]
        found = self._stat(self._path)
        if found is not None:
            # The states have to know a link's target: after it moved, only they do.
            entries.append(Entry(real if len(places) > 1 else self._path, found, True))
        elif not entries and not self.problems:
            self.problems.append(missing(self._path))
        return entries

    def moved(self) -> bool:
        """Whether names changed since the last look: a file may have been missed."""
        return any(listing.moved() for listing in self._used)

    def _listing(self, directory: str, base: str) -> _Listing:
        last = self._listings.get((directory, base))
        if last is None or not last.holds():
            last = _Listing(directory, last.pattern if last is not None else _rotated_names(base))
            stem = os.path.splitext(base)[0]
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        # Most names in a log directory are none of ours, and this is the cheap way to know.
                        if entry.name.startswith(stem):
                            name = _parse(entry.name, last.pattern, self._max_rotate)
                            if name is not None:
                                last.names.append(name)
            except FileNotFoundError:
                pass  # "missing" says it, if nothing else is found
            except OSError as error:
                last.error = error
            self._listings[directory, base] = last
        if last.error is not None:
            self.problems.append(unreadable(directory, last.error))
        return last

    def _stat(self, path: str) -> os.stat_result | None:
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.problems.append(unreadable(path, error))
            return None
        if stat.S_ISREG(found.st_mode):
            return found
        self.problems.append(not_a_file(path))
        return None


def same_log(path: str | os.PathLike[str], max_rotate: int = 100) -> list[os.stat_result]:
    """The files that belong to one configured path now, oldest first."""
    return [entry.found for entry in Rotation(os.path.abspath(path), max_rotate).look()]


def steady(mtime_ns: int) -> bool:
    """Whether a change from now on would show in this time stamp."""
    return time.time_ns() - mtime_ns > _RACY_NS


def _directory_key(directory: str) -> tuple[int, int, int] | None:
    """Changes when a name in the directory does."""
    try:
        found = os.stat(directory)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _rotated_names(base: str) -> re.Pattern[str]:
    """Matches the rotated names of a file called `base`."""
    mark = (
        r"(?:\.(?P<number{0}>\d{{1,6}})"
        r"|[-_.](?P<date{0}>(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])(?:[\dT_.-]*\d)?)"
        r"|[-_.](?P<epoch{0}>1\d{{9}}))"
    )
    stem, extension = os.path.splitext(base)
    forms = [re.escape(base) + mark.format(1)]
    if extension:
        forms.append(re.escape(stem) + mark.format(2) + re.escape(extension))
    return re.compile(rf"(?:{'|'.join(forms)})(?P<codec>\.gz|\.zst)?", re.ASCII)


def _parse(text: str, pattern: re.Pattern[str], max_rotate: int) -> _Name | None:
    match = pattern.fullmatch(text)
    if match is None:
        return None
    groups = match.groupdict()
    # Behind the plain file of the same age: of two copies the one that can be checked cheaply goes first.
    packed = int(groups["codec"] is not None)
    number = groups["number1"] or groups.get("number2")
    if number is not None:
        return _Name(text, "number", (-int(number), packed)) if int(number) <= max_rotate else None
    date = groups["date1"] or groups.get("date2")
    if date is not None:
        _, year, month, day, rest = re.split(r"(\d{4})\D?(\d\d)\D?(\d\d)", date, maxsplit=1)
        return _Name(text, "date", (int(year + month + day), *map(int, re.findall(r"\d+", rest)), packed))
    return _Name(text, "epoch", (int(groups["epoch1"] or groups["epoch2"]), packed))
