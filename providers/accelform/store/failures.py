"""The one place where obstore's and the system's errors become Accelform's."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore import exceptions

from accelform.errors import (
    AccelformError,
    ObjectExists,
    ObjectMissing,
    StoreDenied,
    StoreFull,
    StoreLocationError,
    StoreUnreachable,
)

# EFBIG is how a per-process or file-system size limit shows itself; for the user it is the same shortage.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_MISPLACED = frozenset({errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP})
_OS_ERROR = re.compile(r"\(os error (\d+)\)|\bcode: (\d+),")


@contextmanager
def mapped(action: str, where: str) -> Iterator[None]:
    """Run the block; what obstore or the system raises leaves as one of the store's errors.

    ``action`` and ``where`` start the message ("write", "file:///..."). A local file's own problem (the source of a
    write, the target of a download) is the caller's to wrap.
    """
    try:
        yield
    except AccelformError:
        raise
    except exceptions.AlreadyExistsError as error:
        raise ObjectExists(f"cannot {action} {where}: it exists already, written by someone else.") from error
    except FileNotFoundError as error:
        raise ObjectMissing(
            f"cannot {action} {where}: it is not in the store. If it was deleted by hand, `pulumi refresh` shows "
            "what is gone and `pulumi up` makes it again."
        ) from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise _denied(action, where, error) from error
    except (exceptions.BaseError, OSError) as error:
        raise _by_number(action, where, error) from error


def _by_number(action: str, where: str, error: Exception) -> AccelformError:
    number = error.errno if isinstance(error, OSError) and error.errno else _number_in(str(error))
    if number in _FULL:
        return StoreFull(
            f"cannot {action} {where}: no space left there ({_reason(error)}). Nothing half-written is visible. "
            "Free some space or raise the quota, then run the same command again."
        )
    if number in _DENIED:
        return _denied(action, where, error)
    if number in _MISPLACED:
        return StoreLocationError(
            f"cannot {action} {where}: {_reason(error)}. Point storage_url at a folder (new or made by Accelform)."
        )
    return StoreUnreachable(
        f"cannot {action} {where}: {_reason(error)}. Check that the store answers, then run the same command again."
    )


def _denied(action: str, where: str, error: Exception) -> StoreDenied:
    return StoreDenied(
        f"cannot {action} {where}: permission denied ({_reason(error)}). "
        "Check the account and its rights there, then run the same command again."
    )


def _number_in(text: str) -> int | None:
    found = _OS_ERROR.search(text)
    return int(found.group(1) or found.group(2)) if found else None


def _reason(error: Exception) -> str:
    """The first line of an error: obstore appends a debug dump that helps nobody."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
