"""What the service answers, by topic."""
