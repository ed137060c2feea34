"""Hooks of MkDocs: links that leave docs/ become plain text on the site.

In the repository, where most readers see the pages, these links work.
"""

import os.path
import re
from pathlib import PurePosixPath

from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def on_page_markdown(markdown: str, *, page: Page, **_others: object) -> str:
    """Return the page's text without its links to files outside docs/."""
    parts = CODE_BLOCK.split(markdown)
    parts[::2] = [without_outer_links(part, page.file.src_uri) for part in parts[::2]]
    return "".join(parts)


def without_outer_links(text: str, source: str) -> str:
    """Replace the links of a page that lead out of docs/ by their text.

    Args:
        source: the page's path below docs/.
    """

    def replace(link: re.Match[str]) -> str:
        label, target = link[1], link[2]
        if target.startswith(("https://", "http://", "#", "mailto:")):
            return link[0]
        resolved = os.path.normpath(PurePosixPath(source).parent / target)
        return label if resolved.startswith("..") else link[0]

    return LINK.sub(replace, text)
