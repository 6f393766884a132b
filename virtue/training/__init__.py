"""Making models: so far, assembling the bundled one (`python -m virtue.training.assemble_mini`)."""
