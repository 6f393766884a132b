"""What a library does that takes several rooms; `Library` gives each its store and its model."""
