"""What the embedded server is made of; see `serving.server`."""
