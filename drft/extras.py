"""Optional packages: the command that installs them."""

import importlib.metadata


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra of this program.

    It names the packages themselves: that works wherever the program was installed from.
    """
    try:
        requirements = importlib.metadata.requires("drft-study") or []
    except importlib.metadata.PackageNotFoundError:  # the program runs from its source folder
        requirements = []
    packages = [text.partition(";")[0].strip() for text in requirements if f'extra == "{extra}"' in text]
    return "pip install " + (" ".join(f"'{package}'" for package in packages) or f"'drft-study[{extra}]'")
