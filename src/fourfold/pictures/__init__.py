"""Pictures as HTML and SVG without scripts, for notebooks and reports. :mod:`~fourfold.pictures.markup` escapes all."""
