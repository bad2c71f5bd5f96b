"""Sweeps, walk-forward and what they prove."""
