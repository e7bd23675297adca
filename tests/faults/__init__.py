"""Processes that are killed or stopped in the middle of jobs: nothing is lost, nothing is there twice."""
