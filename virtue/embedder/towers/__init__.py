"""Two-tower models (CLIP, SigLIP, SigLIP 2) with regions: for machines without a GPU. Needs the extra
`torch`; nothing here is imported before such a model is asked for."""
