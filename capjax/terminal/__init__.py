"""What a person sees of a command at work."""
