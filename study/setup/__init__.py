"""Everything that is checked and prepared before the first trial: options, backbones, search space and workers."""
