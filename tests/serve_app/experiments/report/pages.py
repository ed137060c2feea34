"""Rendered reports, parsed so that tests can read their tables, texts and tags."""

from datetime import timedelta
from html.parser import HTMLParser

from serve_app.experiments.analysis import analyse
from serve_app.experiments.blocks import BlockClock
from serve_app.experiments.report import render_report
from tests.serve_app.experiments.factories import START
from tests.serve_app.experiments.reported import CREATED

NOW = START + timedelta(hours=13)
DAY = timedelta(days=1)
VOID = {"meta", "br", "path", "rect", "use", "link", "img"}


class Page(HTMLParser):
    """A page: its tables by id as rows of texts, its text, and every tag with its attributes."""

    def __init__(self, html):
        super().__init__()
        self.tables, self.tags, self.texts, self.open = {}, [], [], []
        self._rows = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows = self.tables.setdefault(dict(attrs)["id"], [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert tag in VOID or self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self._rows[-1][-1] += data

    @property
    def text(self):
        return " ".join("".join(self.texts).split())

    def row(self, table, name):
        (found,) = [cells for cells in self.tables[table] if cells[0].strip() == name]
        return found


def render(experiment, blocks, history=(CREATED,), **changes):
    return render_report(experiment, history, blocks, NOW, **changes)


def document_of(experiment, blocks):
    clock = BlockClock.of(experiment.definition, START)
    return analyse(experiment.definition, clock, blocks, status=experiment.status).document


def number(text):
    """Return the number in a cell, as a fraction if it is in per cent."""
    plain = text.replace("\N{MINUS SIGN}", "-").replace(",", "").replace(" ms", "")
    return float(plain[:-1]) / 100 if plain.endswith("%") else float(plain)
