"""What follows a running study: progress on the terminal and loggers."""
