"""Processes of one job: torchrun, process groups, devices, job folders."""
