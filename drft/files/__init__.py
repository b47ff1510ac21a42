"""Files and folders: atomic writes, locks, sizes and digests."""
