"""The numbers that the project sets itself, each as a bound on a figure of the table; compare.py lists them."""
from dataclasses import dataclass
from typing import Callable

from results import number


@dataclass(frozen=True)
class Number:
    what: str
    figure: str         # a row of the table
    bound: Callable     # table, figure: (value, how it comes about); the value is None where it was not measured
    least: bool = False     # Odradek's figure must be at least the bound instead of at most


def fixed(value):
    return lambda table, figure: (value, '')


def of_apache(part, figure=None):
    def bound(table, own):
        theirs = table.median(figure or own, 'apache')
        shown = f"1/{round(1 / part)} of Apache's"
        return theirs and theirs * part, shown + (f' ({number(theirs)}, not synced)' if figure else '')
    return bound


def of_limit(factor):
    def bound(table, figure):
        least = table.median(figure, 'limit')
        return least and least * factor, f'{factor} times the limit ({number(least)})'
    return bound


def raw_plus(ms):
    def bound(table, figure):
        raw = table.median(figure, 'limit')
        return raw and raw + ms, f'raw fdatasync ({number(raw)}) + {ms}'
    return bound


def of_own(factor, figure, shown):
    def bound(table, _):
        own = table.median(figure, 'odradek')
        return own and own * factor, f'{factor} times {shown} ({number(own)})'
    return bound


def verdict(table, one):
    """(Odradek's figure, the bound, how it comes about, 'held', 'not held' or 'not measured')."""
    ours = table.median(one.figure, 'odradek')
    bound, how = one.bound(table, one.figure)
    if ours is None or bound is None:
        return ours, bound, how, 'not measured'
    held = ours >= bound if one.least else ours <= bound
    return ours, bound, how, 'held' if held else '**not held**'


def markdown(table, numbers):
    lines = ['| number | unit | Apache Kafka | Odradek | bound | |', '|---|---|---|---|---|---|']
    for one in numbers:
        ours, bound, how, state = verdict(table, one)
        sign = '≥' if one.least else '≤'
        lines.append(f"| {one.what} | {table.units.get(one.figure, '')} | {number(table.median(one.figure, 'apache'))} | "
                     f"{number(ours)} | {sign} {number(bound)}{': ' + how if how else ''} | {state} |")
    return '\n'.join(lines)
