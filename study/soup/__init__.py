"""After the sweep, free of training: what the best trials of a study are together.

``ingredients`` says which trials go in, ``mixing`` averages their weights, ``evaluation`` grades images with the
result, ``candidates`` and ``choice`` say which mixtures to take, ``judging`` and ``crossfit`` what they are worth, and
``run`` does all of it and writes ``results/STUDY/soup/``.
"""
