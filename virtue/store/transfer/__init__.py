"""Photos with their vectors on their way from one library to another."""
