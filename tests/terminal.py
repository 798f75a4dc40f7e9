"""The installed command in a terminal of any size, as a person sees it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

from tests.helpers import environment, wait_for

#: What `pip install` puts beside Python.
COMMAND = str(Path(sys.executable).with_name("session-monitor"))


class Terminal:
    """A command that runs in a pseudo-terminal; `screen` shows what a terminal would."""

    def __init__(
        self, *command: str | Path, columns: int = 80, lines: int = 24, variables: Mapping[str, str] | None = None
    ) -> None:
        self.columns, self.lines = columns, lines
        self.said = b""
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._ours, theirs = pty.openpty()
        self._theirs = theirs
        self._size()
        self.before = termios.tcgetattr(theirs)
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environment(), "TERM": "xterm-256color", "LANG": "C.UTF-8", **(variables or {})},
            preexec_fn=_own_terminal,  # noqa: PLW1509 - tests have no threads when they start it
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def _size(self) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", self.lines, self.columns, 0, 0))

    def read(self) -> str:
        """Take in what the command has written so far, and give the lines of the screen as one text."""
        while select.select([self._ours], [], [], 0.05)[0]:
            try:
                data = os.read(self._ours, 65536)
            except OSError:
                break  # nobody writes any more
            if not data:
                break
            self.said += data
            self._stream.feed(data)
        return "\n".join(line.rstrip() for line in self._screen.display)

    def wait_for(self, text: str) -> str:
        """The screen, once it shows `text`."""

        def shown() -> str | None:
            screen = self.read()
            return screen if text in screen else None

        try:
            return wait_for(f"{text!r} on the screen", shown, seconds=60)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows:\n{self.read()}") from None

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Change the size, as a window manager or tmux does."""
        self.columns, self.lines = columns, lines
        self._screen.resize(lines, columns)
        self._size()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGWINCH)

    def end(self) -> int:
        """Wait for the command to end by itself; gives its exit code."""

        def ended() -> bool:
            self.read()
            return self.process.poll() is not None

        wait_for("the command ended", ended)
        self.read()
        return self.process.returncode

    def is_restored(self) -> bool:
        """Whether keys work as before and the first screen, with its cursor, is back."""
        other = self.said.rfind(b"\x1b[?1049h") < self.said.rfind(b"\x1b[?1049l")
        cursor = self.said.rfind(b"\x1b[?25l") < self.said.rfind(b"\x1b[?25h")
        return other and cursor and termios.tcgetattr(self._theirs) == self.before


def _own_terminal() -> None:
    """Make the terminal that of a session of its own, so that Ctrl-C reaches the command and nobody else."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
