"""What is settled before the first trial: options, backbones, search space and workers."""
