"""The page "Draw four, get sixty-four" and its gateway; see `serving.demo`."""
