"""A terminal that is drawn again and again: the other screen, keys, sizes, and everything put back in the end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Seen = TypeVar("Seen")
Drawing = Callable[[Seen], Callable[[int, int], "RenderableType"]]

_QUIT = (b"q", b"Q", b"\x04")


class _Ended(Exception):
    """The terminal or the system wants this to end."""


def show(look: Callable[[], Seen], draw: Drawing[Seen], interval: float, count: int | None = None) -> None:
    """Draw what `look` gives every `interval` seconds until q is pressed; `draw` makes it for a width and height."""
    from rich.live import Live  # noqa: PLC0415 - only a terminal needs it

    console = _console()
    with _keys() as wait:
        drawing = draw(look())
        # Lines are written over, never wiped first: that is what does not flicker.
        live = Live(
            _fitted(drawing, console), console=console, screen=True, auto_refresh=False, vertical_overflow="crop"
        )
        with contextlib.suppress(_Ended), live:
            looks, due = 1, time.monotonic() + interval
            live.refresh()
            while count is None or looks < count:
                pressed = wait(max(0.0, due - time.monotonic()))
                if pressed in _QUIT:
                    return
                if time.monotonic() >= due:
                    drawing = draw(look())
                    looks, due = looks + 1, time.monotonic() + interval
                live.update(_fitted(drawing, console), refresh=True)


def _fitted(drawing: Callable[[int, int], RenderableType], console: Console) -> RenderableType:
    width, height = console.size
    return drawing(width, height)


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415

    from monitor.faces.cli.look import colored  # noqa: PLC0415

    # Shells may export COLUMNS and LINES, which do not change with the size.
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return Console(no_color=not colored(), highlight=False, emoji=False, markup=False, _environ=environment)


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], bytes]]:
    """Give a function that waits for a key, a new size, or some seconds; then put the terminal back as it was."""
    descriptor = sys.stdin.fileno()
    kept = termios.tcgetattr(descriptor)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    ended = False

    def resized(*_: object) -> None:
        with contextlib.suppress(OSError):
            os.write(writer, b"\0")

    def end(*_: object) -> None:
        nonlocal ended
        ended = True
        resized()

    def wait(seconds: float) -> bytes:
        ready, _, _ = select.select([descriptor, reader], [], [], seconds)
        if ended:
            raise _Ended
        if reader in ready:
            os.read(reader, 1024)
        if descriptor in ready:
            pressed = os.read(descriptor, 1)
            if not pressed:  # the terminal has gone
                raise _Ended
            return pressed
        return b""

    # Stopped in the middle (Ctrl-Z) the other screen would stay: it is ended with q instead.
    handlers: dict[signal.Signals, Callable[..., object] | signal.Handlers] = {
        signal.SIGWINCH: resized,
        signal.SIGTERM: end,
        signal.SIGHUP: end,
        signal.SIGTSTP: signal.SIG_IGN,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)
        yield wait
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, kept)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
