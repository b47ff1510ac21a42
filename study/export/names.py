"""Names of the files of an exported model."""

MODEL = "model.safetensors"
CONFIG = "config.yaml"
CARD = "README.md"
ONNX = "model.onnx"
