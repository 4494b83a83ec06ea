"""Several devices and hosts: replicas of a meta-batch, and the workers they live in."""
