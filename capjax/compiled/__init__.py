"""What a machine that is not here would be given to do: compiled for it, read, and reckoned."""
