"""The sentence under everything the program shows."""

DISCLAIMER = "For research and education only; nothing here is a medical device."
