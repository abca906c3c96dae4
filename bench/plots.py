"""Three kinds of plots as SVG, with nothing but the standard library: bars, ranges of percentiles, lines over time."""
import html
import math

COLOURS = {'apache': '#9a9a9a', 'odradek': '#1a6fb5', 'limit': '#e0a030'}
NAMES = {'apache': 'Apache Kafka', 'odradek': 'Odradek', 'limit': 'limit'}
WIDTH, LEFT, RIGHT, TOP, LINE = 960, 400, 90, 64, 15


class Canvas:
    def __init__(self, height, title, note):
        self.height, self.parts = height, []
        self.rect(0, 0, WIDTH, height, '#ffffff')
        self.text(16, 24, title, size=16, weight='bold')
        self.text(16, 42, note, colour='#555555')

    def rect(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill="{colour}"/>')

    def line(self, x1, y1, x2, y2, colour='#dddddd', width=1):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
                          f'stroke-width="{width}"/>')

    def circle(self, x, y, radius, colour, filled=True):
        fill = colour if filled else '#ffffff'
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{colour}"/>')

    def path(self, points, colour):
        at = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
        self.parts.append(f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="1.8"/>')

    def text(self, x, y, text, anchor='start', size=12, colour='#222222', weight='normal'):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
                          f'font-weight="{weight}">{html.escape(text)}</text>')

    def legend(self, kinds):
        x = WIDTH - 16
        for kind in reversed(kinds):
            x -= 8 * len(NAMES[kind])
            self.text(x, 24, NAMES[kind])
            self.rect(x - 16, 14, 11, 11, COLOURS[kind])
            x -= 32

    def save(self, path):
        with open(path, 'w', encoding='utf-8') as f:
            f.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" '
                    f'font-family="Helvetica, Arial, sans-serif">\n' + '\n'.join(self.parts) + '\n</svg>\n')


def short(value):
    return f'{value:.0f}' if value >= 100 else f'{value:.3g}'


class LogScale:
    """Values to x, from the power of ten below the least to the one above the largest."""

    def __init__(self, values):
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)

    def x(self, value):
        return LEFT + (math.log10(value) - self.low) / (self.high - self.low) * (WIDTH - LEFT - RIGHT)

    def draw(self, canvas, bottom):
        for power in range(self.low, self.high + 1):
            canvas.line(self.x(10 ** power), TOP - 4, self.x(10 ** power), bottom)
            canvas.text(self.x(10 ** power), bottom + 16, f'{10 ** power:g}', 'middle', 11, '#555555')


def kinds_of(rows):
    return [kind for kind in NAMES if any(kind in found for _, found in rows)]


def bars(path, title, note, rows):
    """rows: [(label, {kind: value})], values above 0, on a logarithmic scale."""
    scale = LogScale([v for _, found in rows for v in found.values()])
    bottom = TOP + sum(LINE * len(found) + 8 for _, found in rows)
    canvas = Canvas(bottom + 28, title, note)
    canvas.legend(kinds_of(rows))
    scale.draw(canvas, bottom)
    y = TOP
    for label, found in rows:
        canvas.text(LEFT - 8, y + LINE * len(found) / 2 + 3, label, 'end')
        for kind in [k for k in NAMES if k in found]:
            canvas.rect(LEFT, y + 1, scale.x(found[kind]) - LEFT, LINE - 3, COLOURS[kind])
            canvas.text(scale.x(found[kind]) + 4, y + LINE - 4, short(found[kind]), size=11)
            y += LINE
        y += 8
    canvas.save(path)


def percentiles(path, title, note, rows):
    """rows: [(label, {kind: (p50, p99, p99.9)})] on a logarithmic scale: a dot, a ring, and the end of the line."""
    scale = LogScale([v for _, found in rows for values in found.values() for v in values])
    bottom = TOP + sum(LINE * len(found) + 8 for _, found in rows)
    canvas = Canvas(bottom + 28, title, note)
    canvas.legend(kinds_of(rows))
    scale.draw(canvas, bottom)
    y = TOP
    for label, found in rows:
        canvas.text(LEFT - 8, y + LINE * len(found) / 2 + 3, label, 'end')
        for kind in [k for k in NAMES if k in found]:
            middle, (p50, p99, p999) = y + LINE / 2, (scale.x(v) for v in found[kind])
            canvas.line(p50, middle, p999, middle, COLOURS[kind], 2)
            canvas.line(p999, middle - 4, p999, middle + 4, COLOURS[kind], 2)
            canvas.circle(p50, middle, 4, COLOURS[kind])
            canvas.circle(p99, middle, 4, COLOURS[kind], filled=False)
            y += LINE
        y += 8
    canvas.save(path)


def over_time(path, title, note, series):
    """series: {kind: [(seconds, value)]}; the values' axis starts at 0."""
    left, bottom, height = 70, 340, 270
    last = max(t for points in series.values() for t, _ in points) or 1
    top = max(v for points in series.values() for _, v in points) * 1.05
    canvas = Canvas(bottom + 40, title, note)
    canvas.legend([k for k in NAMES if k in series])
    for i in range(6):
        y, x = bottom - height * i / 5, left + (WIDTH - left - 30) * i / 5
        canvas.line(left, y, WIDTH - 30, y)
        canvas.text(left - 8, y + 4, f'{top * i / 5:.0f}', 'end', 11, '#555555')
        canvas.text(x, bottom + 18, f'{last * i / 5:.0f} s', 'middle', 11, '#555555')
    for kind, points in series.items():
        canvas.path([(left + (WIDTH - left - 30) * t / last, bottom - height * v / top) for t, v in points], COLOURS[kind])
    canvas.save(path)
