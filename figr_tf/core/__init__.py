"""What every system shares: the outer loop of Reptile, runs on disk, and their commands' manners."""
