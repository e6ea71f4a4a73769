"""What systems and stores say when something does not go, as one line for a person."""

from __future__ import annotations

import errno
import re
from typing import NamedTuple

from facepipe.errors import InputError, OutputError, StorageDown
from facepipe.text import printable

_IN_THE_WAY = "move it away, or give another output"
_DENIED = "no permission to write there; change the folder's owner or mode, or give another output"
_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.ENOENT: "the folder can't be made; give another output",
    errno.EROFS: "the file system is read-only; give another output",
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EEXIST: f"a file stands where a folder is needed; {_IN_THE_WAY}",
    errno.ENOTDIR: f"a file stands where a folder is needed; {_IN_THE_WAY}",
    errno.EISDIR: f"a folder stands where a file is needed; {_IN_THE_WAY}",
    errno.ELOOP: f"a symbolic link stands there, through which nothing is written; {_IN_THE_WAY}",
    errno.ENAMETOOLONG: "the name is too long for this file system; give a shorter one",
}
_GONE = frozenset({errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH})


def output_error(path: str, error: OSError) -> OutputError:
    """What the system said about writing `path`, as one line that says what to do."""
    advice = _ADVICE.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"can't write {printable(path)}: {advice}")


def input_error(path: str, error: OSError) -> InputError:
    """What the system said about reading `path`, as one line; a `StorageDown` where a server or mount is gone."""
    kind = StorageDown if error.errno in _GONE else InputError
    return kind(f"can't read {printable(path)}: {(error.strerror or str(error)).lower()}")


class Answer(NamedTuple):
    """What a store's error means: `text` for a person; is it worth another try; is there no such object."""

    text: str
    lasting: bool = True
    absent: bool = False


_NO_BUCKET = Answer("there is no bucket {bucket!r}, or it is in another region", absent=True)
_NO_OBJECT = Answer("there is no such object", absent=True)
_ANSWERS = {
    "NO_SUCH_BUCKET": _NO_BUCKET,
    "NO_SUCH_KEY|HTTP status 404|NOT_FOUND": _NO_OBJECT,
    "ExpiredToken|EXPIRED": Answer("the credentials have expired; renew them"),
    "SKEWED": Answer("this machine's clock differs from the store's; set it right"),
    "HTTP status 301": Answer("the bucket is in another region; set AWS_REGION to it"),
    "ACCESS_DENIED|HTTP status 40[13]|INVALID_ACCESS_KEY|SIGNATURE|TOKEN|PERMISSION|UNAUTH": Answer(
        "access denied; check the credentials in the environment or the profile"
    ),
    "HTTP status 400": Answer(
        "the store refuses the request (HTTP status 400); renew credentials that may have expired, or set AWS_REGION "
        "to the bucket's region"
    ),
    "INVALID_BUCKET": Answer("{bucket!r} is no name of a bucket; correct it"),
    r"HTTP status \d+": Answer("{said}", lasting=False),
    r"AWS Error (?!NETWORK_CONNECTION)[A-Z0-9_]+": Answer("{said}", lasting=False),
    "": Answer("the store does not answer{at}", lasting=False),
}
"""By a store's words; the first that is found counts."""


def answer_of(error: OSError, bucket: str, at: str, *, no_bucket: bool = False) -> Answer:
    """What an error of a store's client means.

    The store's words can hold request details, so only an error's name is passed on; the key before them may hold any
    word, so it is left out.

    Args:
        error: From the client.
        bucket: Its name.
        at: ` at HOST:PORT`, or nothing.
        no_bucket: Whether the store was asked and has no such bucket.
    """
    text = str(error)
    text = text[max(text.find("AWS Error"), 0) :]
    if no_bucket or isinstance(error, FileNotFoundError):
        found, said = (_NO_BUCKET if no_bucket or "NO_SUCH_BUCKET" in text else _NO_OBJECT), ""
    else:
        found, said = next((answer, hit[0]) for words, answer in _ANSWERS.items() if (hit := re.search(words, text)))
    return found._replace(text=found.text.format(bucket=bucket, at=at, said=said))
