"""Names of the files of an exported model."""

MODEL = "model.safetensors"
MEMBER = "model-{:02d}.safetensors"
"""A network of an ensemble, counted from 1."""

MEMBERS = "model-*.safetensors"
CONFIG = "config.yaml"
TIMM_CONFIG = "config.json"
"""What timm needs to build the network of this folder."""

CARD = "README.md"
ONNX = "model.onnx"
