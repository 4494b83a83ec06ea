"""The page on which people tell generated drawings from real ones; see `serving.judge`."""
