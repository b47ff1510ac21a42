"""The confirmation of a study: its best trials retrained on fresh seeds and splits, and the sealed test set opened.

``planning`` says what is retrained, ``run`` retrains it, ``seal`` is the one room that reads test predictions, and
``verdict`` turns them into figures.
"""
