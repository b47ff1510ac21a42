"""Damaged files of every kind that the program reads: each is read, or refused in one line.

::

    python -m benchmarks.fuzz --quick
    python -m benchmarks.fuzz --inputs 5000 --seed 1

Small valid files are changed at random: bits flip, parts are cut off, removed, doubled or exchanged with those of other
files, and numbers become NaN. Each file is then read as a command would read it. An exception other than the program's
own errors is a fault, and so are values that are accepted although they are not finite, a process that dies, and one
that takes longer than a minute. Every fault is listed with its seed, which makes the same file again. (Files
of torch before version 1.6 hold addresses of memory, so they differ a little from run to run.)
"""

import io
import json
import multiprocessing
import struct
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from safetensors.torch import save as save_safetensors

from benchmarks.arguments import command_parser
from benchmarks.machine import describe_run
from benchmarks.pages import publish
from drft.config.trial_config import TrialConfig, parse_config
from drft.data import open_dataset
from drft.data.images import decode
from drft.errors import DrftError
from drft.models.backbone import build_model
from drft.models.checkpoint import load_checkpoint, save_model
from drft.models.weights import fit_weights, read_weights
from study.results.predictions_file import load_predictions
from study.space import Space
from study.space.space import shipped_spaces

_BACKBONE = "test_resnet"
_SECONDS = 60.0
"""A file that takes longer to read is a fault."""

_COLUMNS = ("files", "inputs", "read", "refused in one line", "exceptions", "not finite, but accepted", "died", "hung")
_OUTCOMES = ("read", "refused", "exception", "not finite", "died", "hung")
_NOTE = (
    "Read: the change left a file that is still valid, or reached a part that is not used. Refused: one of the "
    "program's own errors, which the commands print as one line."
)
_TOKENS = (
    *(b"\x00", b"\n", b"\r\n", b",", b";", b"\t", b'"', b"'", b"=", b":", b"- ", b"{", b"}", b"[", b"]", b"#", b"|"),
    *(b".nan", b".inf", b"nan", b"-1", b"1e999", b"9" * 400, b"&a *a", b"<<: *a", b"!!python/object:os.system", b"~"),
    *("\N{LATIN SMALL LETTER E WITH ACUTE}".encode("latin-1"), b"\xef\xbb\xbf", b"\xff\xfe", b"A" * 5000, b"true"),
)
"""What means something in texts."""


class FileKind(NamedTuple):
    """A kind of files, and how the program reads them."""

    name: str
    suffix: str
    originals: Callable[[], Sequence[bytes]]
    """Makes valid files."""
    read: Callable[[Path], Iterable[NDArray[Any]]]
    """Reads a file and returns its numbers."""


class Fault(NamedTuple):
    """A file that was neither read nor refused."""

    kind: str
    seed: int
    """With the number of the kind, the seed of the file."""
    what: str


