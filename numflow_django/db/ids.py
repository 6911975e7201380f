"""The identifiers of runs: UUIDv7, which sort by time and so keep the index of a growing table compact."""

import sys
from uuid import UUID

if sys.version_info >= (3, 14):
    from uuid import uuid7
else:
    # Its own UUID class is faster still, but Django's UUIDField and the codec want the standard one
    from uuid_utils.compat import uuid7


def new_run_id() -> UUID:
    """A fresh UUIDv7; an identifier, not a capability: nothing may be granted for knowing it."""
    return uuid7()
