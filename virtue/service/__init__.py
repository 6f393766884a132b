"""The HTTP service: one process, one library, in the shapes that back ends and agents speak."""
