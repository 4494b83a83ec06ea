"""The page "Draw four, get sixty-four" and its gateway, an aiohttp application; see `serving.demo`."""
