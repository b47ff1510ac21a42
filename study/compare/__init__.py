"""Studies side by side: what they found, where they differ, and what was different about them."""
