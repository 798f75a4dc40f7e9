"""Follow one rotating file, every byte once.

A `Tail` knows nothing of what is in the lines. It hands out complete lines, oldest first, each
time with the `FileState` that is true once they are taken. Whoever commits that state together
with what it made of the lines gets exactly the following ones after a restart.

A file is known by its content: a fingerprint of its beginning, and a hash of the bytes just before
the place where reading stopped. Names, inodes and times are hints that save work; none of them
decides. What cannot be recognised is read from its start, which costs time; a consumer that knows
its records by content counts nothing twice.
"""

from __future__ import annotations

from monitor.sources.tail.chunks import Chunk, FileState
from monitor.sources.tail.follow import LiveSize, Tail, live_size
from monitor.sources.tail.problems import Problem, in_the_way
from monitor.sources.tail.rotation import same_log
from monitor.sources.tail.streams import codec_of

__all__ = ["Chunk", "FileState", "LiveSize", "Problem", "Tail", "codec_of", "in_the_way", "live_size", "same_log"]
