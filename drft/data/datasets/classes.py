"""Find the classes of a data source in its labels, and whether they are ordered.

Labels of retinopathy are grades of the international scale. Other labels are classes without an order, unless the user
says with ``ordinal`` that they are grades.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from drft.data.dataset import GRADES
from drft.errors import DataError

GRADE_WORDS: Mapping[str, int] = {
    "no dr": 0, "nodr": 0, "no": 0, "normal": 0, "mild": 1, "moderate": 2, "severe": 3,
    "proliferative": 4, "proliferate": 4, "proliferative dr": 4, "proliferate dr": 4, "pdr": 4,
}  # fmt: skip
"""Usual names of the five grades, as ``words_of`` writes them."""

_OF_RETINOPATHY = GRADE_WORDS.keys() - {"no", "normal", "mild", "moderate", "severe"}
"""Words that no other scale has."""

OPTIONS = ("ordinal", "classes", "label_rules")
"""Options of every source with labels that the user made."""

FORMER = "0.1"
"""Value of ``label_rules`` for a study of version 0.1: the labels of every table are grades of retinopathy, and every
folder of classes is a scale."""

MAX_CLASSES = 100
"""Most classes of a data source."""

ONE_CLASS = "all images of {} are of class {!r}, and a classifier needs two: check the column of the labels"

FEW_CLASSES = 10
"""Up to so many classes, each may have any number of images."""

_LEAST_IMAGES = 5
"""Mean number of images of a class where there are more classes; labels of fewer images are probably patients."""

_WHOLE_NUMBER = re.compile(r"(\d+)(\.0*)?")


class Classes(NamedTuple):
    """The classes of a data source."""

    names: tuple[str, ...]
    """Class 0 first."""
    ordinal: bool
    """Whether they are ordered, so that a class next to the true one is a smaller error."""


def find_classes(labels: Iterable[str], options: Mapping[str, str], source: str) -> Classes:
    """Return the classes that occur in labels.

    Spellings that differ in case, blanks and ``_`` alone are one class, and so are 1 and 1.0. Labels of the
    international scale of retinopathy are its grades, which are ordered, if one of their words is of retinopathy alone,
    such as ``No_DR``. Other classes are in the order of their names, or of their numbers, or of the option ``classes``.

    Args:
        labels: of all images; empty ones do not count.
        options: ``ordinal`` if the classes are ordered; ``classes``, names from the lowest to the highest, separated by
            commas. With labels that are numbers from 0 on, ``classes`` gives these their names.
        source: for messages.

    Raises:
        DataError: when there are too many classes, or their order is unknown.
    """
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for label in filter(None, labels):
        spellings[class_key(label)][" ".join(label.split())] += 1
    found = [
        key if _WHOLE_NUMBER.fullmatch(key) else spelling.most_common(1)[0][0] for key, spelling in spellings.items()
    ]
    words = {name: GRADE_WORDS.get(words_of(name)) for name in found}
    of_scale = all(words[name] is not None or name in "01234" for name in found)
    if of_scale and any(words_of(name) in _OF_RETINOPATHY for name in found):
        return Classes(GRADES, ordinal=True)
    _check_number(found, sum(map(Counter.total, spellings.values())), source)
    ordinal = "ordinal" in options
    if "classes" in options:
        return Classes(_named_classes(found, options["classes"], source), ordinal)
    if all(name.isdecimal() for name in found):
        return Classes(tuple(sorted(found, key=int)), ordinal)
    if not ordinal:
        return Classes(tuple(sorted(found)), ordinal)
    known = {name: number for name, number in words.items() if number is not None}
    for numbers in (known, {name: int(number[0]) for name in found if (number := re.search(r"\d+", name))}):
        if len(found) == len(numbers) == len(set(numbers.values())):
            return Classes(tuple(sorted(found, key=numbers.__getitem__)), ordinal)
    raise DataError(
        f"{source}: --ordinal needs the order of the classes {', '.join(sorted(found))}: list them from the lowest to "
        "the highest, separated by commas, with --classes"
    )


def former_classes(labels: Iterable[str], *, folders: bool) -> Classes:
    """Return the classes of labels as version 0.1 did: grades in a table, a scale in the order of folder names."""
    names = set(labels)
    scale = {int(name) if name.isdecimal() else GRADE_WORDS.get(words_of(name), -1) for name in names}
    if not folders or (len(names) == len(GRADES) and scale == set(range(len(GRADES)))):
        return Classes(GRADES, ordinal=True)
    numeric = all(name.isdecimal() for name in names)
    return Classes(tuple(sorted(names, key=lambda name: (int(name) if numeric else 0, name))), ordinal=True)


def parse_class(text: str, classes: Sequence[str] = GRADES) -> int:
    """Return the number of a class from its name or number.

    A grade of the international scale may have a usual name such as ``Proliferate_DR``.

    Raises:
        DataError: when the text is neither.
    """
    if text in classes:
        return classes.index(text)
    keys = [class_key(name) for name in classes]
    if class_key(text) in keys:
        return keys.index(class_key(text))
    number = _WHOLE_NUMBER.fullmatch(text)
    named_by_numbers = all(name.isdecimal() for name in classes)  # then a number is a name, not a place among them
    if number is not None and int(number[1]) < len(classes) and not named_by_numbers:
        return int(number[1])
    if tuple(classes) != GRADES:
        raise DataError(f"label {text!r} is none of the classes {', '.join(classes)}: correct the line")
    if words_of(text) in GRADE_WORDS:
        return GRADE_WORDS[words_of(text)]
    raise DataError(
        f"grade {text!r} should be a whole number from 0 to {len(classes) - 1}, or the name of a grade: "
        "correct the line"
    )


def words_of(name: str) -> str:
    """Return the letters and digits of a name in lower case, with blanks between words."""
    return re.sub(r"[^a-z0-9]+", " ", name.casefold()).strip()


def class_key(label: str) -> str:
    """Return what is equal for all spellings of a class; signs stay, since ``HER2+`` and ``HER2-`` differ."""
    number = _WHOLE_NUMBER.fullmatch(label)
    return str(int(number[1])) if number else re.sub(r"[\s_]+", " ", label).strip().casefold()


def _check_number(found: Sequence[str], images: int, source: str) -> None:
    """Check that labels are not so many that they are probably something else."""
    if len(found) > MAX_CLASSES or (len(found) > FEW_CLASSES and images < _LEAST_IMAGES * len(found)):
        raise DataError(
            f"{source}: {images} images have {len(found)} different labels, too many to be classes (they may be "
            "patients or files): name the column of the labels, or join classes"
        )


def _named_classes(found: Sequence[str], names: str, source: str) -> tuple[str, ...]:
    """Return the classes that the user lists, after checking that they are those of the labels."""
    listed = tuple(name.strip() for name in names.split(","))
    keys = {class_key(name) for name in listed}
    if len(keys) < len(listed) or "" in keys:
        raise DataError(f"--classes {names!r} should be different names, separated by commas")
    unknown = [name for name in found if class_key(name) not in keys]
    if unknown and all(name.isdecimal() and int(name) < len(listed) for name in found):
        return listed
    if unknown:
        raise DataError(f"{source}: --classes does not list {', '.join(map(repr, sorted(unknown)))}: list every class")
    return listed
