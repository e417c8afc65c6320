"""Uploads that nobody went on with: they go, with all that came of them."""

from typing import Final

from einthoven.storage import Connection
from einthoven.storage.received import ReceivedFiles
from einthoven.storage.uploads import close_upload, expired_uploads, forget_upload

__all__ = ["UploadExpiry"]

_TOGETHER: Final = 32


class UploadExpiry:
    """A job of the background process."""

    def __init__(self, files: ReceivedFiles) -> None:
        self._files = files

    def remove(self, connection: Connection, now_ns: int) -> int:
        """Remove some uploads whose time is over; how many.

        Raises
        ------
        StoreUnavailable, DatabaseUnavailable : what is left is removed the next time.
        """
        with connection.reading() as statements:
            found = expired_uploads(statements, now_ns, _TOGETHER)
        for one in found:
            with connection.writing() as statements:
                is_over = close_upload(statements, one.number, now_ns)
            if is_over:  # a moment ago somebody may have gone on with it
                self._files.discard(one.org, one.sha256, one.id)
                with connection.writing() as statements:
                    forget_upload(statements, one.number)
        return len(found)
