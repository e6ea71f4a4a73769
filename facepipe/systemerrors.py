"""What the system says about files, as one line for a person."""

from __future__ import annotations

import errno

from facepipe.errors import InputError, OutputError, StorageDown

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.ENOENT: "the folder can't be made; give another output",
    errno.EROFS: "the file system is read-only; give another output",
    errno.EACCES: "no permission to write there; change the folder's owner or mode, or give another output",
    errno.EPERM: "no permission to write there; change the folder's owner or mode, or give another output",
    errno.EEXIST: "a file stands where a folder is needed; move it away, or give another output",
    errno.ENOTDIR: "a file stands where a folder is needed; move it away, or give another output",
    errno.EISDIR: "a folder stands where a file is needed; move it away, or give another output",
    errno.ENAMETOOLONG: "the name is too long for this file system; give a shorter one",
}

_GONE = frozenset({errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH})


def shown(path: str) -> str:
    """A path for a message: one line, valid Unicode."""
    text = path.encode("utf-8", "backslashreplace").decode()
    return text if text.isprintable() else repr(text)


def output_error(path: str, error: OSError) -> OutputError:
    """What the system said about writing `path`, as one line that says what to do."""
    advice = _ADVICE.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"can't write {shown(path)}: {advice}")


def input_error(path: str, error: OSError) -> InputError:
    """What the system said about reading `path`, as one line; a `StorageDown` where a server or mount is gone."""
    kind = StorageDown if error.errno in _GONE else InputError
    return kind(f"can't read {shown(path)}: {(error.strerror or str(error)).lower()}")
