"""The one exception a user is meant to read, and the system's errors in the same words."""

from __future__ import annotations

import errno
import os


class NolaError(Exception):
    """A sentence for the user: what is wrong, in which file, row, class or key, and what to do about it.

    Entry points print it without a traceback and exit with status 1.
    """


ADVICE = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, or have your quota raised",
    errno.EFBIG: "the file system, or `ulimit -f`, allows no larger file",
    errno.EROFS: "make it writable, or put the project, or NOLA_CACHE, elsewhere",
    errno.EACCES: "see with `ls -ld` who may read and write there",
    errno.EPERM: "see with `ls -ld` and `lsattr` who may read and write there",
    errno.ENOENT: "restore it, or run the stage that makes it",
    errno.ENOTDIR: "move away what stands in its way",
    errno.EISDIR: "move away what stands in its way",
    errno.EEXIST: "move away what stands in its way",
    errno.ENOTEMPTY: "move away what stands in its way",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.EIO: "have the disk checked",
}


def system_sentence(error: OSError) -> str:
    """What the operating system refused, of which file, and what to do: `data/x: No space left on device; make room there, ...`.

    Args:
        error: one with an `errno`; libraries raise OSErrors of their own without one.
    """
    code = error.errno or 0
    what = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes | os.PathLike) else ""
    return f"{what}{os.strerror(code)}; {ADVICE.get(code, 'see to that')}, then run this again."
