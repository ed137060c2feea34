"""The bar log as a list of rows, in plain Python: the model for property-based tests."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    minute: int
    price: float
    known_at: int


@dataclass
class ReferenceLog:
    rows: list[Row] = field(default_factory=list)
    retained_from: int = -1

    def append(self, bars, known_at):
        """Append (minute, price) in their order; return accepted, duplicates, revised, expired."""
        counts = [0, 0, 0, 0]
        for minute, price in bars:
            if minute < self.retained_from:
                counts[3] += 1
                continue
            earlier = [row for row in self.rows if row.minute == minute]
            latest = max(earlier, key=lambda row: row.known_at, default=None)
            if latest is None:
                counts[0] += 1
                self.rows.append(Row(minute, price, known_at))
            elif latest.price == price:
                counts[1] += 1
            else:
                counts[2] += 1
                self.rows.append(Row(minute, price, max(known_at, latest.known_at + 1)))
        return counts

    def visible(self, known_at):
        """Return the visible rows by minute."""
        winners = {}
        for row in sorted(self.rows, key=lambda row: row.known_at):
            if row.known_at <= known_at and row.minute >= self.retained_from:
                winners[row.minute] = row
        return [winners[minute] for minute in sorted(winners)]

    def all_rows(self):
        """Return all rows by minute and known_at."""
        retained = (row for row in self.rows if row.minute >= self.retained_from)
        return sorted(retained, key=lambda row: (row.minute, row.known_at))