def mutate(original: bytes, others: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """Return a changed copy of a file.

    Args:
        original: the file.
        others: files whose parts may take the place of parts of it.
        rng: draws the changes, mostly one or two.
    """
    content = bytearray(original)
    for _ in range(int(rng.geometric(0.6))):
        size = len(content)
        at = int(rng.integers(0, size + 1))
        length = min(size - at, 2 ** int(rng.integers(0, 11)))
        match rng.integers(0, 8):
            case 0:
                for position in rng.integers(0, max(1, size), rng.integers(1, 17)):
                    content[position : position + 1] = bytes([int(rng.integers(0, 256))])
            case 1:
                del content[at:]
            case 2:
                del content[at : at + length]
            case 3:
                content[at:at] = content[at : at + length]
            case 4:
                content[at:at] = rng.bytes(length)
            case 5:
                other = others[int(rng.integers(0, len(others)))]
                start = int(rng.integers(0, len(other)))
                content[at : at + length] = other[start : start + length]
            case 6:
                content[at:at] = _TOKENS[int(rng.integers(0, len(_TOKENS)))]
            case _:
                number = (float("nan"), float("inf"), -float("inf"), 1e38)[int(rng.integers(0, 4))]
                aligned = 4 * (at // 4)
                content[aligned : aligned + 4] = struct.pack("<f", number)
    return bytes(content)


def _images() -> Sequence[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    pictures = Image.fromarray(pixels), Image.fromarray(pixels[:, :, 0]), Image.fromarray(pixels).convert("P")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated
    files = []
    for picture in pictures:
        for form in ("JPEG", "PNG", "TIFF", "BMP", "WEBP"):
            if form == "JPEG" and picture.mode == "P":
                continue
            file = io.BytesIO()
            picture.save(file, form, **({"exif": exif} if form in {"JPEG", "PNG", "WEBP", "TIFF"} else {}))
            files.append(file.getvalue())
    return files


@cache
def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return timm.create_model(_BACKBONE, num_classes=0).state_dict()


def _torch_files() -> Sequence[bytes]:
    state, files = _state(), []
    for content, legacy in ((state, False), ({"model": state, "epoch": 3}, False), (state, True)):
        file = io.BytesIO()
        torch.save(content, file, _use_new_zipfile_serialization=not legacy)
        files.append(file.getvalue())
    return files


def _safetensors_files() -> Sequence[bytes]:
    normalized = save_safetensors(_state(), {"mean": "[0.5, 0.5, 0.5]", "std": "(0.2,0.2,0.2)"})
    return [save_safetensors(_state()), _in_order(normalized)]


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with its header in alphabetical order; the library writes metadata in a random one."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True).encode()
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def _read_weights(path: Path) -> Iterator[NDArray[Any]]:
    found = read_weights(path)
    if (channels := found.normalization()) is not None:
        yield np.array(channels)
    expected = {name: tensor for name, tensor in _state().items() if not name.endswith("num_batches_tracked")}
    for tensor in fit_weights(found, _BACKBONE, expected).values():
        yield tensor.numpy()


def _checkpoints() -> Sequence[bytes]:
    config = parse_config({"backbone": {"name": _BACKBONE, "weights": "none"}, "image_size": 32})
    torch.manual_seed(0)
    with TemporaryDirectory(prefix="drft-fuzz-") as folder:
        path = Path(folder) / "model.safetensors"
        save_model(path, build_model(config, 5), config, 5)
        return [_in_order(path.read_bytes())]


def _read_checkpoint(path: Path) -> Iterator[NDArray[Any]]:
    model, _ = load_checkpoint(path)
    yield np.array([model.mean, model.std])
    for tensor in model.net.state_dict().values():
        yield tensor.numpy()


def _predictions() -> Sequence[bytes]:
    rng, files = np.random.default_rng(0), []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        probabilities = rng.dirichlet(np.ones(5), (3, 20)).astype(np.float16)
        ids, grades = np.array([f"train/{index}" for index in range(20)]), np.arange(20) % 5
        save(file, validation_ids=ids, validation_grades=grades, validation_probabilities=probabilities)
        files.append(file.getvalue())
    return files


def _tables() -> Sequence[bytes]:
    rows = [(f"p{index}", index % 5) for index in range(15)]
    texts = ["image,grade\n" + "".join(f"{name},{grade}\n" for name, grade in rows)]
    texts.append("image;level;group;split\n" + "".join(f"{name}.png;{grade};g;train\n" for name, grade in rows))
    texts.append("sep=|\nimage|grade\n" + "".join(f"{name}|{grade or 'no DR'}\n" for name, grade in rows))
    return [text.encode() for text in texts]


def _read_table(path: Path) -> Iterator[NDArray[Any]]:
    images = path.parent / "images"
    if not images.exists():
        images.mkdir()
        for index in range(15):
            Image.fromarray(np.full((8, 8, 3), index, dtype=np.uint8)).save(images / f"p{index}.png")
    dataset = open_dataset(str(path), options={"images": str(images)}, cache_dir=path.parent / "cache")
    yield dataset.labels().astype(np.float64)


def _read_space(path: Path) -> Iterator[NDArray[Any]]:
    space = Space.load(str(path)).bind(TrialConfig(), 8)
    for distribution in space.distributions.values():
        ends = [getattr(distribution, end) for end in ("low", "high") if hasattr(distribution, end)]
        yield np.array(ends, dtype=np.float64)


KINDS = (
    FileKind("images", ".png", _images, lambda path: [decode(path, 32)]),
    FileKind("weights, torch.save", ".pth", _torch_files, _read_weights),
    FileKind("weights, safetensors", ".safetensors", _safetensors_files, _read_weights),
    FileKind("checkpoints", ".safetensors", _checkpoints, _read_checkpoint),
    FileKind("predictions", ".npz", _predictions, lambda path: [load_predictions(path, "validation").probabilities]),
    FileKind("label tables", ".csv", _tables, _read_table),
    FileKind("search spaces", ".yaml", lambda: [path.read_bytes() for path in shipped_spaces().values()], _read_space),
)


def outcome(kind: FileKind, path: Path) -> str:
    """Return ``read``, ``refused``, ``not finite`` or the last lines of a traceback."""
    try:
        finite = all(np.isfinite(np.asarray(numbers, dtype=np.float64)).all() for numbers in kind.read(path))
    except DrftError as error:
        return "refused" if str(error).strip() else "an error without a text"
    except Exception:  # noqa: BLE001 (whatever it is: that is the question)
        return traceback.format_exc(limit=-3)
    return "read" if finite else "not finite"


def _work(position: int, seeds: Sequence[int], folder: Path, answers: Connection) -> None:
    """Read one file after another in a process of its own, and send each outcome."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    kind = KINDS[position]
    originals = kind.originals()
    for seed in seeds:
        rng = np.random.default_rng([position, seed])
        path = folder / f"{position}{kind.suffix}"
        path.write_bytes(mutate(originals[int(rng.integers(0, len(originals)))], originals, rng))
        answers.send((seed, outcome(kind, path)))
    answers.close()


def _check_originals(kind: FileKind) -> None:
    """Read the valid files: if they were refused, damaged ones would be so for another reason than their damage.

    Raises:
        RuntimeError: when one is not read.
    """
    with TemporaryDirectory(prefix="drft-fuzz-") as folder:
        path = Path(folder) / f"valid{kind.suffix}"
        for number, original in enumerate(kind.originals()):
            path.write_bytes(original)
            if (found := outcome(kind, path)) != "read":
                raise RuntimeError(f"valid file {number} of {kind.name}: {found}")


def read_all(position: int, seeds: Sequence[int], folder: Path) -> Iterator[tuple[int, str]]:
    """Yield seed and outcome of each file of a kind; a process that dies or hangs costs one file."""
    context = multiprocessing.get_context("spawn")
    left = list(seeds)
    while left:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(position, left, folder, sender))
        process.start()
        sender.close()
        try:
            while left and receiver.poll(_SECONDS):
                answer: tuple[int, str] = receiver.recv()
                left.remove(answer[0])
                yield answer
            ending = "hung"
        except EOFError:
            ending = "died"
        if left:
            yield left.pop(0), ending
        process.kill()
        process.join()


def rows(counts: Mapping[str, Counter[str]]) -> list[tuple[str, ...]]:
    """Return the cells of the table, one row for each kind of files and their sum."""
    total: Counter[str] = Counter()
    for count in counts.values():
        total.update(count)
    return [
        (name, *(f"{cell:,}" for cell in (count.total(), *(count[each] for each in _OUTCOMES))))
        for name, count in [*counts.items(), ("all", total)]
    ]


def run(inputs: int, seed: int, console: Console) -> tuple[dict[str, Counter[str]], list[Fault]]:
    """Read so many files, equally many of each kind; return the outcomes and the faults."""
    counts: dict[str, Counter[str]] = {}
    faults: list[Fault] = []
    for position, kind in enumerate(KINDS):
        share = inputs // len(KINDS) + (position < inputs % len(KINDS))
        counts[kind.name] = Counter()
        _check_originals(kind)
        with TemporaryDirectory(prefix="drft-fuzz-") as folder, console.status(f"{kind.name}: {share} files"):
            for number, what in read_all(position, range(seed, seed + share), Path(folder)):
                counts[kind.name][what if what in _OUTCOMES else "exception"] += 1
                if what not in {"read", "refused"}:
                    faults.append(Fault(kind.name, number, what))
                    console.print(f"{kind.name}, seed {number}: {what}", markup=False, highlight=False)
    return counts, faults


def main() -> None:
    """Read the files, print, write; exit with 1 if there are faults."""
    parser = command_parser("fuzz", __doc__)
    parser.add_argument("--inputs", type=int, help="files; default: 5000, with --quick 350")
    parser.add_argument("--seed", type=int, default=0, help="of the first file of each kind")
    parser.add_argument("--quick", action="store_true", help="350 files")
    args, console = parser.parse_args(), Console()
    counts, faults = run(args.inputs or (350 if args.quick else 5000), args.seed, console)
    result = {
        **describe_run("fuzz", f"{sum(count.total() for count in counts.values()):,} damaged files"),
        "outcomes": {name: dict(count) for name, count in counts.items()},
        "faults": [fault._asdict() for fault in faults],
    }
    stem = args.out / ("fuzz-quick" if args.quick else "fuzz")
    publish("Damaged files", stem, result, [(_COLUMNS, rows(counts))], [_NOTE], console)
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
