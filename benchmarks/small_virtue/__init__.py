"""A small VIRTUE, trained on scenes and measured (`__main__`)."""
