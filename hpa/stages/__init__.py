"""Stages, a package per subject and a file per stage: configuration and input artifacts in, one artifact out.

The only place where domains meet. Lower packages know nothing of higher ones (an import contract in pyproject.toml).
"""
