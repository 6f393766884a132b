"""The commands that keep a library and its models, and the options that commands share."""
