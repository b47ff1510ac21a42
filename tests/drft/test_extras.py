"""The command that installs optional packages."""

import importlib.metadata

from drft.extras import install_command


def test_the_packages_of_an_extra_are_named():
    assert install_command("kaggle") == "pip install 'kagglehub>=0.3'"
    assert install_command("onnx").startswith("pip install 'onnx>=")
    assert "onnxruntime>=" in install_command("onnx")


def test_without_metadata_the_extra_is_named(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    assert install_command("ray") == "pip install 'drft-study[ray]'"
