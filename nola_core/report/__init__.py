"""The self-contained HTML report of one data set and its pictures."""
