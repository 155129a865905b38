"""The exception that is shown to users, and operating system errors in the same style."""

from __future__ import annotations

import errno
import os


class NolaError(Exception):
    """A message for the user: what is wrong, in which file, row, class or key, and what to do about it.

    Entry points print it without a traceback and exit with status 1.
    """


ADVICE = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there, or ask for a larger quota",
    errno.EFBIG: "the file system, or `ulimit -f`, does not allow a larger file",
    errno.EROFS: "make it writable, or move the project or NOLA_CACHE elsewhere",
    errno.EACCES: "check the permissions with `ls -ld`",
    errno.EPERM: "check the permissions with `ls -ld` and `lsattr`",
    errno.ENOENT: "restore it, or run the stage that creates it",
    errno.ENOTDIR: "remove or rename what is there",
    errno.EISDIR: "remove or rename what is there",
    errno.EEXIST: "remove or rename what is there",
    errno.ENOTEMPTY: "remove or rename what is there",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.EIO: "check the disk",
}


def system_sentence(error: OSError) -> str:
    """What the operating system refused, for which file, and what to do: `data/x: No space left on device; free some space ...`.

    Args:
        error: an error with an `errno`; libraries also raise OSErrors without one.
    """
    code = error.errno or 0
    what = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes | os.PathLike) else ""
    return f"{what}{os.strerror(code)}; {ADVICE.get(code, 'fix this')}, then run this again."
