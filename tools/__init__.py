"""Programs for developers of the project: the generated reference and the site of the docs."""
