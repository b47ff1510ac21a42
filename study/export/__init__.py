"""What of a study goes to other programs and people: its ``model`` and its ``tables``."""
