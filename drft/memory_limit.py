"""The limit on the address space of a process, which some clusters set.

Imported at the start of the program: later, there may be no memory for an import.
"""

import sys

if sys.platform != "win32":
    import resource

_ADDRESS_SPACE = 4 * 2**30
"""Address space in bytes that a process with torch needs: measured, it works with 4.6 GB, and not with 3.6."""


def low_address_space() -> str:
    """Return what limits the memory of processes so far that torch cannot be loaded; empty if nothing does."""
    if sys.platform == "win32":
        return ""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY or limit >= _ADDRESS_SPACE:
        return ""
    return (
        f"the address space of a process is limited to {limit / 1e9:.1f} GB (ulimit -v), and torch needs "
        f"{_ADDRESS_SPACE / 1e9:.1f} GB: raise the limit"
    )
