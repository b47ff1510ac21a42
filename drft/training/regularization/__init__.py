"""What holds a fine-tuning back: penalties, noise and averages, each off unless ``regularization`` says so."""
