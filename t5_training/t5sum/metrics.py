"""Keeps `t5sum.metrics.score` importable under its old name; the code is in judge/metrics.py."""

from t5sum.judge.metrics import score

__all__ = ["score"]
