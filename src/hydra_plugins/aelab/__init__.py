"""Hydra plugins: a grid that a failing job does not end, a search on Optuna, and word of launchers not installed.

Hydra imports every module here at every start: nothing heavy at the top of any of them.
"""
