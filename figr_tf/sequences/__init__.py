"""Sequences learned by gradient descent alone (unixpickle/reptile-gen): the step is the memory."""
