"""The report of a study: an HTML page, Markdown with PNG figures, and JSON and CSV files."""
