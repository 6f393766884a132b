"""VIRTUE (arXiv 2510.00523): a segmentation model, a vision tower and a language model give one vector to a
region in its scene. Needs the extra `torch`; nothing here is imported before such a model is asked for."""
