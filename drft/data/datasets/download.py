"""Data sets that can be downloaded by name: their address, licence, and checks that they are complete.

``kagglehub`` checks each transfer by the checksum of the server. Known numbers of images and digests of files are
checked afterwards, because a copy on Kaggle may lack images or encode them again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drft.config.trial_config import nearest
from drft.data.datasets import idrid
from drft.data.datasets.files import ImageFiles, files_below
from drft.errors import DataError
from drft.extras import install_command
from drft.files.atomic import default_cache_dir
from drft.files.digests import file_digest


@dataclass(frozen=True, slots=True)
class Download:
    """One data set, on Kaggle or elsewhere."""

    title: str
    handle: str
    """Its name on Kaggle; empty when it is not there."""
    licence: str
    competition: bool = False
    """Whether it belongs to a competition, whose rules must be accepted on its page."""
    elsewhere: str = ""
    """Its address when it is not on Kaggle; the user then downloads it by hand."""
    images: int | None = None
    """Expected number of images, if known."""
    remark: str = ""
    """What else the user has to do, as a sentence."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of some files as their authors published them, by name."""

    @property
    def page(self) -> str:
        """Its address for a browser."""
        kind = "competitions" if self.competition else "datasets"
        return self.elsewhere or f"https://www.kaggle.com/{kind}/{self.handle}"


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
        licence="as on its page; the images are for research and education",
        remark="The images come on request from https://www.adcis.net/en/third-party/messidor2: "
        "name their folder with --images, and keep messidor-2.csv, the list of each patient's eyes, with them.",
    ),
    "ddr": Download(
        title="DDR",
        handle="mariaherrerot/ddrdataset",
        licence="as its authors write at https://github.com/nkicsl/DDR-dataset",
    ),
    "retinamnist": Download(
        title="RetinaMNIST",
        handle="",
        licence="CC BY 4.0, MedMNIST (Yang et al. 2023)",
        elsewhere="https://zenodo.org/records/10519652/files/retinamnist_224.npz",
    ),
}
"""The data sets that can be downloaded or put into the cache folder by hand, by name."""


@dataclass(frozen=True, slots=True)
class DownloadedDataset:
    """A data set on this machine, and its comparison with the published one."""

    folder: Path
    images: int
    agreeing: int
    """Number of files with known digests that are as published."""
    differing: tuple[str, ...]
    """Files with known digests that differ, probably because they were encoded again."""


def find_download(name: str) -> Download:
    """Return the data set of a name.

    Raises:
        DataError: when there is none.
    """
    if name not in DOWNLOADS:
        raise DataError(f"no data set {name!r} to fetch{nearest(name, list(DOWNLOADS))}: use {', '.join(DOWNLOADS)}")
    return DOWNLOADS[name]


def fetch(name: str, cache_dir: Path | None = None) -> Path:
    """Return the folder of a data set: put there by hand, or else downloaded from Kaggle, once.

    Raises:
        DataError: when there is no such data set, no ``kagglehub`` or no network; it describes the download by hand.
    """
    wanted = find_download(name)
    by_hand = (cache_dir or default_cache_dir()) / name
    if by_hand.is_dir():
        return by_hand
    if wanted.elsewhere:
        raise DataError(
            f"{wanted.title} is fetched by hand: get {wanted.page} with a browser, "
            f"put it into {by_hand} or any folder FOLDER and use --data FOLDER"
        )
    page = f"or get {wanted.page} with a browser"
    instead = f"{page}, unpack it into {by_hand} or any folder FOLDER and use --data FOLDER"
    try:
        import kagglehub  # noqa: PLC0415  an optional dependency
    except ImportError:
        raise DataError(f"downloading {wanted.title} needs kagglehub: {install_command('kaggle')}, {instead}") from None
    download = kagglehub.competition_download if wanted.competition else kagglehub.dataset_download
    try:
        return Path(download(wanted.handle))
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        accept = ", log in (kagglehub.login()) and accept the rules on its page" if wanted.competition else ""
        raise DataError(
            f"{wanted.title} could not be downloaded ({reason}): check the network{accept}, {instead}"
        ) from error


def inspect_download(name: str, folder: Path) -> DownloadedDataset:
    """Compare a downloaded folder with the published data set."""
    published = find_download(name).digests
    files = [file for file in files_below(folder) if file.name in published]
    differing = tuple(file.name for file in files if file_digest(file) != published[file.name])
    images = len(ImageFiles.of(folder).files)
    return DownloadedDataset(folder, images, agreeing=len(files) - len(differing), differing=differing)
