"""The words of the house: arrays, distributions, noise, vocabulary, parameters, the method base, errors."""
