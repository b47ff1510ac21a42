"""The report of a study: a page, its Markdown twin, and its figures for programs."""
