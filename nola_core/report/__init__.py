"""The self-contained HTML report of one data set and its pictures."""

from nola_core.report.build import build

__all__ = ["build"]
