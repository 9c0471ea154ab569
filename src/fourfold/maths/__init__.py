"""Mathematics that several rooms share: noise paths, n-grams, spectra, gradients of gradients, errors of means."""
