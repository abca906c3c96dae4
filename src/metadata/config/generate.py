#!/usr/bin/env python3
"""Generates the tables of settings: generate.py OUT_DIR writes metadata/gen/config_keys.h and
metadata/gen/config_tables.cc there from the *.txt files beside this script. Standard library only.

A table's columns end at two or more spaces. Documentation comes from docs.txt: `name  sentence`; a broker setting that
supplies a topic's or group's default takes over its text.
"""
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TYPES = {'boolean': 'kBoolean', 'string': 'kString', 'int': 'kInt', 'short': 'kShort', 'long': 'kLong',
         'double': 'kDouble', 'list': 'kList', 'class': 'kClass', 'password': 'kPassword'}
UPDATES = {'read-only': 'kReadOnly', 'per-broker': 'kPerBroker', 'cluster-wide': 'kClusterWide'}
BROKER = 'name type default update sensitive topic importance internal valid'.split()
TOPIC = 'name type default broker importance internal valid'.split()
OTHER = 'name type default entity importance internal valid'.split()


def table(file, columns):
    rows = []
    with open(os.path.join(HERE, file), encoding='utf-8') as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip()
            if not line or line.startswith('#'):
                continue
            cells = re.split(r' {2,}', line)
            if len(cells) != len(columns):
                sys.exit(f'{file}:{number}: {len(cells)} columns, expected {len(columns)}')
            rows.append(dict(zip(columns, cells)))
    names = [r['name'] for r in rows]
    if len(set(names)) != len(names):
        sys.exit(f'{file}: a name appears twice')
    return rows


def docs():
    found = {}
    with open(os.path.join(HERE, 'docs.txt'), encoding='utf-8') as f:
        for line in f:
            line = line.rstrip()
            if line and not line.startswith('#'):
                name, text = re.split(r' {2,}', line, maxsplit=1)
                found[name] = text
    return found


def quote(text):
    return '"' + text.replace('\\', '\\\\').replace('"', '\\"') + '"'


def key(name):
    return 'k' + ''.join(part[:1].upper() + part[1:] for part in re.split(r'[.\-_]', name))


def number(text):
    return 'INT64_MIN' if text == '-9223372036854775808' else text + 'LL'


class Options:
    """The lists of permitted values, as arrays."""

    def __init__(self):
        self.lines = []

    def add(self, values):
        name = f'kOptions{len(self.lines)}'
        self.lines.append(f'constexpr std::string_view {name}[] = {{' + ', '.join(quote(v) for v in values) + '};')
        return name


def rule(text, kind, options):
    """The initialiser of a ConfigRule."""
    if text == '-':
        return '{}'
    fields = []
    m = re.fullmatch(r'\[(-?[\d.]*?)\.\.(-?[\d.]*)\]( or -1)?', text)
    if m:
        low, high = m.group(1), m.group(2)
        if kind == 'double':
            return f'{{.kind = Kind::kRealRange, .has_min = true, .has_max = true, .real_min = {low}, .real_max = {high}}}'
        fields.append('.kind = Kind::' + ('kRangeOrMinus1' if m.group(3) else 'kRange'))
        if low:
            fields.append('.has_min = true')
        if high:
            fields.append('.has_max = true')
        if low:
            fields.append(f'.min = {number(low)}')
        if high:
            fields.append(f'.max = {number(high)}')
        return '{' + ', '.join(fields) + '}'
    if text == 'non-empty list':  # of the quorum's addresses; their parser accepts the empty list
        return '{.kind = Kind::kList}'
    if text.startswith('[partitionId]'):
        return '{.kind = Kind::kThrottledReplicas}'
    if 'by_duration' in text:
        return '{.kind = Kind::kShareOffsetReset}'
    if text in ('non-empty string', 'non-null string'):
        return '{.kind = Kind::' + ('kNonEmptyText' if text.startswith('non-empty') else 'kNotNullText') + '}'
    m = re.fullmatch(r'(\(case insensitive\) |list of )?\[(.*)\]((?: (?:unique|non-empty|or-null))*)', text)
    if m:
        which = {None: 'kOneOf', '(case insensitive) ': 'kOneOfAnyCase', 'list of ': 'kListOf'}[m.group(1)]
        fields = [f'.kind = Kind::{which}', '.options = ' + options.add(m.group(2).split(', '))]
        flags = m.group(3).split()
    else:
        flags = text.split()
        if 'list' not in flags:
            sys.exit(f'no such rule: {text}')
        flags.remove('list')
        fields = ['.kind = Kind::kList']
    for flag, field in (('unique', 'unique'), ('non-empty', 'non_empty'), ('or-null', 'or_null')):
        if flag in flags:
            flags.remove(flag)
            fields.append(f'.{field} = true')
    if flags:
        sys.exit(f'no such rule: {text}')
    return '{' + ', '.join(fields) + '}'


