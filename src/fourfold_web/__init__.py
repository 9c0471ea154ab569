"""The page: the map, the paradigms at work and one's own runs, in a browser on one's own machine."""
