"""What clients and models share and what needs no TensorFlow: images, addresses, standard streams."""
