"""Names of the files of an exported model."""

MODEL = "model.safetensors"
MEMBER = "model-{:02d}.safetensors"
"""A network of an ensemble, counted from 1."""

MEMBERS = "model-*.safetensors"
CONFIG = "config.yaml"
CARD = "README.md"
ONNX = "model.onnx"
