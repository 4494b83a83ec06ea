"""What every system shares: the outer loop of Reptile, runs on disk, and manners of commands."""
