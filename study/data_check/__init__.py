"""Output of ``drft-study data``: the check of a data source as text, JSON and HTML, and the notes on downloads."""
