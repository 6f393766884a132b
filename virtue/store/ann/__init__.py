"""Approximate nearest neighbours: FAISS IVF-PQ indexes over the rows."""
