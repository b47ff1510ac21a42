"""Data sets known by name: where they are, under which licence, and how one tells that they are whole.

Whatever ``kagglehub`` transfers it checks by the server's own checksum. Where more is known of a set, it is compared
afterwards, since a re-host may leave out images or encode them again.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drft.config.trial_config import nearest
from drft.data.datasets import idrid
from drft.data.datasets.files import ImageFiles, files_below
from drft.errors import DataError
from drft.files.atomic import default_cache_dir


@dataclass(frozen=True, slots=True)
class Download:
    """One data set, on Kaggle or elsewhere."""

    title: str
    handle: str
    """How Kaggle calls it; empty where it is not there."""
    licence: str
    competition: bool = False
    """Whether it belongs to a competition, whose rules must be accepted on its page."""
    elsewhere: str = ""
    """Its address, where that is not on Kaggle: it is then fetched by hand."""
    images: int | None = None
    """How many there should be, where that is known."""
    remark: str = ""
    """What else has to be done, as a sentence."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of some files as their authors published them, by name."""

    @property
    def page(self) -> str:
        """Its address for a browser."""
        return (
            self.elsewhere
            or f"https://www.kaggle.com/{'competitions' if self.competition else 'datasets'}/{self.handle}"
        )


DOWNLOADS: Mapping[str, Download] = {
    "idrid": Download(
        title="IDRiD",
        handle=idrid.KAGGLE,
        licence="CC BY 4.0, (c) Prasanna Porwal, Samiksha Pachade and Manesh Kokare",
        images=455,
        digests={
            "IDRiD_001.jpg": "8cbb3482b62a7b4c8a7353a4f25ecf5df80b6f39714f35deb8575c14af78e06d",
            "IDRiD_027.jpg": "4f29b20dc2a8832f7752a5d02c4bd91adff04d4ba786f495fb6e96df0e535f9f",
            "IDRiD_118.jpg": "505330878f4d4186a71b8001570100b82b6b05cb431e81e2c259d8c584314708",
            "IDRiD_200.jpg": "555f4a71b53cb5acd0acbf9f1c94759ac1f635bb19a22d0e8fdf05aaa14d75e1",
            "IDRiD_300.jpg": "e58cf480aef51b4b65797e83ccd81f219e5caf1b2d5a89a43e311784c8b132dc",
            "IDRiD_400.jpg": "eaa9ca634acfb88a3aef587e3175921647fbc2e1c07850e73975aa4411afec85",
        },
    ),
    "aptos": Download(
        title="APTOS 2019",
        handle="aptos2019-blindness-detection",
        licence="the rules of the competition, which must be accepted on its page",
        competition=True,
        images=5590,
    ),
    "eyepacs": Download(
        title="EyePACS, resized",
        handle="tanlikesmath/diabetic-retinopathy-resized",
        licence="the rules of the competition diabetic-retinopathy-detection",
    ),
    "messidor2": Download(
        title="Messidor-2, grades alone",
        handle="google-brain/messidor2-dr-grades",
        licence="as its page says; the images are for research and education",
        remark="The images come on request from https://www.adcis.net/en/third-party/messidor2: "
        "name their folder with --images, and keep messidor-2.csv, which says whose eyes are whose, with them.",
    ),
    "ddr": Download(
        title="DDR",
        handle="mariaherrerot/ddrdataset",
        licence="as its authors say at https://github.com/nkicsl/DDR-dataset",
    ),
    "retinamnist": Download(
        title="RetinaMNIST",
        handle="",
        licence="CC BY 4.0, MedMNIST (Yang et al. 2023)",
        elsewhere="https://zenodo.org/records/10519652/files/retinamnist_224.npz",
    ),
}
"""What can be fetched, or is found where it was put by hand, by the name that is used here."""


@dataclass(frozen=True, slots=True)
class DownloadedDataset:
    """A data set on this machine, and what is known of its being whole."""

    folder: Path
    images: int
    agreeing: int
    """Files with known digests that are there as published."""
    differing: tuple[str, ...]
    """Files with known digests that are there and differ: encoded again."""


def download_named(name: str) -> Download:
    """Return a data set that can be fetched.

    Raises:
        DataError: when there is none of that name.
    """
    if name not in DOWNLOADS:
        raise DataError(f"no data set {name!r} to fetch{nearest(name, list(DOWNLOADS))}: use {', '.join(DOWNLOADS)}")
    return DOWNLOADS[name]


def fetch(name: str, cache_dir: Path | None = None) -> Path:
    """Return the folder of a data set: put there by hand, or downloaded from Kaggle (once: it is kept).

    Raises:
        DataError: when there is no such data set, no ``kagglehub`` or no network, with what to do by hand.
    """
    wanted = download_named(name)
    by_hand = (cache_dir or default_cache_dir()) / name
    if by_hand.is_dir():
        return by_hand
    if wanted.elsewhere:
        raise DataError(
            f"{wanted.title} is fetched by hand: get {wanted.page} with a browser, "
            f"put it into {by_hand} or any folder FOLDER and use --data FOLDER"
        )
    instead = (
        f"or get {wanted.page} with a browser, unpack it into {by_hand} or any folder FOLDER and use --data FOLDER"
    )
    try:
        import kagglehub  # noqa: PLC0415  an optional dependency
    except ImportError:
        raise DataError(
            f"downloading {wanted.title} needs kagglehub: pip install 'drft-study[kaggle]', {instead}"
        ) from None
    download = kagglehub.competition_download if wanted.competition else kagglehub.dataset_download
    try:
        return Path(download(wanted.handle))
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        accept = ", log in (kagglehub.login()) and accept the rules on its page" if wanted.competition else ""
        raise DataError(
            f"{wanted.title} could not be downloaded ({reason}): check the network{accept}, {instead}"
        ) from error


def look_at(name: str, folder: Path) -> DownloadedDataset:
    """Say what a fetched folder holds, and compare it with what is known of the data set."""
    wanted = download_named(name)
    files = list(files_below(folder))
    digested = [file for file in files if file.name in wanted.digests]
    differing = [file for file in digested if _sha256(file) != wanted.digests[file.name]]
    return DownloadedDataset(
        folder=folder,
        images=len(ImageFiles.of(folder).files),
        agreeing=len(digested) - len(differing),
        differing=tuple(file.name for file in differing),
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
