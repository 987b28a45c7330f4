"""Builds the fast path (native/*.c) where there is a C compiler; without one the connector runs without it.

    python -m connector.media.fastpath_build

puts it beside its source; an installation does the same by itself. It stands alone, for the build of the package
loads it as a file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).with_name("native")
LIBRARY = Path(__file__).with_name("libfastpath.so")
FLAGS = ("-O3", "-ffp-contract=off", "-fPIC", "-shared", "-Wl,-Bsymbolic", "-Wall", "-Wextra")
"""Floating point as Python computes it, whatever the processor can: both give the same clocks."""


def source_id() -> str:
    """Names the source; the library carries it, so that one built from another source is not taken."""
    every = b"".join(path.read_bytes() for path in sorted(SOURCES.glob("*.[ch]")))
    return hashlib.sha256(every).hexdigest()[:16]


def build() -> str:
    """Compiles; gives why there is no library, or nothing."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return "there is no C compiler"
    with tempfile.TemporaryDirectory(dir=LIBRARY.parent, prefix=".build-") as folder:
        made = Path(folder) / LIBRARY.name
        sources = map(str, sorted(SOURCES.glob("*.c")))
        command = [compiler, *FLAGS, f'-DSOURCE_ID="{source_id()}"', "-o", str(made), *sources, "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            return f"{compiler} failed: {done.stderr.strip()[-500:]}"
        made.replace(LIBRARY)  # in one step, for a worker may be loading it
    return ""


if __name__ == "__main__":
    sys.exit(build() or None)
