"""Exported models over the network: a client without TensorFlow, a server, pages."""
