"""What clients and models share without TensorFlow: images, addresses, streams."""
