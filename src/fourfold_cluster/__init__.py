"""A wing: the runs of a comparison as tasks of Ray, on a cluster. It joins by an entry point alone."""
