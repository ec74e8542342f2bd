"""Stage 1: collects news articles and publishes them as a dataset."""
