"""Export a study: its best model with a model card, and its tables. Predict images with an exported model."""
