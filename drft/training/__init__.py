"""One two-phase training: the trial, its trainer, phases, losses and optimizers."""
