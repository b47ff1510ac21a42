"""Configuration of one training: every setting, its sections, and what contradicts what."""
