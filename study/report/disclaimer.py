"""The disclaimers under everything that the program shows."""

DISCLAIMER = "For research and education only; nothing here is a medical device."
FULL_DISCLAIMER = (
    "For research and education only. Nothing here is a medical device, and no result may guide the diagnosis, "
    "screening or treatment of anyone."
)
RENDERED = "Rendered images, not patients: a program drew this data set. No result applies to real eyes."
