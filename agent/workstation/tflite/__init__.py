"""Writes the `.tflite` files of a bundle: the user's graph, quantised, with surrogates in it."""
