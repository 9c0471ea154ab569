"""Mathematics that several rooms share: noise paths, n-grams, gradients of gradients, errors of means."""
