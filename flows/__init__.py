"""Prefect on top of DVC: runs the stages of every data set, watches them and publishes what they found."""