def fallback(text):
    if text in ('null', 'required'):
        return 'std::nullopt'
    return '""' if text == '""' else quote(text)


def synonyms(row, lines):
    """The array of broker settings that supply the default."""
    if row.get('broker', '-') == '-':
        return '{}'
    name = f'kSynonyms{len(lines)}'
    parts = []
    for item in row['broker'].split(','):
        broker, _, factor = item.partition('*')
        parts.append(f'{{{quote(broker)}, {factor or 1}}}')
    lines.append(f'constexpr ConfigSynonym {name}[] = {{' + ', '.join(parts) + '};')
    return name


def main():
    out = os.path.join(sys.argv[1], 'metadata', 'gen')
    os.makedirs(out, exist_ok=True)
    text = docs()
    broker = sorted(table('broker.txt', BROKER) + table('odradek.txt', BROKER), key=lambda r: r['name'])
    tables = [('Broker', broker), ('Topic', table('topic.txt', TOPIC)), ('Group', table('group.txt', TOPIC)),
              ('ClientMetrics', [r for r in table('other.txt', OTHER) if r['entity'] == 'client-metrics'])]
    unknown = set(text) - {r['name'] for _, rows in tables for r in rows}
    if unknown:
        sys.exit(f'docs.txt documents what does not exist: {sorted(unknown)}')
    for _, rows in tables[1:3]:
        for r in rows:
            for item in r['broker'].split(','):
                name = item.partition('*')[0]
                if r['name'] in text and name != r['name']:
                    text.setdefault(name, f'Default of {r["name"]}: {text[r["name"]][0].lower()}{text[r["name"]][1:]}')
    keys, body, options, lines = [], [], Options(), []
    for kind, rows in tables:
        rows.sort(key=lambda r: r['name'])
        keys.append(f'/// Index into {kind.lower()}_configs().' if kind != 'ClientMetrics' else
                    '/// Index into client_metrics_configs().')
        keys.append(f'enum class {kind}Key : uint16_t {{')
        body.append(f'constexpr ConfigDef k{kind}Configs[] = {{')
        for r in rows:
            keys.append(f'  {key(r["name"])},  // {r["name"]}')
            update = UPDATES[r.get('update', 'cluster-wide')]
            sensitive = str(r.get('sensitive') == 'sensitive').lower()
            internal = str(r['internal'] == 'internal').lower()
            body.append(f'    {{{quote(r["name"])}, ConfigType::{TYPES[r["type"]]}, {fallback(r["default"])}, '
                        f'{str(r["default"] == "required").lower()}, UpdateMode::{update}, {sensitive}, {internal}, '
                        f'Importance::k{r["importance"].capitalize()}, {rule(r["valid"], r["type"], options)}, '
                        f'{synonyms(r, lines)}, {quote(text.get(r["name"], ""))}, std::nullopt}},')
        keys.append('};\n')
        body.append('};\n')
    head = '// Generated by src/metadata/config/generate.py. Do not edit.\n'
    write(out, 'config_keys.h', head + '#pragma once\n\n#include <cstdint>\n\nnamespace odradek::metadata {\n\n' +
          '\n'.join(keys) + '\n}  // namespace odradek::metadata\n')
    write(out, 'config_tables.inc', head + '\n'.join(options.lines + lines + [''] + body))


def write(folder, name, content):
    path = os.path.join(folder, name)
    if os.path.exists(path):
        with open(path, encoding='utf-8') as f:
            if f.read() == content:
                return
    with open(path, 'w', encoding='utf-8') as f:
        f.write(content)


main()
