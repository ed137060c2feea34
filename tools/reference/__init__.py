"""The generated reference: Markdown pages from the code, committed so that the web shows them.

python -m tools.reference          write docs/reference/
python -m tools.reference --check  fail if a page is out of date
"""
