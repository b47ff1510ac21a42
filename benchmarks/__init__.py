"""What this program costs, measured beside its peers, against its size and against its floor."""
