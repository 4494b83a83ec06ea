"""Exported models over the network: a client without TensorFlow, an embedded server, files for
TensorFlow Serving.
"""
