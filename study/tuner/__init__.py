"""The loop of a study: ask, submit, wait, report, tell."""
